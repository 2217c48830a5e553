// Upstream: app, metrics, standalone
// Downstream: actors
// Role: Counts events of the actors: commands, tasks, fetches, rows, inserts, retries, heartbeats.

use std::time::Duration;

use actors::domain::{Rule, TaskCounts};
use actors::ports::StoreErrorClass;
use actors::supervision::{CommandOutcome, MetricEvent, Observer, TaskEnd};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The values of `N` labels.
type Labels<const N: usize> = [(&'static str, &'static str); N];

type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// Counters and histograms since the start.
#[derive(Debug)]
pub struct Metrics {
    commands: Counters<1>,
    dead_letters: Counters<1>,
    task_duration: Histograms<1>,
    task_delay: Histogram,
    fetch_duration: Histograms<2>,
    rate_limit_wait: Histogram,
    rows_expected: Counter,
    rows_missing: Counter,
    rows_fetched: Counter,
    rows_written: Counter,
    rows_unchanged: Counter,
    rows_replaced: Counter,
    rows_skipped: Counters<1>,
    rows_warned: Counters<1>,
    insert_duration: Histograms<1>,
    insert_rows: Histogram,
    retries: Counters<2>,
    heartbeats: Counters<1>,
}

/// Buckets in seconds, from an in-memory look-up to the slowest answer of a vendor.
fn durations() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
}

/// Buckets in seconds, from the command to its stored rows: minutes for an evening run, hours after an outage.
fn delays() -> Histogram {
    Histogram::new([0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0])
}

/// Buckets in rows, beyond the largest batch.
fn sizes() -> Histogram {
    Histogram::new([1.0, 10.0, 100.0, 1_000.0, 2_500.0, 5_000.0, 10_000.0, 25_000.0, 100_000.0])
}

impl Default for Metrics {
    /// Initializes all known label sets to 0: `rate()` needs a first value, and an alert must not miss the first event.
    fn default() -> Self {
        let metrics = Self {
            commands: Counters::default(),
            dead_letters: Counters::default(),
            task_duration: Histograms::new_with_constructor(durations),
            task_delay: delays(),
            fetch_duration: Histograms::new_with_constructor(durations),
            rate_limit_wait: durations(),
            rows_expected: Counter::default(),
            rows_missing: Counter::default(),
            rows_fetched: Counter::default(),
            rows_written: Counter::default(),
            rows_unchanged: Counter::default(),
            rows_replaced: Counter::default(),
            rows_skipped: Counters::default(),
            rows_warned: Counters::default(),
            insert_duration: Histograms::new_with_constructor(durations),
            insert_rows: sizes(),
            retries: Counters::default(),
            heartbeats: Counters::default(),
        };
        for outcome in ["done", "passed_over", "split", "dead_letter"] {
            drop(metrics.commands.get_or_create(&[("outcome", outcome)]));
        }
        for class in ["bad_command", "source_error", "write_error", "no_codes", "crashed"] {
            drop(metrics.dead_letters.get_or_create(&[("class", class)]));
        }
        for outcome in ["done", "failed", "lost"] {
            drop(metrics.task_duration.get_or_create(&[("outcome", outcome)]));
        }
        for rule in Rule::ALL {
            drop(metrics.rows_skipped.get_or_create(&[("rule", rule.as_str())]));
            drop(metrics.rows_warned.get_or_create(&[("rule", rule.as_str())]));
        }
        for outcome in ["ok", "transient", "outcome_unknown"] {
            drop(metrics.insert_duration.get_or_create(&[("outcome", outcome)]));
        }
        for class in ["unreachable", "timeout", "server_error", "rate_limited"] {
            drop(metrics.retries.get_or_create(&[("part", "fetch"), ("class", class)]));
        }
        for class in ["transient", "outcome_unknown", "schema", "access", "refused"] {
            drop(metrics.retries.get_or_create(&[("part", "store"), ("class", class)]));
        }
        for outcome in ["ok", "failed"] {
            drop(metrics.heartbeats.get_or_create(&[("outcome", outcome)]));
        }
        metrics
    }
}

impl Metrics {
    /// Registers all metrics with name and help text.
    pub(super) fn register(&self, page: &mut Registry) {
        page.register("data_worker_commands", "Commands resolved, by outcome", self.commands.clone());
        let help = "Dead letters, by class of the reason";
        page.register("data_worker_dead_letters", help, self.dead_letters.clone());
        let help = "Time from a task's start to its end, by outcome";
        page.register("data_worker_task_duration_seconds", help, self.task_duration.clone());
        let help = "Delay until a task's rows are readable, measured from quality.delay_basis";
        page.register("data_worker_task_delay_seconds", help, self.task_delay.clone());
        let help = "Duration of a fetch including waits for rate limits, by source and outcome";
        page.register("data_worker_fetch_duration_seconds", help, self.fetch_duration.clone());
        let help = "Waits before a retry because of the vendor's rate limit";
        page.register("data_worker_rate_limit_wait_seconds", help, self.rate_limit_wait.clone());
        let help = "Expected rows by calendar, listing and known suspensions; for ticks, expected days";
        page.register("data_worker_rows_expected", help, self.rows_expected.clone());
        page.register("data_worker_rows_missing", "Expected rows that no source returned", self.rows_missing.clone());
        let help = "Fetched rows of finished tasks, before validation";
        page.register("data_worker_rows_fetched", help, self.rows_fetched.clone());
        page.register("data_worker_rows_written", "Rows newly stored", self.rows_written.clone());
        let help = "Fetched rows that were already stored";
        page.register("data_worker_rows_unchanged", help, self.rows_unchanged.clone());
        page.register("data_worker_rows_replaced", "Stored rows deleted or replaced", self.rows_replaced.clone());
        let help = "Invalid rows that were skipped, by rule";
        page.register("data_worker_rows_skipped", help, self.rows_skipped.clone());
        let help = "Rows that broke a market rule and were kept, by rule";
        page.register("data_worker_rows_warned", help, self.rows_warned.clone());
        page.register(
            "data_worker_insert_duration_seconds",
            "Duration of one INSERT, by outcome",
            self.insert_duration.clone(),
        );
        page.register("data_worker_insert_rows", "Rows of one INSERT that succeeded", self.insert_rows.clone());
        let help = "Retries after a failure, by part (fetch, store) and error class";
        page.register("data_worker_retries", help, self.retries.clone());
        page.register("data_worker_heartbeats", "Heartbeats sent, by outcome", self.heartbeats.clone());
    }

    fn task_ended(&self, outcome: &TaskEnd<'_>, duration: Duration) {
        let word = match outcome {
            TaskEnd::Done { counts, delay } => {
                self.rows(counts);
                if let Some(delay) = delay {
                    self.task_delay.observe(delay.as_secs_f64());
                }
                "done"
            }
            TaskEnd::NotOffered => "not_offered",
            TaskEnd::Failed => "failed",
            TaskEnd::Lost => "lost",
        };
        self.task_duration.get_or_create(&[("outcome", word)]).observe(duration.as_secs_f64());
    }

    fn rows(&self, counts: &TaskCounts) {
        self.rows_expected.inc_by(counts.expected);
        self.rows_missing.inc_by(counts.missing);
        self.rows_fetched.inc_by(counts.fetched);
        self.rows_written.inc_by(counts.written);
        self.rows_unchanged.inc_by(counts.unchanged);
        self.rows_replaced.inc_by(counts.replaced);
        for (rule, count) in &counts.skipped {
            self.rows_skipped.get_or_create(&[("rule", rule.as_str())]).inc_by(*count);
        }
        for (rule, count) in &counts.warned {
            self.rows_warned.get_or_create(&[("rule", rule.as_str())]).inc_by(*count);
        }
    }

    fn retried(&self, part: &'static str, class: &'static str) {
        self.retries.get_or_create(&[("part", part), ("class", class)]).inc();
    }
}

impl Observer for Metrics {
    fn observe(&self, observation: &MetricEvent<'_>) {
        match observation {
            MetricEvent::CommandEnded(outcome) => {
                let word = match outcome {
                    CommandOutcome::Done => "done",
                    CommandOutcome::PassedOver => "passed_over",
                    CommandOutcome::Split => "split",
                    CommandOutcome::DeadLetter(class) => {
                        self.dead_letters.get_or_create(&[("class", class)]).inc();
                        "dead_letter"
                    }
                };
                self.commands.get_or_create(&[("outcome", word)]).inc();
            }
            MetricEvent::TaskEnded { outcome, duration } => self.task_ended(outcome, *duration),
            MetricEvent::FetchEnded { source, error, duration } => {
                let outcome = error.map_or("ok", |error| error.kind.as_str());
                let labels = [("source", *source), ("outcome", outcome)];
                self.fetch_duration.get_or_create(&labels).observe(duration.as_secs_f64());
            }
            MetricEvent::FetchRetried { error, wait } => {
                let class = error.kind.as_str();
                if class == "rate_limited" {
                    self.rate_limit_wait.observe(wait.as_secs_f64());
                }
                self.retried("fetch", class);
            }
            MetricEvent::InsertEnded { rows, error, duration } => {
                if error.is_none() {
                    self.insert_rows.observe(*rows as f64);
                }
                let outcome = error.map_or("ok", |error| class_word(error.class));
                self.insert_duration.get_or_create(&[("outcome", outcome)]).observe(duration.as_secs_f64());
            }
            MetricEvent::StoreRetried(error) => self.retried("store", class_word(error.class)),
            MetricEvent::HeartbeatSent { arrived } => {
                let outcome = if *arrived { "ok" } else { "failed" };
                self.heartbeats.get_or_create(&[("outcome", outcome)]).inc();
            }
        }
    }
}

fn class_word(class: StoreErrorClass) -> &'static str {
    match class {
        StoreErrorClass::Transient => "transient",
        StoreErrorClass::OutcomeUnknown => "outcome_unknown",
        StoreErrorClass::TooManyPartitions => "too_many_partitions",
        StoreErrorClass::TooManyRows => "too_many_rows",
        StoreErrorClass::Schema => "schema",
        StoreErrorClass::Access => "access",
        StoreErrorClass::Refused => "refused",
    }
}
