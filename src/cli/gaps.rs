// Upstream: main
// Downstream: many
// Role: Implements `data-worker gaps`, which finds missing or unwanted stored bars and sends repair commands.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use actors::domain::expected_rows::last_expected_day;
use actors::domain::gaps::{GapSearch, Gaps, Repair, runs};
use actors::domain::{Code, DateRange, Frequency, MarketFacts, counted_len, shanghai_clock};
use chrono::{Days, NaiveDate};
use clap::Args;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::days::{day, frequency};
use super::fold::print_folded;
use super::follow::{EXIT_NO_OUTCOME, Follower};
use super::send::command_topic;
use super::suspended::Suspended;
use super::{block_on, load, print};
use crate::adapters::kafka::admin_client::{AdminClient, AdminClientError};
use crate::app::service_hub::ServiceHub;
use crate::config::{KafkaSection, Settings};

/// Exit code for gaps without `--fill`; 2 is the exit code for invalid arguments.
const EXIT_GAPS: u8 = 3;

/// Number of codes per query: thirty years of days of these codes are about 10 MB and take the server some seconds.
const CODES_PER_QUERY: usize = 100;

/// Maximum number of day ranges in one output line.
const MAX_NAMED: usize = 10;

/// Maximum age of the cached facts: longer than the command runs.
const MAX_FACT_AGE: Duration = Duration::from_secs(86_400);

/// Options of `data-worker gaps`.
#[derive(Debug, Args)]
pub struct GapsOptions {
    /// Configuration file; default: the file that a worker would use, see docs/configuration.md.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Securities, separated by commas; default: the whole stock list.
    #[arg(long, visible_alias = "code", value_delimiter = ',')]
    codes: Vec<Code>,
    /// First day; default: the listing day, for minute bars the first stored day.
    #[arg(long, value_parser = day)]
    start: Option<NaiveDate>,
    /// Last day; default and maximum: today from 17:00 (Shanghai) on, yesterday before.
    #[arg(long, value_parser = day)]
    end: Option<NaiveDate>,
    /// Frequency of the bars: 1d, 1m, 5m, 15m, 30m or 60m.
    #[arg(long, default_value = "1d", value_parser = frequency)]
    frequency: Frequency,
    /// Ignores missing days on which the security was suspended, as reported by a source of daily bars; this
    /// takes some requests to it.
    #[arg(long)]
    except_suspended: bool,
    /// Prints one JSON object per line for each security with gaps.
    #[arg(long)]
    json: bool,
    /// Sends commands that repair the gaps.
    #[arg(long)]
    fill: bool,
    /// Waits for the outcome of the commands and looks again; exit code 1 for a dead letter, 2 if there is no outcome
    /// within
    /// --timeout, 3 if gaps remain.
    #[arg(long, requires = "fill")]
    wait: bool,
    /// Maximum wait in seconds.
    #[arg(long, default_value_t = 3_600)]
    timeout: u64,
}

/// The form in which a search prints its findings.
#[derive(Debug, Clone, Copy)]
enum Shown {
    Json,
    Rows,
    Nothing,
}

/// The findings for all securities.
#[derive(Default)]
struct Found {
    num_codes: usize,
    num_with_gaps: usize,
    /// Number of days per kind of gap, in the order of [`Gaps::kinds`].
    num_days: [usize; 5],
    repairs: Vec<(Code, Repair)>,
    /// The last known trading day, if the search went beyond it.
    calendar_end: Option<NaiveDate>,
}

impl GapsOptions {
    /// Finds and prints the gaps, and sends repair commands if requested. Exit code 0: no gaps, or the commands are
    /// sent (with `--wait`: and no gaps remain); 3: there are gaps; 1: the search or a repair failed, or the search
    /// went beyond the trading calendar.
    pub fn run(self) -> ExitCode {
        self.find().unwrap_or_else(|code| code)
    }

    fn find(&self) -> Result<ExitCode, ExitCode> {
        let loaded = load(self.config.as_deref())?;
        let settings = &loaded.settings;
        let found = block_on(self.look(settings, if self.json { Shown::Json } else { Shown::Rows }))??;
        if !self.json {
            print(&found.summary());
        }
        let code = self.repaired(settings, &found)?;
        let Some(end) = found.calendar_end else { return Ok(code) };
        eprintln!(
            "the trading calendar ends on {end}: of later days every weekday was searched, and holidays among them look \
             like missing days. Send `trade_day`, which reads the calendar of a source into MySQL"
        );
        Err(ExitCode::FAILURE)
    }

    /// Repairs the gaps if requested, and returns the exit code for what is left.
    fn repaired(&self, settings: &Settings, found: &Found) -> Result<ExitCode, ExitCode> {
        if found.num_with_gaps == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        if !self.fill {
            return Ok(ExitCode::from(EXIT_GAPS));
        }
        let sent = self.send(&settings.kafka, &found.repairs).map_err(|error| {
            eprintln!("{error}");
            ExitCode::FAILURE
        })?;
        if !self.wait || sent == ExitCode::from(EXIT_NO_OUTCOME) {
            return Ok(sent);
        }
        self.look_again(settings, sent)
    }

    /// Shows what the repair has left. A failed repair remains a failure.
    fn look_again(&self, settings: &Settings, repaired: ExitCode) -> Result<ExitCode, ExitCode> {
        if self.json {
            let left = block_on(self.look(settings, Shown::Nothing))??;
            eprint!("after the repair: {}", left.summary());
            return Ok(left.code_after(repaired));
        }
        print("after the repair:\n");
        let left = block_on(self.look(settings, Shown::Rows))??;
        print(&left.summary());
        Ok(left.code_after(repaired))
    }

    /// Searches in batches of securities, and prints the gaps of each batch immediately.
    async fn look(&self, settings: &Settings, shown: Shown) -> Result<Found, ExitCode> {
        let reported = |error: actors::ports::StoreError| {
            eprintln!("{error}");
            ExitCode::FAILURE
        };
        let since = self.start.unwrap_or(DateRange::FIRST_TRADING_DAY);
        let codes = match self.codes.is_empty() {
            true => ServiceHub::listed_codes(settings, since).await.map_err(reported)?,
            false => self.codes.clone(),
        };
        if codes.is_empty() {
            eprintln!("the stock list (stock_info) is empty; name --codes, or send `stockinfo` first");
            return Err(ExitCode::FAILURE);
        }
        let facts = ServiceHub::market_facts(settings).current(MAX_FACT_AGE).await;
        let end = self.end.unwrap_or(NaiveDate::MAX).min(last_expected_day(shanghai_clock::now()));
        let look = GapSearch { frequency: self.frequency, start: self.start, end, facts: &facts };
        // Unwanted rows may lie before and after the expected range.
        let range = DateRange {
            start: self.start.unwrap_or(DateRange::FIRST_TRADING_DAY).max(DateRange::FIRST_TRADING_DAY),
            end: self.end.unwrap_or(NaiveDate::MAX).min(shanghai_clock::today()),
        };
        let days = ServiceHub::stored_days(settings);
        let suspended = self.except_suspended.then(|| Suspended::of(settings, codes.len(), range)).transpose()?;
        let start = self.start.unwrap_or(DateRange::FIRST_TRADING_DAY);
        let calendar_end = facts.calendar.end_within(DateRange { start, end }).filter(|_| start <= end);
        let mut found = Found { num_codes: codes.len(), calendar_end, ..Found::default() };
        for codes in codes.chunks(CODES_PER_QUERY) {
            let stored = days.of(self.frequency, codes, range).await.map_err(reported)?;
            let mut text = String::new();
            for code in codes {
                let mut gaps = look.find(*code, stored.get(code).map_or(&[], Vec::as_slice));
                if let Some(suspended) = &suspended {
                    suspended.leave_out(*code, &mut gaps.missing).await?;
                }
                if gaps.is_empty() {
                    continue;
                }
                text.push_str(&match shown {
                    Shown::Json => line(*code, &gaps),
                    Shown::Rows => rows(*code, &gaps, &facts),
                    Shown::Nothing => String::new(),
                });
                found.add(*code, &gaps, &look);
            }
            match shown {
                Shown::Rows => print_folded(&text),
                Shown::Json | Shown::Nothing => print(&text),
            };
        }
        Ok(found)
    }

    fn send(&self, kafka: &KafkaSection, repairs: &[(Code, Repair)]) -> Result<ExitCode, AdminClientError> {
        let admin = AdminClient::new(kafka)?;
        let id = Uuid::new_v4().simple().to_string();
        let follower = if self.wait { Some(Follower::begin(&admin, kafka, &id)?) } else { None };
        let mut open = Vec::with_capacity(repairs.len());
        for (code, repair) in repairs {
            let position = admin.send(command_topic(kafka), &self.command(*code, *repair, &id))?;
            open.push((format!("{code} {}..{}", repair.start, repair.end), position));
        }
        eprintln!("{} sent to {}, correlation id {id}", counted_len(open.len(), "command"), command_topic(kafka));
        match follower {
            Some(follower) => follower.follow(open, Duration::from_secs(self.timeout)),
            None => Ok(ExitCode::SUCCESS),
        }
    }

    /// Builds a command for one code, as Ginkgo sends them.
    fn command(&self, code: Code, repair: Repair, id: &str) -> String {
        let mut params = Map::new();
        params.insert("full".to_owned(), false.into());
        params.insert("force".to_owned(), repair.replace.into());
        params.insert("start_date".to_owned(), repair.start.format("%Y%m%d").to_string().into());
        params.insert("end_date".to_owned(), repair.end.format("%Y%m%d").to_string().into());
        if self.frequency != Frequency::Day {
            params.insert("frequency".to_owned(), self.frequency.as_str().into());
        }
        params.insert("code".to_owned(), code.as_str().into());
        json!({
            "command": "bar_snapshot",
            "timestamp": shanghai_clock::now().format("%Y-%m-%dT%H:%M:%S%.6f").to_string(),
            "params": params,
            "source": "data-worker gaps",
            "correlation_id": id,
            "report_outcome": self.wait,
            "trace_id": null,
            "span_id": null,
        })
        .to_string()
    }
}

impl Found {
    fn add(&mut self, code: Code, gaps: &Gaps, look: &GapSearch<'_>) {
        self.num_with_gaps += 1;
        for (number, (_, days)) in self.num_days.iter_mut().zip(gaps.kinds()) {
            *number += days.len();
        }
        self.repairs.extend(gaps.repairs(look).into_iter().map(|repair| (code, repair)));
    }

    fn code_after(&self, repaired: ExitCode) -> ExitCode {
        if repaired == ExitCode::SUCCESS && self.num_with_gaps > 0 { ExitCode::from(EXIT_GAPS) } else { repaired }
    }

    fn summary(&self) -> String {
        let kinds = Gaps::default().kinds().map(|(kind, _)| kind);
        let days: Vec<String> = kinds
            .iter()
            .zip(self.num_days)
            .filter(|(_, number)| *number > 0)
            .map(|(kind, number)| format!("{} {}", counted_len(number, "day"), kind.replace('_', " ")))
            .collect();
        match self.num_with_gaps {
            0 => format!("{}, no gaps\n", counted_len(self.num_codes, "security")),
            number => {
                format!("{}, {number} with gaps: {}\n", counted_len(self.num_codes, "security"), days.join(", "))
            }
        }
    }
}

fn line(code: Code, gaps: &Gaps) -> String {
    let mut object: Map<String, Value> = Map::new();
    object.insert("code".to_owned(), code.as_str().into());
    for (kind, days) in gaps.kinds() {
        object.insert(kind.to_owned(), days.iter().map(ToString::to_string).collect());
    }
    format!("{}\n", Value::Object(object))
}

fn rows(code: Code, gaps: &Gaps, facts: &MarketFacts) -> String {
    let mut text = String::new();
    for (kind, days) in gaps.kinds().into_iter().filter(|(_, days)| !days.is_empty()) {
        let named = ranges(days, facts);
        let more =
            if named.len() > MAX_NAMED { format!(", and {} more", named.len() - MAX_NAMED) } else { String::new() };
        let named = named.into_iter().take(MAX_NAMED).collect::<Vec<_>>().join(", ");
        text.push_str(&format!("{code}  {:<15}  {:>5}  {named}{more}\n", kind.replace('_', " "), days.len()));
    }
    text
}

/// Formats days as ranges. A range may contain days without trading.
fn ranges(days: &[NaiveDate], facts: &MarketFacts) -> Vec<String> {
    let mut joined: Vec<DateRange> = Vec::new();
    for run in runs(days, Days::new(1)) {
        match joined.last_mut() {
            Some(last) if facts.calendar.next(last.end) == Some(run.start) => last.end = run.end,
            _ => joined.push(run),
        }
    }
    let text = |DateRange { start, end }| if start == end { start.to_string() } else { format!("{start}..{end}") };
    joined.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use actors::domain::{BarSnapshot, ControlCommand, Instruction, SyncMode};
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        options: GapsOptions,
    }

    fn day(text: &str) -> NaiveDate {
        super::day(text).unwrap()
    }

    #[test]
    fn a_repair_is_a_command_of_today_s_format() {
        let arguments = ["gaps", "--codes", "000001.SZ,sh600000", "--frequency", "5m", "--start", "20240102"];
        let options = Program::parse_from(arguments).options;
        assert_eq!(options.start, Some(day("2024-01-02")), "both forms of a day");
        let repair = Repair { start: day("2024-01-04"), end: day("2024-01-11"), replace: true };
        let command = ControlCommand::parse(options.command(options.codes[1], repair, "i").as_bytes()).unwrap();
        assert_eq!(command.job_id.as_deref(), Some("i"));
        let Instruction::BarSnapshot(BarSnapshot { bars, .. }) = command.instruction else { panic!("no bars") };
        assert_eq!((bars.frequency, bars.mode), (Frequency::Minute5, SyncMode::Replace));
        assert_eq!((bars.range.start, bars.range.end), (Some(repair.start), Some(repair.end)));
    }

    #[test]
    fn shows_bounded_ranges_across_weekends() {
        let facts = MarketFacts::built_in(day("2024-06-03"));
        let missing = ["2024-01-04", "2024-01-05", "2024-01-08", "2024-01-10"].map(day).to_vec();
        assert_eq!(ranges(&missing, &facts), ["2024-01-04..2024-01-08", "2024-01-10"]);
        let all = facts.calendar.trading_days(DateRange { start: day("2023-01-01"), end: day("2023-12-31") });
        let every_second = all.iter().step_by(2).copied().collect();
        let gaps = Gaps { missing: every_second, ..Gaps::default() };
        let text = rows("000001.SZ".parse().unwrap(), &gaps, &facts);
        assert!(text.lines().count() == 1 && text.contains(", and 111 more"), "{text}");
    }
}
