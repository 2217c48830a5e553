// Upstream: backfill, feed, journal
// Downstream: actors
// Role: Splits a backfill into pieces, each with its own command. Pure.

use actors::domain::{Code, DateRange, Frequency};
use chrono::{Datelike, Months, NaiveDate};
use serde_json::{Map, Value, json};

/// The kind of data of a backfill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Bars.
    Bar,
    /// Ticks.
    Tick,
    /// Adjustment factors; always the whole series of a code.
    Adjustfactor,
}

/// The parameters of a backfill.
#[derive(Debug, Clone)]
pub struct Request {
    /// The securities, without duplicates.
    pub codes: Vec<Code>,
    /// The kind of data.
    pub kind: Kind,
    /// The frequency of bars.
    pub frequency: Frequency,
    /// The days, both ends included.
    pub range: DateRange,
    /// Whether fetched rows replace stored rows.
    pub force: bool,
}

/// A part of a backfill: a command for one code, with at most as many days as a vendor returns in one response of some
/// thousand rows. So a kill repeats only the pieces in progress, and a failure only one response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its id in the journal.
    pub id: String,
    /// The security.
    pub code: Code,
    /// The command message.
    pub payload: String,
}

impl Request {
    /// The pieces, code by code, oldest first.
    pub fn pieces(&self) -> Vec<Piece> {
        let ranges = match self.kind {
            Kind::Bar => cut(self.range, months_of_bars(self.frequency)),
            Kind::Tick => cut(self.range, 1),
            Kind::Adjustfactor => vec![self.range],
        };
        let of_code = |code: &Code| ranges.iter().map(|range| self.piece(*code, *range)).collect::<Vec<_>>();
        self.codes.iter().flat_map(of_code).collect()
    }

    fn piece(&self, code: Code, range: DateRange) -> Piece {
        let mut params = Map::new();
        params.insert("code".to_owned(), json!(code.as_str()));
        if self.force {
            let name = if self.kind == Kind::Tick { "overwrite" } else { "force" };
            params.insert(name.to_owned(), json!(true));
        }
        let (command, what) = match self.kind {
            Kind::Bar => ("bar_snapshot", self.frequency.as_str()),
            Kind::Tick => ("tick", "tick"),
            Kind::Adjustfactor => ("adjustfactor", "adjustfactor"),
        };
        if self.kind != Kind::Adjustfactor {
            params.insert("start_date".to_owned(), json!(range.start.format("%Y%m%d").to_string()));
            params.insert("end_date".to_owned(), json!(range.end.format("%Y%m%d").to_string()));
        }
        if self.kind == Kind::Bar {
            params.insert("frequency".to_owned(), json!(self.frequency.as_str()));
        }
        let payload = json!({"command": command, "params": Value::Object(params), "source": "backfill"}).to_string();
        Piece { id: format!("{what} {code} {range}"), code, payload }
    }
}

/// Number of months of bars per piece; a divisor of 12.
fn months_of_bars(frequency: Frequency) -> u32 {
    match frequency {
        Frequency::Minute1 => 1,
        Frequency::Minute5 => 6,
        _ => 12,
    }
}

/// Splits a range at the ends of calendar periods of `months` months.
fn cut(range: DateRange, months: u32) -> Vec<DateRange> {
    let end_of = |day: NaiveDate| {
        let last_month = day.month0() / months * months + months;
        NaiveDate::from_ymd_opt(day.year(), last_month, 1)?.checked_add_months(Months::new(1))?.pred_opt()
    };
    let mut parts = Vec::new();
    let mut start = range.start;
    while start <= range.end {
        let end = end_of(start).unwrap_or(range.end).min(range.end);
        parts.push(DateRange { start, end });
        let Some(next) = end.succ_opt() else { break };
        start = next;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use actors::domain::{ControlCommand, Instruction};

    fn request(kind: Kind) -> Request {
        let day = |text: &str| text.parse().unwrap();
        Request {
            codes: vec!["000001.SZ".parse().unwrap(), "600000.SH".parse().unwrap()],
            kind,
            frequency: Frequency::Day,
            range: DateRange { start: day("2023-11-20"), end: day("2025-01-02") },
            force: true,
        }
    }

    #[test]
    fn splits_request_by_frequency_into_valid_commands() {
        let of = |kind, frequency| Request { frequency, ..request(kind) }.pieces();
        let ids = |kind, frequency| of(kind, frequency).into_iter().map(|piece| piece.id).collect::<Vec<_>>();
        let days = ids(Kind::Bar, Frequency::Day);
        assert_eq!(days.len(), 2 * 3);
        assert_eq!(days[..2], ["1d 000001.SZ 2023-11-20..2023-12-31", "1d 000001.SZ 2024-01-01..2024-12-31"]);
        assert_eq!(days[5], "1d 600000.SH 2025-01-01..2025-01-02");
        let minutes = ids(Kind::Bar, Frequency::Minute5);
        assert_eq!(minutes.len(), 2 * 4);
        assert_eq!(minutes[1..3], ["5m 000001.SZ 2024-01-01..2024-06-30", "5m 000001.SZ 2024-07-01..2024-12-31"]);
        let minutes = ids(Kind::Bar, Frequency::Minute1);
        assert_eq!(minutes[..2], ["1m 000001.SZ 2023-11-20..2023-11-30", "1m 000001.SZ 2023-12-01..2023-12-31"]);
        assert_eq!((minutes.len(), ids(Kind::Tick, Frequency::Day).len()), (2 * 15, 2 * 15));
        assert_eq!(ids(Kind::Bar, Frequency::Minute60).len(), 2 * 3);
        assert_eq!(ids(Kind::Adjustfactor, Frequency::Day).len(), 2);
        for kind in [Kind::Bar, Kind::Tick, Kind::Adjustfactor] {
            for piece in of(kind, Frequency::Minute5) {
                let command = ControlCommand::parse(piece.payload.as_bytes()).unwrap();
                assert!(!matches!(command.instruction, Instruction::NotForTheGroup(_)), "{}", piece.payload);
            }
        }
    }
}
