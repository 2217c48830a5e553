// Upstream: mapping, mongodb, query, redis, rows_tests
// Downstream: actors, config, sources::shared
// Role: Parses times in a database's rows: dates, timestamps and epochs, in the configured zone.

use actors::domain::{DateRange, Field, Frequency};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _, Timelike, Utc};
use chrono_tz::Asia::Shanghai;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::config::{MinuteLabel, TimeFormat, TimeZone};
use crate::sources::shared::timestamps;

/// The length of `2024-01-02`.
const DATE_LENGTH: usize = 10;

/// How a database writes times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// The format of the times.
    pub format: TimeFormat,
    /// The zone of times without a zone.
    pub zone: TimeZone,
    /// Which end of a minute bar they denote.
    pub label: MinuteLabel,
}

/// A bound for a time column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// A date such as `2024-01-02`, or digits.
    Text(String),
    /// Unix seconds or milliseconds.
    Number(i64),
}

impl Times {
    /// Reads a day, as midnight.
    pub fn day(&self, text: &str) -> Field<NaiveDateTime> {
        let text = text.trim();
        let time = match self.format {
            // Lists may write days in another format than bars.
            TimeFormat::Datetime => return timestamps::day_of_text(&self.zoned(text)),
            TimeFormat::Digits => match text.get(..8) {
                Some(date) if text.len() == 8 || self.zone == TimeZone::Shanghai => timestamps::day_of_text(date),
                _ => self.digits(text),
            },
            TimeFormat::Seconds => epoch(text, 1),
            TimeFormat::Milliseconds => epoch(text, 1_000),
        };
        match time {
            Field::Value(time) => Field::Value(time.date().and_time(NaiveTime::MIN)),
            Field::Unreadable(_) => timestamps::day_of_text(text),
            Field::Missing => Field::Missing,
        }
    }

    /// Reads a time, without fractions of a second.
    pub fn time(&self, text: &str) -> Field<NaiveDateTime> {
        let text = text.trim();
        let time = match self.format {
            TimeFormat::Datetime => timestamps::time_of_text(&self.zoned(without_fraction(text))),
            TimeFormat::Digits => self.digits(text),
            TimeFormat::Seconds => epoch(text, 1),
            TimeFormat::Milliseconds => epoch(text, 1_000),
        };
        match time {
            Field::Value(time) => Field::Value(time.with_nanosecond(0).unwrap_or(time)),
            other => other,
        }
    }

    /// Reads the timestamp of a bar and returns the end of the bar; for a daily bar, midnight of its day.
    pub fn bar(&self, text: &str, frequency: Frequency) -> Field<NaiveDateTime> {
        let Some(minutes) = frequency.minutes() else { return self.day(text) };
        let time = self.time(text);
        match (self.label, time) {
            (MinuteLabel::Start, Field::Value(start)) => {
                let end = start.checked_add_signed(TimeDelta::minutes(minutes.into()));
                end.map_or_else(|| Field::unreadable(text), Field::Value)
            }
            (_, time) => time,
        }
    }

    /// The inclusive lower and the exclusive upper bound of a range. If times are in UTC, the bounds may include some
    /// hours of the day before.
    pub fn bounds(&self, range: DateRange, of_days: bool) -> (Bound, Bound) {
        let end = range.end.succ_opt().unwrap_or(range.end);
        let start = match self.zone {
            TimeZone::Shanghai => range.start,
            TimeZone::Utc => range.start.pred_opt().unwrap_or(range.start),
        };
        match self.format {
            TimeFormat::Datetime => (Bound::Text(start.to_string()), Bound::Text(end.to_string())),
            TimeFormat::Digits => {
                let form = if of_days { "%Y%m%d" } else { "%Y%m%d000000" };
                (Bound::Text(start.format(form).to_string()), Bound::Text(end.format(form).to_string()))
            }
            TimeFormat::Seconds => (Bound::Number(midnight(range.start)), Bound::Number(midnight(end))),
            TimeFormat::Milliseconds => {
                (Bound::Number(midnight(range.start) * 1_000), Bound::Number(midnight(end) * 1_000))
            }
        }
    }

    /// Appends `Z` to a time without a zone if the configured zone is UTC.
    fn zoned(&self, text: &str) -> String {
        let time = text.get(DATE_LENGTH + 1..).unwrap_or_default();
        let names_zone = time.ends_with(['Z', 'z']) || time.contains(['+', '-']);
        match (self.zone, time.len()) {
            (TimeZone::Utc, 5) if !names_zone => format!("{text}:00Z"),
            (TimeZone::Utc, 6..) if !names_zone => format!("{text}Z"),
            _ => text.to_owned(),
        }
    }

    /// Reads `20240102093100`, also with 12 digits (minutes) or 17 digits (milliseconds).
    fn digits(&self, text: &str) -> Field<NaiveDateTime> {
        let read = match text.len() {
            12 | 14 => timestamps::time_of_digits(&format!("{text:0<17}")),
            _ => timestamps::time_of_digits(text),
        };
        match (read, self.zone) {
            (Field::Value(time), TimeZone::Utc) => Field::Value(Shanghai.from_utc_datetime(&time).naive_local()),
            (Field::Unreadable(_), _) => Field::unreadable(text),
            (read, _) => read,
        }
    }
}

/// Unix seconds of midnight in Shanghai.
pub fn midnight(day: NaiveDate) -> i64 {
    let midnight = day.and_time(NaiveTime::MIN);
    // Midnight exists on every day. On two days of the daylight saving years it occurs twice.
    Shanghai.from_local_datetime(&midnight).earliest().map_or(0, |instant| instant.timestamp())
}

/// Removes the fraction of a second from `09:31:00.000`.
fn without_fraction(text: &str) -> &str {
    match text.rsplit_once('.') {
        Some((time, fraction)) if fraction.bytes().all(|byte| byte.is_ascii_digit()) => time,
        _ => text,
    }
}

fn epoch(text: &str, per_second: i64) -> Field<NaiveDateTime> {
    let instant = |number: Decimal| {
        let seconds = number.trunc().to_i64()?.div_euclid(per_second);
        Some(DateTime::<Utc>::from_timestamp(seconds, 0)?.with_timezone(&Shanghai).naive_local())
    };
    match Field::number(text) {
        Field::Value(number) => instant(number).map_or_else(|| Field::unreadable(text), Field::Value),
        Field::Missing => Field::Missing,
        Field::Unreadable(text) => Field::Unreadable(text),
    }
}
