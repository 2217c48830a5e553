// Upstream: backfill, backfill::feed, backfill::journal
// Downstream: actors::domain::code, actors::domain::command, actors::domain::frequency, actors::domain::task
// Role: Cuts a backfill into pieces, each a command of its own. Pure.

use actors::domain::{Code, DateRange, Frequency};
use chrono::{Datelike, NaiveDate};
use serde_json::{Map, Value, json};

/// What is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Bars.
    Bar,
    /// Ticks.
    Tick,
    /// Adjustment factors; always the whole series.
    Adjustfactor,
}

/// A whole backfill.
#[derive(Debug, Clone)]
pub struct Request {
    /// The securities, each once.
    pub codes: Vec<Code>,
    /// What of them.
    pub kind: Kind,
    /// Of bars: how long one lasts.
    pub frequency: Frequency,
    /// Both ends included.
    pub range: DateRange,
    /// Whether what is stored is replaced.
    pub force: bool,
}

/// A part of a backfill: a command for one code and at most a year of bars, or a month of ticks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its name in the journal.
    pub id: String,
    /// The security.
    pub code: Code,
    /// The command.
    pub payload: String,
}

impl Request {
    /// Its pieces, code by code, oldest first.
    pub fn pieces(&self) -> Vec<Piece> {
        let ranges = match self.kind {
            Kind::Bar => cut(self.range, |day| NaiveDate::from_ymd_opt(day.year(), 12, 31)),
            Kind::Tick => cut(self.range, |day| {
                let first = day.with_day(1)?;
                first.checked_add_months(chrono::Months::new(1))?.pred_opt()
            }),
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

/// The range cut after each day that `end_of` names for a day.
fn cut(range: DateRange, end_of: impl Fn(NaiveDate) -> Option<NaiveDate>) -> Vec<DateRange> {
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
            frequency: Frequency::Minute5,
            range: DateRange { start: day("2023-11-20"), end: day("2025-01-02") },
            force: true,
        }
    }

    #[test]
    fn bars_are_cut_by_year_ticks_by_month_and_each_piece_is_a_command() {
        let ids = |kind| request(kind).pieces().into_iter().map(|piece| piece.id).collect::<Vec<_>>();
        let bars = ids(Kind::Bar);
        assert_eq!(bars.len(), 6);
        assert_eq!(bars[..2], ["5m 000001.SZ 2023-11-20..2023-12-31", "5m 000001.SZ 2024-01-01..2024-12-31"]);
        assert_eq!(bars[5], "5m 600000.SH 2025-01-01..2025-01-02");
        assert_eq!(ids(Kind::Tick).len(), 2 * 15);
        assert_eq!(ids(Kind::Adjustfactor).len(), 2);
        for kind in [Kind::Bar, Kind::Tick, Kind::Adjustfactor] {
            for piece in request(kind).pieces() {
                let command = ControlCommand::parse(piece.payload.as_bytes()).unwrap();
                assert!(!matches!(command.instruction, Instruction::NotForTheGroup(_)), "{}", piece.payload);
            }
        }
    }
}
