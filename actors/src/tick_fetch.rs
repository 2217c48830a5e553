// Upstream: none
// Downstream: actors::domain::bar, actors::domain::code, actors::domain::frequency, actors::domain::market_facts, actors::domain::task, actors::domain::tick, actors::expectation, actors::fetcher, actors::ports::market_source, actors::settings, actors::shanghai, actors::tick_days, actors::ticket, actors::validator
// Role: Fetches a task's days of ticks, newest first, leaving out those that are stored.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{Days, NaiveDate};

use crate::domain::{Code, DateRange, FetchedTick, Frequency, MarketFacts, OpenRange, SourceId, Stage, TaskCounts};
use crate::expectation::{Asked, Expectation};
use crate::fetcher::{FetchContext, FetchTicks};
use crate::ports::{DataKind, MarketSource, SourceError};
use crate::settings::ActorSettings;
use crate::shanghai;
use crate::tick_days::{FIRST_DAYS, first_part, trading_days};
use crate::ticket::{TaskReport, Ticket};
use crate::validator::ValidateTicks;

/// Days with their ticks, newest first.
type FetchedDays = Vec<(NaiveDate, Vec<FetchedTick>)>;

impl FetchContext {
    pub(crate) async fn run_ticks(&self, message: FetchTicks, settings: &ActorSettings) {
        let FetchTicks { mut ticket, code, range, overwrite, backfill } = message;
        let is_backfill = backfill.is_some();
        let Some(range) = self.asked_range(code, range, &ticket, settings).await else {
            return; // another worker has the command now
        };
        let facts = self.facts(settings).await;
        // Before its list date nothing of it was traded: a backfill ends there. Of an increment after a long pause the rest of
        // its days is for further tasks.
        let listed = facts.listing(code).and_then(|listing| listing.listed).unwrap_or(DateRange::FIRST_TRADING_DAY);
        let (range, rest) = match is_backfill {
            true => (DateRange { start: range.start.max(listed), ..range }, None),
            false => first_part(range, &facts.calendar),
        };
        ticket.trail.rest = rest;
        let is_increment = message.range.start.is_none();
        let stored_days = async || self.ticks.stored_days(code, range).await;
        let stored = match overwrite || is_increment {
            true => Some(BTreeSet::new()),
            false => self.waited_for(stored_days, &ticket, settings).await,
        };
        let Some(stored) = stored else { return };
        let mut wanted = trading_days(range, &facts.calendar);
        wanted.reverse();
        let days: Vec<NaiveDate> = wanted.iter().copied().filter(|day| !stored.contains(day)).collect();
        let (fetched, source) = match self.days(code, &days, &mut ticket).await {
            Ok(fetched) => fetched,
            Err(failed) => {
                let (error, attempts) = *failed;
                return self.give_up(ticket, error, attempts);
            }
        };
        let has_ticks = |day: &NaiveDate| {
            stored.contains(day) || fetched.iter().any(|(fetched, ticks)| fetched == day && !ticks.is_empty())
        };
        let mut came: Vec<NaiveDate> = wanted.iter().copied().filter(has_ticks).collect();
        came.reverse();
        let expectation = match asked_days(code, range, &came, is_backfill, &facts) {
            None => Expectation::default(),
            Some(asked) => {
                let missing = asked.missing_days(&came, shanghai::now());
                let suspended = self.told_suspensions(code, &missing, settings).await;
                Asked { suspended: &suspended, ..asked }.expect(&came, shanghai::now())
            }
        };
        let backfill = backfill.filter(|_| range.start > listed);
        let backfill = backfill.map(|before| before.after(wanted.iter().map(has_ticks)));
        let num_rows = fetched.iter().map(|(_, ticks)| ticks.len()).sum();
        let Some(source) = source.filter(|_| num_rows > 0) else {
            let Expectation { rows: expected, missing } = expectation;
            let counts = TaskCounts { expected, missing, ..TaskCounts::default() };
            return ticket.done(TaskReport { counts, backfill, ..TaskReport::default() });
        };
        self.board.rows_fetched.add(num_rows as u64);
        let Some(room) = self.row_room.enter(num_rows).await else { return };
        ticket.enter(Stage::Checking);
        let days = fetched;
        let message = ValidateTicks { ticket, code, overwrite, days, source, facts, expectation, backfill, room };
        self.validator.do_send(message);
    }

    /// The days asked for, from the newest stored one on where no first day is named. `None`: the task is lost.
    async fn asked_range(
        &self,
        code: Code,
        range: OpenRange,
        ticket: &Ticket,
        settings: &ActorSettings,
    ) -> Option<DateRange> {
        let end = range.end.unwrap_or_else(shanghai::today);
        if let Some(start) = range.start {
            return Some(DateRange { start, end });
        }
        // The newest stored day may have been fetched before its end: it is fetched once more.
        let newest = self.waited_for(async || self.ticks.newest_day(code).await, ticket, settings).await?;
        Some(DateRange { start: newest.unwrap_or(shanghai::today() - Days::new(FIRST_DAYS)), end })
    }

    /// The ticks of these days; a failure of one is the failure of all.
    async fn days(
        &self,
        code: Code,
        days: &[NaiveDate],
        ticket: &mut Ticket,
    ) -> Result<(FetchedDays, Option<SourceId>), Box<(SourceError, u32)>> {
        let mut fetched = Vec::with_capacity(days.len());
        let mut source = None;
        for day in days {
            if ticket.is_lost() {
                break;
            }
            let call = async |source: Arc<dyn MarketSource>| source.ticks(code, *day).await;
            let (ticks, from) = self.fetch(DataKind::Ticks, call, ticket).await.map_err(Box::new)?;
            ticket.trail.sources.rows_came(ticks.len());
            self.board.progressed();
            fetched.push((*day, ticks));
            source = Some(from);
        }
        Ok((fetched, source))
    }
}

/// The days of which ticks should have come. A backfill does not know how far back its source goes: nothing is expected
/// before the oldest day that came.
fn asked_days<'a>(
    code: Code,
    range: DateRange,
    came: &[NaiveDate],
    is_backfill: bool,
    facts: &'a MarketFacts,
) -> Option<Asked<'a>> {
    let start = if is_backfill { *came.first()? } else { range.start };
    let range = DateRange { start, end: range.end };
    let (calendar, listing) = (&facts.calendar, facts.listing(code));
    Some(Asked { range, frequency: Frequency::Day, calendar, listing, suspended: &[] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_ticks_are_expected_and_a_backfill_s_from_the_oldest_that_came() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let facts = MarketFacts::built_in(day("2024-02-01"));
        let of = |came: &[&str], is_backfill| {
            let came: Vec<NaiveDate> = came.iter().map(|text| day(text)).collect();
            let range = DateRange { start: day("2024-01-02"), end: day("2024-01-12") };
            let asked = asked_days("000001.SZ".parse().unwrap(), range, &came, is_backfill, &facts);
            let expected = asked.map_or_else(Expectation::default, |asked| asked.expect(&came, shanghai::now()));
            (expected.rows, expected.missing)
        };
        let came = ["2024-01-08", "2024-01-10", "2024-01-11", "2024-01-12"];
        assert_eq!(of(&came, false), (9, 5));
        assert_eq!(of(&came, true), (5, 1));
        assert_eq!(of(&[], false), (1, 1), "one day stands for all");
        assert_eq!(of(&[], true), (0, 0));
    }
}
