// Upstream: bars, factors, reports, stored_days, stored_months, ticks
// Downstream: actors, clock, decimals, schema
// Role: Builds the SQL statements that look up and remove bars, each with a bounded length.

use std::collections::BTreeMap;

use actors::domain::{Code, DateRange, Frequency};
use actors::ports::{KeySpan, StoredBar};
use chrono::{NaiveDateTime, NaiveTime};

use crate::adapters::clickhouse::clock::{ClockError, TableClock};
use crate::adapters::clickhouse::decimals::ten_thousandths;
use crate::adapters::clickhouse::schema::BAR;

/// Codes per look-up: about 30 KB of text, an eighth of ClickHouse's default maximum query size.
const CODES_PER_LOOKUP: usize = 2_000;

/// Maximum number of conditions (codes with a common time span) in one look-up: at most 25 KB of text beside the codes.
const CONDITIONS_PER_LOOKUP: usize = 256;

/// Rows per DELETE: about 160 KB of text. Each DELETE costs one mutation, independent of its size.
const ROWS_PER_DELETE: usize = 4_000;

/// A time span shared by several codes; `None` means an open end.
type Span = (Option<NaiveDateTime>, Option<NaiveDateTime>);

/// What is asked about the bars in some spans.
#[derive(Debug, Clone, Copy)]
pub enum Lookup {
    /// The key and UUID of each row.
    Rows,
    /// The number of keys, and of those that have several rows.
    KeyCounts,
    /// The keys that have several rows. Reads no UUID, which is most of what is stored of a key.
    RepeatedKeys,
}

impl Lookup {
    /// The operation in errors.
    pub fn operation(self, num_codes: usize) -> String {
        match self {
            Self::Rows => format!("look up stored bars of {num_codes} codes"),
            Self::KeyCounts => format!("count the stored keys of {num_codes} codes"),
            Self::RepeatedKeys => format!("look for keys of {num_codes} codes with several rows"),
        }
    }

    /// The statements that ask about exactly these spans.
    pub fn statements(
        self,
        database: &str,
        frequency: Frequency,
        spans: &[KeySpan],
        clock: TableClock,
    ) -> Result<Vec<String>, ClockError> {
        let table = BAR.full_name(database);
        let statement = |condition| {
            let from = format!("FROM {table} WHERE frequency = {} AND ({condition})", frequency.as_ginkgo());
            match self {
                Self::Rows => format!("SELECT code, timestamp, uuid {from}"),
                Self::KeyCounts => format!(
                    "SELECT count(), countIf(number > 1) FROM \
                     (SELECT count() AS number {from} GROUP BY code, timestamp)"
                ),
                Self::RepeatedKeys => {
                    format!("SELECT code, timestamp {from} GROUP BY code, timestamp HAVING count() > 1")
                }
            }
        };
        Ok(conditions(spans, clock)?.into_iter().map(statement).collect())
    }
}

/// The conditions that select exactly these spans, one for each statement.
fn conditions(spans: &[KeySpan], clock: TableClock) -> Result<Vec<String>, ClockError> {
    let mut groups: BTreeMap<Span, Vec<Code>> = BTreeMap::new();
    for span in spans {
        groups.entry((span.from, span.to)).or_default().push(span.code);
    }
    let mut parts: Vec<(usize, String)> = Vec::new();
    for (span, mut codes) in groups {
        codes.sort_unstable();
        codes.dedup();
        for codes in codes.chunks(CODES_PER_LOOKUP) {
            parts.push((codes.len(), condition(codes, span, clock)?));
        }
    }
    Ok(pack(parts).into_iter().map(|parts| parts.join(" OR ")).collect())
}

/// The statement that reads the daily bars of a code in a range. Duplicates are merged into one row.
pub fn day_totals(database: &str, code: Code, range: DateRange, clock: TableClock) -> Result<String, ClockError> {
    let span = (Some(range.start.and_time(NaiveTime::MIN)), range.end.and_hms_opt(23, 59, 59));
    let price = |column: &str| ten_thousandths(&format!("any({column})"));
    Ok(format!(
        "SELECT timestamp AS time, {}, {}, {}, toInt64(any(volume)) FROM {} WHERE frequency = {} AND {} \
         GROUP BY timestamp ORDER BY timestamp",
        price("high"),
        price("low"),
        price("close"),
        BAR.full_name(database),
        Frequency::Day.as_ginkgo(),
        condition(&[code], span, clock)?
    ))
}

/// Combines conditions into statements with at most [`CODES_PER_LOOKUP`] codes and [`CONDITIONS_PER_LOOKUP`]
/// conditions.
fn pack(conditions: Vec<(usize, String)>) -> Vec<Vec<String>> {
    let mut statements: Vec<Vec<String>> = Vec::new();
    let mut room = 0;
    for (num_codes, text) in conditions {
        match statements.last_mut() {
            Some(parts) if num_codes <= room && parts.len() < CONDITIONS_PER_LOOKUP => {
                room -= num_codes;
                parts.push(text);
            }
            _ => {
                room = CODES_PER_LOOKUP.saturating_sub(num_codes);
                statements.push(vec![text]);
            }
        }
    }
    statements
}

fn condition(codes: &[Code], (from, to): Span, clock: TableClock) -> Result<String, ClockError> {
    let mut text = format!("(code IN ({})", quoted(codes.iter().map(Code::as_str)));
    if let Some(from) = from {
        text.push_str(&format!(" AND timestamp >= toDateTime({})", clock.to_epoch(from)?));
    }
    if let Some(to) = to {
        text.push_str(&format!(" AND timestamp <= toDateTime({})", clock.to_epoch(to)?));
    }
    text.push(')');
    Ok(text)
}

/// Statements that remove exactly these rows. The uuids select the rows; the codes let ClickHouse prune parts.
pub fn removals(database: &str, frequency: Frequency, rows: &[StoredBar]) -> Vec<String> {
    rows.chunks(ROWS_PER_DELETE)
        .map(|rows| {
            let mut codes: Vec<&str> = rows.iter().map(|row| row.code.as_str()).collect();
            codes.sort_unstable();
            codes.dedup();
            format!(
                "DELETE FROM {} WHERE frequency = {} AND code IN ({}) AND uuid IN ({})",
                BAR.full_name(database),
                frequency.as_ginkgo(),
                quoted(codes.into_iter()),
                quoted(rows.iter().map(|row| row.uuid.as_str()))
            )
        })
        .collect()
}

/// A comma-separated list of SQL string literals. Uuids are read from the store and may contain any character.
pub fn quoted<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let quote = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    texts.map(quote).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;

    fn code(n: u32) -> Code {
        format!("{n:06}.SZ").parse().unwrap()
    }

    fn day(d: u32) -> Option<NaiveDateTime> {
        NaiveDate::from_ymd_opt(2024, 1, d).unwrap().and_hms_opt(0, 0, 0)
    }

    fn texts(spans: &[KeySpan]) -> Vec<String> {
        Lookup::Rows.statements("g", Frequency::Day, spans, TableClock::of_column("DateTime", "UTC").unwrap()).unwrap()
    }

    #[test]
    fn one_day_of_5500_codes_takes_three_short_statements() {
        let spans: Vec<_> = (0..5500).map(|n| KeySpan { code: code(n), from: day(2), to: day(2) }).collect();
        let statements = texts(&spans);
        assert_eq!(statements.len(), 3);
        assert!(statements.iter().all(|text| text.len() < 100_000));
        assert!(statements[0].contains("timestamp >= toDateTime(1704153600) AND timestamp <= toDateTime(1704153600)"));
    }

    #[test]
    fn different_spans_stay_apart_in_short_statements() {
        let spans =
            [KeySpan { code: code(1), from: None, to: None }, KeySpan { code: code(2), from: day(2), to: day(3) }];
        let statements = texts(&spans);
        assert_eq!(statements.len(), 1);
        assert!(statements[0].ends_with(
            "((code IN ('000001.SZ')) OR (code IN ('000002.SZ') AND timestamp >= toDateTime(1704153600) AND timestamp <= toDateTime(1704240000)))"
        ), "{}", statements[0]);
        let many: Vec<_> = (0..1000).map(|n| KeySpan { code: code(n), from: minute(n), to: minute(n) }).collect();
        let statements = texts(&many);
        assert_eq!(statements.len(), 4);
        assert!(statements.iter().all(|text| text.len() < 100_000));
        let found = statements.iter().map(|text| text.matches("timestamp >= toDateTime(").count());
        assert_eq!(found.collect::<Vec<_>>(), [256, 256, 256, 232], "each span is asked for and nothing around it");
    }

    fn minute(n: u32) -> Option<NaiveDateTime> {
        day(1).map(|begin| begin + chrono::Duration::minutes(n.into()))
    }

    #[test]
    fn an_identity_cannot_leave_its_quotes() {
        let row = StoredBar { code: code(1), timestamp: day(1).unwrap(), uuid: "a'b\\".into() };
        let text = removals("g", Frequency::Day, &[row]).pop().unwrap();
        assert!(text.ends_with("uuid IN ('a\\'b\\\\')"), "{text}");
    }
}
