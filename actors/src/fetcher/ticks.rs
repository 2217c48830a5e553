// Upstream: actor
// Downstream: many
// Role: Fetches the ticks of a task's days that are not stored yet, newest day first.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::NaiveDate;

use crate::domain::expected_rows::{ExpectedRows, RequestedDays};
use crate::domain::tick_backfill::{first_part, trading_days};
use crate::domain::{
    Code, DateRange, FetchedTick, Frequency, MarketFacts, PriceFormat, SourceId, Stage, TaskCounts, TaskReport,
    shanghai_clock,
};
use crate::fetcher::FetchTicks;
use crate::fetcher::parts::FetchParts;
use crate::fetcher::source_caller::NotFetched;
use crate::fetcher::suspensions::SharedBy;
use crate::pipeline::TaskGuard;
use crate::ports::{DataKind, MarketSource};
use crate::settings::ActorSettings;
use crate::store_retry::{Unread, read_until_answered};
use crate::validator::ValidateTicks;

/// Days with their ticks, newest first.
type FetchedDays = Vec<(NaiveDate, Vec<FetchedTick>)>;

/// Plans, fetches day by day, and passes the ticks to the Validator. Returns early if the partition of the command is
/// assigned to another worker.
pub(crate) async fn fetch_ticks(parts: &FetchParts, message: FetchTicks, settings: &ActorSettings) {
    let FetchTicks { mut guard, code, range: requested, overwrite, backfill } = message;
    let is_backfill = backfill.is_some();
    guard.trace.store_generation = parts.stores.generation();
    let range = match parts.planner.ticks(code, requested, &guard, settings).await {
        Ok(range) => range,
        Err(Unread::Lost) => return,
        Err(Unread::Unusable(error)) => return guard.failed(error, 1),
    };
    let facts = parts.row_context.facts(settings).await;
    // There is no trading before the list date, so a backfill ends there. After a long pause, an increment fetches the
    // first days, and further tasks fetch the rest.
    let listed = facts.listing(code).and_then(|listing| listing.listed).unwrap_or(DateRange::FIRST_TRADING_DAY);
    let (range, rest) = match is_backfill {
        true => (DateRange { start: range.start.max(listed), ..range }, None),
        false => first_part(range, &facts.calendar),
    };
    guard.trace.rest = rest;
    let is_increment = requested.start.is_none();
    let stored = match overwrite || is_increment {
        true => Ok(BTreeSet::new()),
        false => {
            let stored_days = async || parts.stores.pin().ticks.stored_days(code, range).await;
            read_until_answered(parts.planner.reads_ticks(code, settings), || guard.is_lost(), stored_days).await
        }
    };
    let stored = match stored {
        Ok(stored) => stored,
        Err(Unread::Lost) => return,
        Err(Unread::Unusable(error)) => return guard.failed(error, 1),
    };
    let mut wanted = trading_days(range, &facts.calendar);
    wanted.reverse();
    let days: Vec<NaiveDate> = wanted.iter().copied().filter(|day| !stored.contains(day)).collect();
    let (days, source) = match fetch_days(parts, code, &days, &mut guard).await {
        Ok(fetched) => fetched,
        Err(failed) => return parts.fail(guard, *failed),
    };
    let has_ticks = |day: &NaiveDate| {
        stored.contains(day) || days.iter().any(|(fetched, ticks)| fetched == day && !ticks.is_empty())
    };
    let mut present: Vec<NaiveDate> = wanted.iter().copied().filter(has_ticks).collect();
    present.reverse();
    let expected = match requested_days(code, range, &present, is_backfill, &facts) {
        None => ExpectedRows::default(),
        Some(requested) => {
            let missing = requested.missing_days(&present, shanghai_clock::now());
            let suspended = parts.row_context.suspended_days(code, &missing, SharedBy::Days, settings).await;
            RequestedDays { suspended: &suspended, ..requested }.expect(&present, shanghai_clock::now())
        }
    };
    let backfill = backfill.filter(|_| range.start > listed);
    let backfill = backfill.map(|before| before.after(wanted.iter().map(has_ticks)));
    let num_rows = days.iter().map(|(_, ticks)| ticks.len()).sum();
    let Some(source) = source.filter(|_| num_rows > 0) else {
        let ExpectedRows { rows: expected, missing } = expected;
        let counts = TaskCounts { expected, missing, ..TaskCounts::default() };
        return guard.done(TaskReport { counts, backfill, ..TaskReport::default() });
    };
    parts.board.counters.rows_fetched.add(num_rows as u64);
    let unlimited = parts.row_context.days_after_long_absence(code, &days, &facts).await;
    // Without an answer the rows are rounded to Ginkgo's own decimals, and reported.
    let prices = parts.stores.pin().ticks.price_format(code).await.unwrap_or(PriceFormat::GINKGO);
    let Some(permit) = parts.row_budget.reserve(DataKind::Ticks, num_rows).await else { return };
    guard.enter(Stage::Checking);
    let message =
        ValidateTicks { guard, code, overwrite, days, source, facts, unlimited, prices, expected, backfill, permit };
    parts.validator.do_send(message);
}

/// Fetches the ticks of these days. If one day fails, the whole fetch fails.
async fn fetch_days(
    parts: &FetchParts,
    code: Code,
    days: &[NaiveDate],
    guard: &mut TaskGuard,
) -> Result<(FetchedDays, Option<SourceId>), Box<NotFetched>> {
    let mut fetched = Vec::with_capacity(days.len());
    let mut source = None;
    for day in days {
        if guard.is_lost() {
            break;
        }
        let call = async |source: Arc<dyn MarketSource>| source.ticks(code, *day).await;
        let (ticks, from) = parts.caller.fetch(DataKind::Ticks, call, guard).await.map_err(Box::new)?;
        guard.trace.sources.rows_came(ticks.len());
        parts.board.progress.progressed();
        fetched.push((*day, ticks));
        source = Some(from);
    }
    Ok((fetched, source))
}

/// The days for which ticks are expected. The history of a source has an unknown length, so a backfill expects no ticks
/// before the oldest day in `present`, the days with ticks.
fn requested_days<'a>(
    code: Code,
    range: DateRange,
    present: &[NaiveDate],
    is_backfill: bool,
    facts: &'a MarketFacts,
) -> Option<RequestedDays<'a>> {
    let start = if is_backfill { *present.first()? } else { range.start };
    let range = DateRange { start, end: range.end };
    let (calendar, listing) = (&facts.calendar, facts.listing(code));
    Some(RequestedDays { range, frequency: Frequency::Day, calendar, listing, suspended: &[] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backfill_expects_tick_days_from_oldest_fetched() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let facts = MarketFacts::built_in(day("2024-02-01"));
        let of = |present: &[&str], is_backfill| {
            let present: Vec<NaiveDate> = present.iter().map(|text| day(text)).collect();
            let range = DateRange { start: day("2024-01-02"), end: day("2024-01-12") };
            let requested = requested_days("000001.SZ".parse().unwrap(), range, &present, is_backfill, &facts);
            let expected = requested
                .map_or_else(ExpectedRows::default, |requested| requested.expect(&present, shanghai_clock::now()));
            (expected.rows, expected.missing)
        };
        let present = ["2024-01-08", "2024-01-10", "2024-01-11", "2024-01-12"];
        assert_eq!(of(&present, false), (9, 5));
        assert_eq!(of(&present, true), (5, 1));
        assert_eq!(of(&[], false), (1, 1), "without any row, one missing day is reported");
        assert_eq!(of(&[], true), (0, 0));
    }
}
