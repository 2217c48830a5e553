// Upstream: run
// Downstream: actors, market
// Role: What a seed decides: the group, its settings, the commands and the faults with their times.

use std::time::Duration;

use actors::settings::ActorSettings;
use actors::simulation::{FaultRates, code};
use chrono::TimeDelta;
use serde_json::json;

use crate::market::{DAYS, Kind};

/// The time in which commands are sent and faults happen.
const LOAD: Duration = Duration::from_secs(60);

/// The time in which events of one moment happen.
const AT_ONCE: Duration = Duration::from_secs(2);

/// An event of a scenario.
#[derive(Debug, Clone)]
pub enum Event {
    /// A command arrives.
    Send {
        /// The partition.
        partition: usize,
        /// The command.
        payload: String,
        /// Number of unused offsets before it.
        gap: i64,
    },
    /// The vendor corrects an answer.
    Correct(Kind, u32, usize),
    /// A worker is killed and started again after this time.
    Kill(usize, Duration),
    /// A worker is stopped in order and started again after this time.
    Stop(usize, Duration),
    /// The broker is unreachable for one worker.
    CutOff(usize, Duration),
    /// The client of a worker receives nothing more, although it is a member of the group.
    Deafen(usize),
    /// The broker does not answer anybody.
    Silence(Duration),
    /// The topic gets another partition.
    AddPartition,
    /// The topic is deleted and created again.
    Recreate,
    /// The store refuses everything.
    Outage(Duration),
    /// The store refuses to insert one kind of rows.
    Refuse(Kind, Duration),
    /// The clock of a worker jumps.
    ClockJump(usize, TimeDelta),
    /// The vendor offers the next day.
    Grow,
    /// The vendor does not answer.
    VendorHangs(Duration),
    /// The vendor refuses the account.
    VendorRefuses(Duration),
    /// All workers reload a configuration with another, empty store.
    Exchange,
}

impl Event {
    /// Whether a worker may give up in the middle of a write.
    pub fn interrupts(&self) -> bool {
        match self {
            Self::Kill(..) | Self::Stop(..) | Self::CutOff(..) | Self::Silence(_) | Self::AddPartition => true,
            Self::Recreate | Self::Exchange | Self::Deafen(_) => true,
            Self::Send { .. } | Self::Correct(..) | Self::Outage(_) | Self::ClockJump(..) => false,
            Self::Grow | Self::VendorHangs(_) | Self::VendorRefuses(_) | Self::Refuse(..) => false,
        }
    }
}

/// A whole scenario.
pub struct Scenario {
    /// Number of workers.
    pub num_workers: usize,
    /// Number of partitions at the start.
    pub num_partitions: usize,
    /// Number of securities.
    pub num_codes: u32,
    /// Number of days at the start.
    pub num_days: usize,
    /// The settings of each worker.
    pub settings: ActorSettings,
    /// Whether the store drops batches with a known token.
    pub deduplicates: bool,
    /// Whether the store merges rows of a key.
    pub merges: bool,
    /// Maximum latency of each way of a statement.
    pub store_latency: Duration,
    /// Faults of statements.
    pub store_faults: FaultRates,
    /// Maximum delay of each way of a request to the vendor.
    pub vendor_delay: Duration,
    /// Share of failing requests.
    pub vendor_failures: f64,
    /// Share of requests and publications in which the program panics.
    pub panics: f64,
    /// Share of failing publications.
    pub outbox_failures: f64,
    /// Events in the order of their times.
    pub timeline: Vec<(Duration, Event)>,
}

impl Scenario {
    /// The scenario of a seed.
    pub fn of(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let (num_workers, num_partitions, num_codes) = (random.usize(1..=4), random.usize(1..=4), random.u32(1..=5));
        let mut timeline = Vec::new();
        // Either spread over the whole time, or close to a few moments, where workers do the same at once.
        let moments: Vec<f64> = (0..random.u32(..4)).map(|_| random.f64()).collect();
        let at = |random: &mut fastrand::Rng| match moments.is_empty() {
            true => LOAD.mul_f64(random.f64()),
            false => LOAD.mul_f64(moments[random.usize(..moments.len())]) + AT_ONCE.mul_f64(random.f64()),
        };
        for _ in 0..random.u32(5..25) {
            let payload = command(&mut random, num_codes);
            let copies = 1 + usize::from(random.u8(..8) == 0);
            for _ in 0..copies {
                let gap = if random.u8(..4) == 0 { random.i64(1..3) } else { 0 };
                let partition = random.usize(..8);
                timeline.push((at(&mut random), Event::Send { partition, payload: payload.clone(), gap }));
            }
        }
        for _ in 0..random.u32(..8) {
            let kind = Kind::ALL[random.usize(..3)];
            let event = Event::Correct(kind, random.u32(1..=num_codes), random.usize(..DAYS.len()));
            timeline.push((at(&mut random), event));
        }
        let num_days = random.usize(1..=DAYS.len());
        (num_days..DAYS.len()).for_each(|_| timeline.push((at(&mut random), Event::Grow)));
        for _ in 0..random.u32(..6) {
            let event = fault(&mut random, num_workers);
            timeline.push((at(&mut random), event));
        }
        timeline.sort_by_key(|(at, _)| *at);
        let share = |random: &mut fastrand::Rng, max: f64| if random.bool() { 0.0 } else { random.f64() * max };
        Self {
            num_workers,
            num_partitions,
            num_codes,
            num_days,
            settings: settings(&mut random),
            deduplicates: random.bool(),
            merges: random.bool(),
            store_latency: Duration::from_millis(random.u64(1..150)),
            store_faults: FaultRates {
                refused: share(&mut random, 0.1),
                requests_lost: share(&mut random, 0.05),
                answers_lost: share(&mut random, 0.05),
                in_part: share(&mut random, 0.1),
                slow: share(&mut random, 0.01),
            },
            vendor_delay: Duration::from_millis(random.u64(1..400)),
            vendor_failures: share(&mut random, 0.2),
            panics: share(&mut random, 0.05),
            outbox_failures: share(&mut random, 0.3),
            timeline,
        }
    }
}

/// Small limits, so that a small load reaches them.
fn settings(random: &mut fastrand::Rng) -> ActorSettings {
    let mut settings = ActorSettings::default();
    settings.fetch.max_in_flight = random.usize(1..6);
    settings.fetch.max_codes_per_command = random.usize(1..5);
    settings.fetch.whole_days_from_tasks = 0;
    settings.fetch.latest_refresh_ms = random.u64(1..5_000);
    settings.fetch.facts_refresh_ms = random.u64(1_000..20_000);
    // No worker sends commands of its own accord here.
    settings.fetch.extend_calendar = false;
    settings.batch.max_rows = random.usize(3..40);
    settings.batch.due_rows = random.usize(1..40);
    settings.batch.min_rows = random.usize(1..=settings.batch.max_rows);
    settings.batch.flush_interval_ms = random.u64(50..1_000);
    settings.batch.max_buffered_rows = settings.batch.max_rows + random.usize(..60);
    settings.quality.report_interval_ms = 20_000;
    settings
}

/// A command for some kind of data and some securities.
fn command(random: &mut fastrand::Rng, num_codes: u32) -> String {
    let mut codes: Vec<String> = (1..=num_codes).map(|number| code(number).to_string()).collect();
    random.shuffle(&mut codes);
    codes.truncate(random.usize(1..=codes.len()));
    let replaces = random.bool();
    let (first, last) = (DAYS[0], DAYS[DAYS.len() - 1]);
    let message = match random.u8(..9) {
        0 => json!({"command": "stockinfo"}),
        1 => json!({"command": "trade_day"}),
        2 | 3 => json!({"command": "adjustfactor", "params": {"codes": codes, "full": replaces}}),
        4 | 5 => json!({"command": "tick", "params": {"codes": codes, "start_date": first, "end_date": last,
            "overwrite": replaces}}),
        6 => json!({"command": "bar_snapshot", "params": {"codes": codes, "force": replaces, "start_date": first,
            "end_date": last}}),
        _ => json!({"command": "bar_snapshot", "params": {"codes": codes, "full": replaces}}),
    };
    message.to_string()
}

fn fault(random: &mut fastrand::Rng, num_workers: usize) -> Event {
    let worker = random.usize(..num_workers);
    let lasting = Duration::from_millis(random.u64(200..15_000));
    match random.u8(..19) {
        0..=3 => Event::Kill(worker, lasting),
        4 | 5 => Event::Stop(worker, lasting),
        6 | 7 => Event::CutOff(worker, lasting),
        8 => Event::Silence(lasting),
        9 => Event::AddPartition,
        10 => Event::Outage(lasting),
        11 => Event::VendorHangs(lasting * 10),
        12 => Event::Exchange,
        13 | 14 => Event::Refuse(Kind::ALL[random.usize(..3)], lasting * 4),
        15 => Event::VendorRefuses(lasting * 10),
        16 => Event::Recreate,
        17 => Event::Deafen(worker),
        _ => Event::ClockJump(worker, TimeDelta::milliseconds(random.i64(-20_000..20_000))),
    }
}

/// Commands that replace everything with the vendor's answers.
pub fn last_commands(num_codes: u32) -> Vec<String> {
    let (first, last) = (DAYS[0], DAYS[DAYS.len() - 1]);
    let commands = |number| {
        let codes = [code(number).to_string()];
        [
            json!({"command": "bar_snapshot", "params": {"codes": codes, "full": true}}),
            json!({"command": "adjustfactor", "params": {"codes": codes, "full": true}}),
            json!({"command": "tick", "params": {"codes": codes, "start_date": first, "end_date": last,
                "overwrite": true}}),
        ]
    };
    (1..=num_codes).flat_map(commands).map(|message| message.to_string()).collect()
}
