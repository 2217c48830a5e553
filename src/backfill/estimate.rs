// Upstream: backfill
// Downstream: actors, plan, progress, request
// Role: What a backfill would do, for `--dry-run`: calls, time and rows of each way. Pure.

use std::fmt;

use actors::fetcher::request_plan::Way;

use super::plan::Plan;
use super::progress::minutes_of;
use super::request::{Kind, Request};

/// What a backfill would do.
pub struct Estimate<'a> {
    /// The request.
    pub request: &'a Request,
    /// The name of the source.
    pub source: &'a str,
    /// Its calls per minute; 0 if there is no limit.
    pub calls_per_minute: u32,
    /// The plan by code.
    pub by_code: Plan,
    /// The plan by day, if the source gives whole days.
    pub by_day: Option<Plan>,
    /// The plan that is carried out.
    pub chosen: Plan,
}

/// Bytes on disk per row, as docs/operations.md names them for bars: the id of a row does not compress.
fn bytes_per_row(kind: Kind) -> usize {
    match kind {
        Kind::Bar => 37,
        Kind::Tick => 30,
        Kind::Adjustfactor => 37,
    }
}

impl fmt::Display for Estimate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, source, calls_per_minute, by_code, by_day, chosen } = self;
        writeln!(f, "dry run, nothing is fetched: {} from {source}", request.data_kind())?;
        let calls = |plan: &Plan| {
            let time = minutes_of(plan.num_calls, *calls_per_minute);
            let time = time.map_or("no limit of calls".to_owned(), |time| {
                format!("{time} under the limit of {calls_per_minute} a minute")
            });
            format!("{} calls, {time}", plan.num_calls)
        };
        writeln!(f, "  by code: {}", calls(by_code))?;
        match by_day {
            Some(plan) => writeln!(f, "  by day: {}", calls(plan))?,
            None => writeln!(f, "  by day: not for this request, or the source has no such calls")?,
        }
        let num_by_day = chosen.pieces.iter().filter(|piece| piece.way == Way::ByDay).count();
        let num_by_code = chosen.pieces.len() - num_by_day;
        writeln!(f, "  chosen: {}; {num_by_code} parts by code, {num_by_day} by day", calls(chosen))?;
        let rows = match request.kind {
            Kind::Adjustfactor => None,
            Kind::Bar | Kind::Tick => Some(chosen.num_units * request.rows_per_unit(1)),
        };
        if let Some(rows) = rows {
            write!(f, "  at most {rows} rows, about {} on disk", bytes(rows * bytes_per_row(request.kind)))?;
        } else {
            write!(f, "  the whole series of {} securities", chosen.pieces.len())?;
        }
        match chosen.pieces.first() {
            Some(piece) => write!(f, "\n  first part: {} {piece}", request.what()),
            None => Ok(()),
        }
    }
}

/// A size in a unit that is easy to read.
fn bytes(size: usize) -> String {
    match size {
        0..1_000_000 => format!("{} KB", size.div_ceil(1_000)),
        1_000_000..1_000_000_000 => format!("{} MB", size / 1_000_000),
        _ => format!("{:.1} GB", size as f64 / 1e9),
    }
}
