// Upstream: many
// Downstream: many
// Role: Parses a control command, in both payload generations, into an instruction for the worker.

use std::borrow::Cow;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::calendar::TradingCalendar;
use crate::domain::command_params::ignored_params;
use crate::domain::message::{bad_field, message_of, optional_text, shorten};
use crate::domain::{
    Code, CommandError, DateRange, Frequency, MAX_CODES, OpenRange, OrderKind, RawCommand, SyncMode, TraceIds,
    shanghai_clock,
};

/// Maximum of `days`, in trading days: longer than the exchanges have existed.
const MAX_DAYS: u64 = 10_000;

/// Commands on the shared topics that other components handle. The consumer group skips and counts them, as it does
/// operator orders, which every instance receives on a separate consumer.
const FOREIGN_COMMANDS: [&str; 3] = ["paper_trading", "deploy", "unload"];

/// A parsed and validated command.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlCommand {
    /// What to do.
    pub instruction: Instruction,
    /// When the sender issued the command. A time without a zone is Shanghai wall clock: Ginkgo's containers run in
    /// that zone.
    pub issued_at: Option<DateTime<Utc>>,
    /// The sender: `source`, else `service`, as Ginkgo's KafkaService names itself.
    pub source: Option<String>,
    /// The sender's id of the request (`correlation_id`, else `request_id`, else `message_id`).
    pub correlation_id: Option<String>,
    /// The id that all commands of the sender's job share (`correlation_id`, else `request_id`). A `message_id` is not
    /// used: it is unique to each message.
    pub job_id: Option<String>,
    /// The sender's trace ids, in the message.
    trace: TraceIds,
    /// Whether the sender waits for the row counts of this command (`report_outcome`), as `data-worker send --wait`
    /// does.
    pub reports_outcome: bool,
    /// The parameters that the command does not read.
    pub ignored: Vec<String>,
}

/// The action that a command requests.
#[derive(Debug, Clone, PartialEq)]
pub enum Instruction {
    /// Fetch, check and store bars.
    BarSnapshot(BarSnapshot),
    /// Fetch, check and store adjustment factors.
    AdjustFactor(FactorCommand),
    /// Fetch, check and store ticks.
    Tick(TickCommand),
    /// Fetch and merge the whole list of securities.
    StockInfo,
    /// Fetch and merge the whole calendar.
    TradeDay,
    /// A command that this consumer group skips: another component handles it, or it arrives on another consumer.
    /// Contains the command's name.
    NotForTheGroup(String),
}

/// The parameters of `bar_snapshot`.
#[derive(Debug, Clone, PartialEq)]
pub struct BarSnapshot {
    /// The securities.
    pub codes: CodeSelection,
    /// The bars to fetch for each security.
    pub bars: BarSync,
}

/// The requested bars of a security.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BarSync {
    /// Insert missing bars, or replace the range.
    pub mode: SyncMode,
    /// The frequency of the bars.
    pub frequency: Frequency,
    /// The requested days.
    pub range: OpenRange,
    /// Whether the caller wants adjusted prices (`adjust_type` qfq or hfq). Bars are stored unadjusted and readers
    /// adjust them by the stored factors. So this flag makes the worker fetch the factors, too.
    pub adjusted: bool,
    /// Whether the days are fetched for all of the command's securities together (`by_day`). Parts of a command for
    /// many securities and backfills set it. Applies to daily bars that are inserted where they are missing.
    pub by_day: bool,
}

/// The parameters of `adjustfactor`.
#[derive(Debug, Clone, PartialEq)]
pub struct FactorCommand {
    /// The securities.
    pub codes: CodeSelection,
    /// Add new factors, or replace the whole series.
    pub mode: SyncMode,
}

/// The parameters of `tick`.
#[derive(Debug, Clone, PartialEq)]
pub struct TickCommand {
    /// The securities.
    pub codes: CodeSelection,
    /// The ticks to fetch for each security.
    pub ticks: TickSync,
}

/// The requested ticks of a security.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TickSync {
    /// Backfill older days step by step, not only the days after the stored ones.
    pub full: bool,
    /// Replace days that are already stored.
    pub overwrite: bool,
    /// The requested days.
    pub range: OpenRange,
}

/// The securities that a command selects.
#[derive(Debug, Clone, PartialEq)]
pub enum CodeSelection {
    /// All listed securities.
    AllListed,
    /// These securities, without duplicates, in the given order.
    These(Vec<Code>),
}

impl ControlCommand {
    /// Parses the bytes of a message: an object, or an object encoded once more as a JSON string (the TaskTimer of
    /// January 2026 sent those). An empty payload (a Kafka tombstone) is nothing to do, as in the Python worker.
    pub fn parse(payload: &[u8]) -> Result<Self, CommandError> {
        match message_of(payload)? {
            Some(message) => Self::from_object(&message),
            None => Ok(Self::nothing_to_do()),
        }
    }

    /// The trace ids of the command: those in its message, else those in the headers of its record.
    pub fn trace_ids(&self, record: &RawCommand) -> TraceIds {
        self.trace.or(&record.trace)
    }

    fn nothing_to_do() -> Self {
        Self {
            instruction: Instruction::NotForTheGroup("(empty message)".to_owned()),
            issued_at: None,
            source: None,
            correlation_id: None,
            job_id: None,
            trace: TraceIds::default(),
            reports_outcome: false,
            ignored: Vec::new(),
        }
    }

    fn from_object(message: &Map<String, Value>) -> Result<Self, CommandError> {
        let Some(Value::String(name)) = message.get("command") else {
            return Err(bad_field("command", message.get("command"), "a command name"));
        };
        if FOREIGN_COMMANDS.contains(&name.as_str()) || OrderKind::named(name).is_some() {
            let instruction = Instruction::NotForTheGroup(name.clone());
            return Ok(Self { instruction, ..Self::nothing_to_do() });
        }
        let no_params = Map::new();
        let params = match message.get("params") {
            None => &no_params,
            Some(Value::Object(params)) => params,
            other => return Err(bad_field("params", other, "an object")),
        };
        let job_id = match optional_text(message, "correlation_id")? {
            Some(id) => Some(id),
            None => optional_text(message, "request_id")?,
        };
        let correlation_id = match &job_id {
            Some(id) => Some(id.clone()),
            None => optional_text(message, "message_id")?,
        };
        let (trace_id, span_id) = (optional_text(message, "trace_id")?, optional_text(message, "span_id")?);
        let instruction = match name.as_str() {
            // Two names for the same command.
            "bar_snapshot" | "update_data" => Instruction::BarSnapshot(BarSnapshot::from_params(params)?),
            "adjustfactor" => Instruction::AdjustFactor(FactorCommand { codes: codes(params)?, mode: mode(params)? }),
            "tick" => Instruction::Tick(TickCommand::from_params(params)?),
            // Parameters are ignored, as in the Python worker.
            "stockinfo" => Instruction::StockInfo,
            "trade_day" => Instruction::TradeDay,
            _ => return Err(CommandError::Unknown { name: shorten(name) }),
        };
        Ok(Self {
            instruction,
            issued_at: issued_at(message.get("timestamp"))?,
            source: match optional_text(message, "source")? {
                Some(source) => Some(source),
                None => optional_text(message, "service")?,
            },
            correlation_id,
            job_id,
            trace: TraceIds::new(trace_id.as_deref(), span_id.as_deref()),
            ignored: ignored_params(name, params),
            reports_outcome: message.get("report_outcome") == Some(&Value::Bool(true)),
        })
    }
}

impl TickCommand {
    fn from_params(params: &Map<String, Value>) -> Result<Self, CommandError> {
        let range = range(params)?;
        let ticks = TickSync {
            full: flag(params, "full", "params.full")? && range.start.is_none(),
            // `force` is the name in other commands; Ginkgo's command line sends `overwrite` here.
            overwrite: flag(params, "overwrite", "params.overwrite")? || flag(params, "force", "params.force")?,
            range,
        };
        Ok(Self { codes: codes(params)?, ticks })
    }
}

impl BarSync {
    /// Splits the requested days into the parts that one task each fetches, so that the rows of one task fit in memory.
    /// An outer end that the command does not name stays open.
    pub fn parts(&self, today: NaiveDate) -> Vec<OpenRange> {
        let asked = self.range.until(today);
        let whole = vec![asked];
        let Some(days) = self.frequency.days_per_task() else { return whole };
        if self.mode == SyncMode::Incremental && self.range.start.is_none() {
            return whole; // starts after the stored bars
        }
        let (start, end) = (asked.start.unwrap_or(self.frequency.first_day()), asked.end.unwrap_or(today));
        if start > end {
            return whole;
        }
        let parts = TradingCalendar::built_in().cut(DateRange { start, end }, days);
        let last = parts.len().saturating_sub(1);
        let part = |(n, part): (usize, &DateRange)| OpenRange {
            start: if n == 0 { asked.start } else { Some(part.start) },
            end: if n == last { asked.end } else { Some(part.end) },
        };
        parts.iter().enumerate().map(part).collect()
    }
}

impl BarSnapshot {
    fn from_params(params: &Map<String, Value>) -> Result<Self, CommandError> {
        let bars = BarSync {
            mode: mode(params)?,
            frequency: frequency(params.get("frequency"))?,
            range: range(params)?,
            adjusted: is_adjusted(params.get("adjust_type"))?,
            by_day: flag(params, "by_day", "params.by_day")?,
        };
        Ok(Self { codes: codes(params)?, bars })
    }
}

/// Parses `start_date` and `end_date`, or `days` instead of the start.
fn range(params: &Map<String, Value>) -> Result<OpenRange, CommandError> {
    let end = date(params, "end_date", "params.end_date")?;
    let start = match date(params, "start_date", "params.start_date")? {
        Some(start) => Some(start),
        None => last_days(params.get("days"), end)?,
    };
    match (start, end) {
        (Some(start), Some(end)) if start > end => Err(CommandError::EmptyRange { start, end }),
        _ => Ok(OpenRange { start, end }),
    }
}

/// Parses a boolean. The Python worker used Python truthiness, in which the text "false" is true; here it is false.
fn flag(params: &Map<String, Value>, name: &str, field: &'static str) -> Result<bool, CommandError> {
    match params.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(on)) => Ok(*on),
        Some(Value::Number(number)) if number.as_f64() == Some(0.0) => Ok(false),
        Some(Value::Number(number)) if number.as_f64() == Some(1.0) => Ok(true),
        Some(Value::String(text)) if matches!(text.to_ascii_lowercase().as_str(), "true" | "1" | "yes") => Ok(true),
        Some(Value::String(text)) if matches!(text.to_ascii_lowercase().as_str(), "false" | "0" | "no" | "") => {
            Ok(false)
        }
        other => Err(bad_field(field, other, "true or false")),
    }
}

fn mode(params: &Map<String, Value>) -> Result<SyncMode, CommandError> {
    let full = flag(params, "full", "params.full")?;
    let force = flag(params, "force", "params.force")?;
    Ok(if full || force { SyncMode::Replace } else { SyncMode::Incremental })
}

fn codes(params: &Map<String, Value>) -> Result<CodeSelection, CommandError> {
    let mut texts: Vec<&str> = Vec::new();
    match params.get("code") {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => texts.extend((!text.trim().is_empty()).then_some(text.as_str())),
        other => return Err(bad_field("params.code", other, "a stock code")),
    }
    match params.get("codes") {
        None | Some(Value::Null) => {}
        Some(Value::Array(list)) => {
            for item in list {
                let Value::String(text) = item else {
                    return Err(bad_field("params.codes", Some(item), "a list of stock codes"));
                };
                texts.push(text);
            }
        }
        other => return Err(bad_field("params.codes", other, "a list of stock codes")),
    }
    if texts.len() > MAX_CODES {
        return Err(CommandError::TooManyCodes { found: texts.len() });
    }
    let mut seen = std::collections::HashSet::new();
    let mut codes = Vec::with_capacity(texts.len());
    for text in texts {
        let code: Code = text.parse().map_err(|error| CommandError::BadCode { field: "params.code", error })?;
        if seen.insert(code) {
            codes.push(code);
        }
    }
    Ok(if codes.is_empty() { CodeSelection::AllListed } else { CodeSelection::These(codes) })
}

fn date(params: &Map<String, Value>, name: &str, field: &'static str) -> Result<Option<NaiveDate>, CommandError> {
    let found = params.get(name);
    let text = match found {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.is_empty() => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        // An eight-digit number is a date, not Unix seconds.
        Some(Value::Number(number)) => number.to_string(),
        other => return Err(bad_field(field, other, "a date YYYYMMDD")),
    };
    let compact = NaiveDate::parse_from_str(&text, "%Y%m%d").ok().filter(|_| text.len() == 8);
    match compact.or_else(|| NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()) {
        Some(day) => Ok(Some(day)),
        None => Err(bad_field(field, found, "a date YYYYMMDD")),
    }
}

/// Parses `days`: returns the first of the last `days` trading days up to `end` or today.
fn last_days(found: Option<&Value>, end: Option<NaiveDate>) -> Result<Option<NaiveDate>, CommandError> {
    let expected = "a number of trading days, 1 to 10000";
    let days = match found {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    let days = days.filter(|days| (1..=MAX_DAYS).contains(days)).and_then(|days| u32::try_from(days).ok());
    let days = days.ok_or_else(|| bad_field("params.days", found, expected))?;
    Ok(Some(TradingCalendar::built_in().nth_last(days, end.unwrap_or_else(shanghai_clock::today))))
}

fn frequency(found: Option<&Value>) -> Result<Frequency, CommandError> {
    match found {
        None | Some(Value::Null) => Ok(Frequency::Day),
        Some(Value::String(name)) => match name.as_str() {
            "d" | "day" | "" => Ok(Frequency::Day),
            _ => Frequency::named(name)
                .ok_or_else(|| bad_field("params.frequency", found, "one of 1d, 1m, 5m, 15m, 30m, 60m")),
        },
        other => Err(bad_field("params.frequency", other, "one of 1d, 1m, 5m, 15m, 30m, 60m")),
    }
}

fn is_adjusted(adjust_type: Option<&Value>) -> Result<bool, CommandError> {
    match adjust_type {
        None | Some(Value::Null) => Ok(false),
        Some(Value::String(word)) => match word.as_str() {
            "none" | "" => Ok(false),
            "qfq" | "hfq" => Ok(true),
            _ => Err(bad_field("params.adjust_type", adjust_type, "one of none, qfq, hfq")),
        },
        other => Err(bad_field("params.adjust_type", other, "one of none, qfq, hfq")),
    }
}

/// Parses the formats of Ginkgo's DTO: ISO with or without a zone, with `T` or a blank, and Unix seconds as number or
/// text. Eight digits are a date: as seconds they would be a time in 1970.
fn issued_at(found: Option<&Value>) -> Result<Option<DateTime<Utc>>, CommandError> {
    let refuse = || bad_field("timestamp", found, "an ISO time or Unix seconds");
    let seconds = |seconds: f64| {
        // In this range Unix microseconds fit 64 bits: years 1970 to 5138.
        (seconds.is_finite() && (0.0..1e11).contains(&seconds))
            .then(|| DateTime::from_timestamp_micros((seconds * 1e6) as i64))
            .flatten()
    };
    let text = match found {
        None => return Ok(None),
        Some(Value::Number(number)) => Cow::Owned(number.to_string()),
        Some(Value::String(text)) => Cow::Borrowed(text.trim()),
        _ => return Err(refuse()),
    };
    // A time outside these years is an error, and calculating with it could overflow.
    let plausible = |instant: DateTime<Utc>| {
        (1970..=5138).contains(&instant.year()).then_some(instant).ok_or_else(refuse).map(Some)
    };
    if let Ok(instant) = DateTime::parse_from_rfc3339(&text) {
        return plausible(instant.to_utc());
    }
    let wall_clock = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(&text, form).ok())
        .or_else(|| {
            let form = if text.len() == 8 { "%Y%m%d" } else { "%Y-%m-%d" };
            NaiveDate::parse_from_str(&text, form).ok().map(|day| day.and_time(chrono::NaiveTime::MIN))
        });
    match wall_clock {
        Some(time) => plausible(shanghai_clock::instant(time)),
        None => text.parse::<f64>().ok().and_then(seconds).map(Some).ok_or_else(refuse),
    }
}
