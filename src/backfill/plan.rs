// Upstream: backfill, estimate
// Downstream: actors, coverage, pieces, request
// Role: Plans the pieces of a backfill with the fewest calls, from what the source can do. Pure.

use std::ops::Range;
use std::sync::Arc;

use actors::domain::{Code, DateRange, SyncMode};
use actors::fetcher::request_plan::{Demand, RequestPlan, Way};
use actors::ports::Abilities;

use super::coverage::Group;
use super::pieces::Piece;
use super::request::{Kind, Request};

/// Trading days of ticks in a piece: a kill repeats at most so many.
const TICK_DAYS: usize = 20;

/// What the source of a backfill can do.
#[derive(Clone, Copy)]
pub struct Offered<'a> {
    /// Its abilities for the kind of data.
    pub abilities: Abilities,
    /// Whether whole days contain a security.
    pub covers_in_whole_days: &'a dyn Fn(Code) -> bool,
}

/// The plan of a backfill.
#[derive(Debug, Default)]
pub struct Plan {
    /// The pieces, in the order of their requests.
    pub pieces: Vec<Piece>,
    /// The number of calls.
    pub num_calls: usize,
    /// The number of securities times units.
    pub num_units: usize,
}

/// The cheapest plan for what is left.
pub fn cheapest(request: &Request, units: &[DateRange], groups: &[Group], offered: Offered) -> Plan {
    plan(request, units, groups, offered, |demand, abilities| Some(demand.cheapest(abilities)))
}

/// The plan in which every security is requested by itself.
pub fn by_code(request: &Request, units: &[DateRange], groups: &[Group], offered: Offered) -> Plan {
    plan(request, units, groups, offered, |demand, abilities| Some(demand.by_code(abilities)))
}

/// The plan in which the days of all securities are requested together; `None` if the source has no such call.
pub fn by_day(request: &Request, units: &[DateRange], groups: &[Group], offered: Offered) -> Option<Plan> {
    usable(request, offered.abilities).rows_per_day_call?;
    Some(plan(request, units, groups, offered, Demand::by_day))
}

/// The abilities for this request. Only bars that are inserted where they are missing are requested by day: a
/// replacement also removes rows that the answer lacks, and a series of factors needs its whole history. How many whole
/// series fill an answer depends on when each security was listed, so the tasks find it out.
fn usable(request: &Request, abilities: Abilities) -> Abilities {
    match (request.kind, request.frequency.minutes(), mode(request)) {
        (Kind::Bar, None, SyncMode::Incremental) => abilities,
        (Kind::Bar, None, SyncMode::Replace) => Abilities { rows_per_day_call: None, ..abilities },
        _ => Abilities { rows_per_day_call: None, codes_per_call: 1, ..abilities },
    }
}

fn mode(request: &Request) -> SyncMode {
    if request.force { SyncMode::Replace } else { SyncMode::Incremental }
}

fn plan(
    request: &Request,
    units: &[DateRange],
    groups: &[Group],
    offered: Offered,
    choose: impl Fn(&Demand, &Abilities) -> Option<RequestPlan>,
) -> Plan {
    let abilities = usable(request, offered.abilities);
    let alone = Abilities { rows_per_day_call: None, ..abilities };
    let mut whole = Plan::default();
    for group in groups {
        let (covered, others): (Vec<Code>, Vec<Code>) =
            group.codes.iter().partition(|code| (offered.covers_in_whole_days)(**code));
        for (codes, abilities) in [(covered, abilities), (others, alone)] {
            let demand = Demand {
                num_codes: codes.len(),
                num_days: group.num_units(),
                rows_per_day: request.rows_per_unit(units.len()),
            };
            let chosen = choose(&demand, &abilities).unwrap_or_else(|| demand.by_code(&abilities));
            whole.num_units += codes.len() * group.num_units();
            whole.add(request, units, &group.runs, codes.into(), chosen);
        }
    }
    whole
}

impl Plan {
    /// Adds the pieces for some securities: by day oldest first, by code security by security.
    fn add(
        &mut self,
        request: &Request,
        units: &[DateRange],
        runs: &[Range<usize>],
        codes: Arc<[Code]>,
        RequestPlan { way, days_per_task, codes_per_call, .. }: RequestPlan,
    ) {
        if codes.is_empty() {
            return;
        }
        let days_per_task = if request.kind == Kind::Tick { TICK_DAYS } else { days_per_task };
        let chunks: Vec<Range<usize>> = runs.iter().flat_map(|run| chunks(run.clone(), days_per_task)).collect();
        let ranges: Vec<(DateRange, usize)> = chunks
            .iter()
            .filter_map(|chunk| {
                let (first, last) = (units.get(chunk.start)?, units.get(chunk.end.checked_sub(1)?)?);
                Some((DateRange { start: first.start, end: last.end }, chunk.len()))
            })
            .collect();
        for codes in codes.chunks(codes_per_call.max(1)).map(Arc::<[Code]>::from) {
            for (range, num_units) in &ranges {
                let num_calls = match (way, request.kind) {
                    // The suspensions of the days are one call more.
                    (Way::ByDay, _) => num_units + 1,
                    (Way::ByCode, Kind::Tick) => *num_units,
                    (Way::ByCode, Kind::Bar | Kind::Adjustfactor) => 1,
                };
                self.num_calls += num_calls;
                self.pieces.push(Piece { codes: codes.clone(), range: *range, way, num_calls });
            }
        }
    }
}

/// Splits a run of units.
fn chunks(run: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = run.end;
    run.step_by(size.max(1)).map(move |start| start..end.min(start + size.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backfill::coverage::left;
    use actors::domain::calendar::TradingCalendar;
    use actors::domain::{ControlCommand, Frequency, Instruction};

    const TUSHARE: Abilities =
        Abilities { rows_per_call: 6_000, codes_per_call: 100, rows_per_day_call: Some(6_000), calls_per_minute: 500 };

    fn request(num_codes: u32, kind: Kind, frequency: Frequency, force: bool) -> Request {
        let codes = (0..num_codes).map(|n| format!("{n:06}.SZ").parse().unwrap()).collect();
        let range = DateRange { start: "2020-07-01".parse().unwrap(), end: "2025-06-30".parse().unwrap() };
        Request { codes, kind, frequency, range, force }
    }

    fn planned(request: &Request, abilities: Abilities) -> Plan {
        let units = request.units(TradingCalendar::built_in());
        let groups = left(&request.codes, &units, &[]);
        cheapest(request, &units, &groups, Offered { abilities, covers_in_whole_days: &|_| true })
    }

    #[test]
    fn five_years_of_all_securities_are_planned_by_day() {
        let request = request(5_500, Kind::Bar, Frequency::Day, false);
        let plan = planned(&request, TUSHARE);
        assert_eq!((plan.pieces.len(), plan.num_calls, plan.num_units), (61, 1_212 + 61, 5_500 * 1_212));
        assert!(plan.pieces.iter().all(|piece| piece.way == Way::ByDay && piece.codes.len() == 5_500));
        assert!(plan.pieces.windows(2).all(|pair| pair[0].range.end.succ_opt() == Some(pair[1].range.start)));
        let ends = (plan.pieces[0].range.start, plan.pieces[60].range.end);
        assert_eq!(ends, (request.range.start, request.range.end));
    }

    #[test]
    fn few_securities_and_replacements_are_planned_by_code() {
        let calls = |num_codes, kind, frequency, force| {
            let plan = planned(&request(num_codes, kind, frequency, force), TUSHARE);
            (plan.pieces[0].way, plan.pieces.len(), plan.num_calls)
        };
        assert_eq!(calls(500, Kind::Bar, Frequency::Day, false), (Way::ByCode, 125, 125), "four fill an answer");
        assert_eq!(calls(3, Kind::Bar, Frequency::Day, false), (Way::ByCode, 1, 1));
        assert_eq!(
            calls(5_500, Kind::Bar, Frequency::Day, true),
            (Way::ByCode, 1_375, 1_375),
            "nothing may be cut off"
        );
        assert_eq!(calls(5_500, Kind::Adjustfactor, Frequency::Day, false), (Way::ByCode, 5_500, 5_500));
        assert_eq!(calls(2, Kind::Tick, Frequency::Day, false), (Way::ByCode, 122, 2 * 1_212));
        let minutes = Abilities { rows_per_call: 8_000, ..Abilities::default() };
        let plan = planned(&request(1, Kind::Bar, Frequency::Minute1, false), minutes);
        assert_eq!((plan.pieces.len(), plan.num_calls), (37, 37), "33 days in an answer");
    }

    #[test]
    fn securities_outside_whole_days_are_requested_by_code() {
        let request = request(6_000, Kind::Bar, Frequency::Day, false);
        let units = request.units(TradingCalendar::built_in());
        let groups = left(&request.codes, &units, &[]);
        let covers = |code: Code| code.as_str() >= "000002";
        let plan = cheapest(&request, &units, &groups, Offered { abilities: TUSHARE, covers_in_whole_days: &covers });
        let by_code = plan.pieces.iter().filter(|piece| piece.way == Way::ByCode).count();
        assert_eq!((by_code, plan.pieces.len()), (1, 62));
    }

    #[test]
    fn every_piece_is_a_command_that_the_worker_takes() {
        for (kind, frequency, force) in [
            (Kind::Bar, Frequency::Day, false),
            (Kind::Bar, Frequency::Day, true),
            (Kind::Bar, Frequency::Minute5, false),
            (Kind::Tick, Frequency::Day, true),
            (Kind::Adjustfactor, Frequency::Day, false),
        ] {
            let request = request(1_300, kind, frequency, force);
            for piece in planned(&request, TUSHARE).pieces.iter().step_by(50) {
                let payload = piece.payload(&request);
                let command = ControlCommand::parse(payload.as_bytes()).unwrap();
                assert_eq!(command.ignored, [""; 0], "{payload}");
                match command.instruction {
                    Instruction::BarSnapshot(snapshot) => assert_eq!(snapshot.bars.by_day, piece.way == Way::ByDay),
                    Instruction::Tick(_) | Instruction::AdjustFactor(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}
