// Upstream: actor, parts
// Downstream: domain, market_cache, ports, settings, source_circuit, suspensions
// Role: Collects the data that rows are validated against: facts, day notes and, after a price jump, stored factors.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{Days, NaiveDate};

use crate::domain::expected_rows::RequestedDays;
use crate::domain::price_limit::{LONG_SUSPENSION, MarketBoard, too_far_apart};
use crate::domain::{
    Code, DateRange, DayNote, DayTotal, FetchedBar, FetchedTick, Field, Frequency, KnownDays, MarketFacts, Price,
    shanghai_clock,
};
use crate::fetcher::source_circuit::SourceCircuits;
use crate::fetcher::suspensions::{SharedBy, Suspensions};
use crate::market_cache::facts::FactCache;
use crate::market_cache::last_closes::LastCloses;
use crate::ports::{BarRequest, DataKind, MarketSources, StoreSet, Swappable};
use crate::settings::rules::RuleAction;
use crate::settings::{ActorSettings, ms};

/// Calendar days that certainly hold more than [`LONG_SUSPENSION`] trading days.
const LOOKBACK: Days = Days::new(150);

/// Reads the data that rows are validated against. If a store or a source does not answer, fewer rules apply, and no
/// row waits.
pub(crate) struct RowContextReader {
    /// Listings and trading calendar.
    pub(crate) facts: FactCache,
    /// The last daily close of every code.
    pub(crate) last_closes: LastCloses,
    /// Daily bars and factor changes, read by code.
    pub(crate) stores: Arc<Swappable<StoreSet>>,
    /// Sources that report suspensions.
    pub(crate) sources: Arc<Swappable<dyn MarketSources>>,
    /// Sources that refuse the account are not asked.
    pub(crate) circuits: Arc<SourceCircuits>,
    /// The cache of reported suspensions.
    pub(crate) suspensions: Suspensions,
}

impl RowContextReader {
    /// Listings and trading calendar.
    pub(crate) async fn facts(&self, settings: &ActorSettings) -> Arc<MarketFacts> {
        self.facts.current(ms(settings.fetch.facts_refresh_ms)).await
    }

    /// Collects the data that these bars are validated against. Suspensions are requested only if days are missing.
    /// Factors are read only if a price jumps from one day to the next. `shared` says who requests the same days.
    pub(crate) async fn known_days(
        &self,
        request: &BarRequest,
        bars: &[FetchedBar],
        mut notes: Vec<DayNote>,
        shared: SharedBy,
        settings: &ActorSettings,
    ) -> KnownDays {
        let BarRequest { code, frequency, range } = *request;
        let facts = self.facts(settings).await;
        let mut suspended: Vec<NaiveDate> =
            notes.iter().filter(|note| note.is_suspended).map(|note| note.day).collect();
        suspended.sort_unstable();
        let (calendar, listing) = (&facts.calendar, facts.listing(code));
        let requested = RequestedDays { range, frequency, calendar, listing, suspended: &suspended };
        let missing = requested.missing_days(&days(bars), shanghai_clock::now());
        let reported = self.suspended_days(code, &missing, shared, settings).await;
        notes.extend(reported.into_iter().map(DayNote::suspended));
        let mut known = KnownDays::new(facts, notes, None);
        if frequency == Frequency::Day {
            self.add_prices(code, bars, &mut known, settings).await;
        } else if settings.quality.rules.day_sum != RuleAction::Ignore {
            known.day_totals = self.day_totals(code, bars).await;
        }
        known
    }

    /// Adds the stored close before the first bar and, after a price jump, the changes of the adjustment factor.
    async fn add_prices(&self, code: Code, bars: &[FetchedBar], known: &mut KnownDays, settings: &ActorSettings) {
        let mut closes = closes(bars);
        if let Some((first, _)) = closes.first() {
            let max_age = ms(settings.fetch.facts_refresh_ms);
            known.close_before = self.last_closes.before(*first, code, max_age).await;
        }
        closes.splice(..0, known.close_before);
        if has_jump(&closes, known.notes()) {
            known.factors = self.stores.pin().factors.changes(code).await.unwrap_or_else(|error| {
                tracing::debug!(%code, %error, "factors not readable; price jumps are checked without them");
                None
            });
        }
    }

    /// The days among `missing` on which a source of daily bars reports a suspension. Without an answer they count as
    /// missing.
    pub(crate) async fn suspended_days(
        &self,
        code: Code,
        missing: &[NaiveDate],
        shared: SharedBy,
        settings: &ActorSettings,
    ) -> Vec<NaiveDate> {
        if missing.is_empty() || !settings.quality.ask_suspensions {
            return Vec::new();
        }
        let mut sources = self.sources.pin().of(DataKind::Bars);
        sources.retain(|source| !self.circuits.is_open(source.name()));
        let reported = self.suspensions.among(&sources, code, missing, shared).await;
        reported.map(Option::unwrap_or_default).unwrap_or_else(|error| {
            tracing::debug!(%code, %error, "suspensions not available; missing days count as missing");
            Vec::new()
        })
    }

    /// The days whose trades are further apart than any price limit allows and that have no stored daily bar in the
    /// [`LONG_SUSPENSION`] trading days before them: the share may be listed again, without a limit. Without an answer no
    /// limit applies to such a day.
    pub(crate) async fn days_after_long_absence(
        &self,
        code: Code,
        days: &[(NaiveDate, Vec<FetchedTick>)],
        facts: &MarketFacts,
    ) -> BTreeSet<NaiveDate> {
        let mut unlimited = BTreeSet::new();
        let Some(board) = MarketBoard::of(code) else { return unlimited };
        for (day, ticks) in days {
            let percent = board.limit_percent(*day, false);
            let is_wide =
                percent.zip(price_range(ticks)).is_some_and(|(percent, (low, high))| too_far_apart(low, high, percent));
            let first = is_wide.then(|| day.checked_sub_days(LOOKBACK)).flatten();
            let Some((start, end)) = first.zip(day.pred_opt()) else { continue };
            let range = DateRange { start, end };
            let stored = self.stores.pin().bars.day_totals(code, range).await.unwrap_or_default();
            let absent_from = stored.last().map_or(Some(start), |last| last.day.succ_opt());
            let absent = absent_from.map(|start| facts.calendar.trading_days(DateRange { start, end }).len());
            if absent.is_some_and(|number| number > LONG_SUSPENSION) {
                unlimited.insert(*day);
            }
        }
        unlimited
    }

    /// The stored daily bars of the days of these minute bars.
    async fn day_totals(&self, code: Code, bars: &[FetchedBar]) -> Vec<DayTotal> {
        let days = days(bars);
        let Some((start, end)) = days.first().copied().zip(days.last().copied()) else { return Vec::new() };
        self.stores.pin().bars.day_totals(code, DateRange { start, end }).await.unwrap_or_else(|error| {
            tracing::debug!(%code, %error, "daily bars not readable; minute bars are not compared with them");
            Vec::new()
        })
    }
}

/// The lowest and the highest readable price of a day's trades, in fen.
fn price_range(ticks: &[FetchedTick]) -> Option<(i64, i64)> {
    let fen = |tick: &FetchedTick| Some(Price::from_decimal(*tick.price.value()?)?.to_fen());
    let (low, high) = (ticks.iter().filter_map(fen).min()?, ticks.iter().filter_map(fen).max()?);
    (low > 0).then_some((low, high))
}

/// The days of these bars, oldest first; one per bar.
fn days(bars: &[FetchedBar]) -> Vec<NaiveDate> {
    let day = |bar: &FetchedBar| if let Field::Value(time) = &bar.timestamp { Some(time.date()) } else { None };
    let mut days: Vec<NaiveDate> = bars.iter().filter_map(day).collect();
    days.sort_unstable();
    days
}

/// The readable closes with their days, oldest first.
fn closes(bars: &[FetchedBar]) -> Vec<(NaiveDate, Price)> {
    let close = |bar: &FetchedBar| match (&bar.timestamp, &bar.close) {
        (Field::Value(time), Field::Value(close)) => Some((time.date(), Price::from_decimal(*close)?)),
        _ => None,
    };
    let mut closes: Vec<(NaiveDate, Price)> = bars.iter().filter_map(close).collect();
    closes.sort_unstable();
    closes
}

/// Whether a price jumps: the reference price of a day differs from the previous close, or, without a reference price,
/// the close is below the main boards' lower limit.
fn has_jump(closes: &[(NaiveDate, Price)], notes: &[DayNote]) -> bool {
    closes.windows(2).any(|pair| {
        let [(_, before), (day, after)] = pair else { return false };
        let note = notes.binary_search_by_key(day, |note| note.day).ok().and_then(|index| notes.get(index));
        match note.and_then(|note| note.reference) {
            Some(reference) => reference != *before,
            None => after.0 * 100 < before.0 * LOWER_LIMIT_PERCENT,
        }
    })
}

/// The lower price limit of the main boards in percent of the previous close (90), minus one for rounding.
const LOWER_LIMIT_PERCENT: i64 = 89;

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveTime;

    #[test]
    fn only_what_a_factor_must_explain_is_a_jump() {
        let day = |d: u32| NaiveDate::from_ymd_opt(2024, 1, d).unwrap();
        let bar = |d, close: &str| FetchedBar {
            timestamp: Field::Value(day(d).and_time(NaiveTime::MIN)),
            open: Field::Missing,
            high: Field::Missing,
            low: Field::Missing,
            close: Field::number(close),
            volume: Field::Missing,
            amount: Field::Missing,
        };
        let note =
            |d, fen| DayNote { day: day(d), reference: Some(Price::fen(fen)), is_suspended: false, is_special: None };
        let newest_first = [bar(3, "9.10"), bar(2, "10.00")];
        let has_jump = |bars: &[FetchedBar], notes: &[DayNote]| has_jump(&closes(bars), notes);
        assert!(!has_jump(&newest_first, &[]));
        assert!(!has_jump(&newest_first, &[note(3, 1_000)]));
        assert!(has_jump(&newest_first, &[note(3, 990)]));
        assert!(has_jump(&[bar(2, "10.00"), bar(3, "8.80")], &[]));
        assert!(!has_jump(&[bar(2, "10.00"), bar(3, "8.80")], &[note(3, 1_000)]), "the reference price is unchanged");
        assert!(!has_jump(&[bar(2, "x"), bar(3, "8.80")], &[]));
    }
}
