// Upstream: ticks
// Downstream: domain, market
// Role: Rules for daily prices: price limits, and ex-rights that the adjustment factors explain.

//! Both rules use the reference price of a day. It is the source's reference price if known. Otherwise it is the close
//! of the previous trading day, divided by the change of the stored adjustment factor. If the factors are unknown, an
//! ex-right may have lowered the reference price by any amount.

use chrono::NaiveDate;

use crate::domain::price_limit::{FirstDays, LONG_SUSPENSION, MarketBoard, lower_limit, too_far_apart, upper_limit};
use crate::domain::{Bar, DateRange, DayNote, Frequency, Millionths, Price};
use crate::validator::rules::market::{Finding, MarketRules};

/// Calendar days before the delisting without a check of price limits. The delisting period lasts 15 trading days. Its
/// first day has no price limit, and no source reports which day that is.
pub(crate) const DELISTING_DAYS: i64 = 30;

/// Calendar days since the listing that certainly cover the first five trading days, including the longest holidays.
pub(crate) const FIRST_CALENDAR_DAYS: i64 = 25;

/// The reference price of a day's limits, in fen.
enum Reference {
    /// Exact: reported by the source, or the previous close if the factor did not change.
    Exact(i64),
    /// Computed from the previous close and the rounded factors. It may be off by one fen.
    Computed(i64),
    /// An upper bound: the previous close, which an unknown ex-right may have lowered.
    UpperBound(i64),
}

impl MarketRules<'_> {
    /// A daily bar with a price beyond the price limits of its day.
    pub(crate) fn price_limit(&mut self, bar: &Bar) -> Option<Finding> {
        if bar.frequency != Frequency::Day {
            return None;
        }
        let day = bar.timestamp.date();
        let note = self.note(day);
        let reference = self.reference(day, note);
        let (up, down) = self.limits(day, note, &reference)?;
        let (high, low) = (bar.high.to_fen(), bar.low.to_fen());
        let (too_high, too_low) = match reference {
            Some(Reference::Exact(price)) => (high > upper_limit(price, up), low < lower_limit(price, down)),
            Some(Reference::Computed(price)) => {
                (high > upper_limit(price + 1, up) + 1, low < lower_limit(price - 1, down) - 1)
            }
            Some(Reference::UpperBound(price)) => {
                (high > upper_limit(price, up) || too_far_apart(low, high, up.max(down)), false)
            }
            None => (too_far_apart(low, high, up.max(down)), false),
        };
        let (field, price) = match (too_high, too_low) {
            (true, _) => ("high", bar.high),
            (_, true) => ("low", bar.low),
            _ => return None,
        };
        let beside = match reference {
            Some(Reference::Exact(price) | Reference::Computed(price)) => {
                format!("with reference price {}", Price::fen(price))
            }
            Some(Reference::UpperBound(price)) => format!("with previous close {}", Price::fen(price)),
            None => format!("with low {}", bar.low),
        };
        Some((field, format!("{price} {beside}")))
    }

    /// The upper and lower limit of a day in percent; `None` if the day has no limits or they are unknown.
    fn limits(&self, day: NaiveDate, note: Option<&DayNote>, reference: &Option<Reference>) -> Option<(i64, i64)> {
        let board = self.kind.board()?;
        let special = note.and_then(|note| note.is_special);
        let is_special = special.unwrap_or_else(|| self.known.facts.is_named_special(self.code, day));
        let percent = board.limit_percent(day, is_special)?;
        let usual = Some((percent, percent));
        if self.follows_long_suspension(day) || self.known.facts.is_named_delisting(self.code, day) {
            return None;
        }
        let listing = self.listing;
        let delisted = listing.and_then(|listing| listing.delisted);
        if delisted.is_some_and(|delisted| (delisted - day).num_days() <= DELISTING_DAYS) {
            return None;
        }
        let Some(listed) = listing.and_then(|listing| listing.listed) else {
            // The listing day is unknown: the first rows may be the first trading days of the security.
            return usual.filter(|_| self.num_before >= MarketBoard::FIRST_DAYS);
        };
        if (day - listed).num_days() > FIRST_CALENDAR_DAYS {
            return usual;
        }
        let nth = self.known.facts.calendar.trading_days(DateRange { start: listed, end: day }).len();
        match board.first_days(self.code, listed) {
            FirstDays::Free(days) => usual.filter(|_| nth > days),
            FirstDays::BoundToIssuePrice if nth > 1 => usual,
            FirstDays::BoundToIssuePrice => {
                let is_exact = matches!(reference, Some(Reference::Exact(_)));
                (nth == 1 && is_exact).then_some(FirstDays::ISSUE_PERCENT)
            }
        }
    }

    /// Whether the security had no row, or was suspended by the source's account, on more than [`LONG_SUSPENSION`]
    /// trading days before this one.
    fn follows_long_suspension(&self, day: NaiveDate) -> bool {
        let days = |start: Option<NaiveDate>| {
            let range = start.zip(day.pred_opt()).map(|(start, end)| DateRange { start, end });
            range.map_or(&[][..], |range| self.known.facts.calendar.trading_days(range))
        };
        match &self.previous {
            Some(previous) => days(previous.date.succ_opt()).len() > LONG_SUSPENSION,
            None if days(self.known.newest_before.and_then(|day| day.succ_opt())).len() > LONG_SUSPENSION => true,
            // Without an earlier row only the source's notes tell.
            None => {
                let notes = self.known.notes();
                let first = notes.first().map(|note| note.day);
                let is_suspended = |day: &&NaiveDate| {
                    let place = notes.binary_search_by_key(*day, |note| note.day).ok();
                    place.and_then(|place| notes.get(place)).is_some_and(|note| note.is_suspended)
                };
                days(first).iter().rev().take_while(is_suspended).count() > LONG_SUSPENSION
            }
        }
    }

    fn reference(&self, day: NaiveDate, note: Option<&DayNote>) -> Option<Reference> {
        if let Some(reported) = note.and_then(|note| note.reference) {
            return Some(Reference::Exact(reported.to_fen()));
        }
        let (before, close) = self.close_before(day)?;
        let factors = self.known.factors.as_ref().and_then(|factors| factors.between(before, day));
        Some(match factors {
            Some((from, to)) if from == to => Reference::Exact(close),
            Some((from, to)) => Reference::Computed(adjusted_close(close, from, to)),
            None => Reference::UpperBound(close),
        })
    }

    /// The close of the previous trading day, or of the last trading day before a suspension that the source reports;
    /// `None` if a day in between has no valid row and no such report.
    fn close_before(&self, day: NaiveDate) -> Option<(NaiveDate, i64)> {
        let previous = self.previous.as_ref()?;
        let (first, last) = (previous.date.succ_opt()?, day.pred_opt()?);
        let between = match first > last {
            true => &[],
            false => self.known.facts.calendar.trading_days(DateRange { start: first, end: last }),
        };
        let notes = self.known.notes();
        let is_suspended = |day: &NaiveDate| {
            let place = notes.binary_search_by_key(day, |note| note.day).ok();
            place.and_then(|place| notes.get(place)).is_some_and(|note| note.is_suspended)
        };
        let [.., close] = previous.prices;
        between.iter().all(is_suspended).then_some((previous.date, close.to_fen()))
    }

    /// A difference between the previous close and the reference price that the change of the factor does not explain.
    /// A day that the factors do not cover is not checked.
    pub(crate) fn ex_right(&mut self, bar: &Bar) -> Option<Finding> {
        if bar.frequency != Frequency::Day || self.known.factors.is_none() {
            return None;
        }
        let day = bar.timestamp.date();
        let reference = self.note(day)?.reference?.to_fen();
        let (before, close) = self.close_before(day)?;
        let (from, to) = self.known.factors.as_ref()?.between(before, day)?;
        let expected = adjusted_close(close, from, to);
        // Tolerance: both prices are rounded to whole fen, and factors of vendors may have only three decimals.
        let is_explained = (expected - reference).abs() <= 1 + close / 1_000;
        (!is_explained).then(|| {
            let price = Price::fen;
            let (from, to) = (from.to_decimal().normalize(), to.to_decimal().normalize());
            ("close", format!("{} to {}, factor {from} to {to}", price(close), price(reference)))
        })
    }
}

/// A close in fen, adjusted to the new factor and rounded half up.
fn adjusted_close(close: i64, from: Millionths, to: Millionths) -> i64 {
    let (close, from, to) = (i128::from(close), i128::from(from.0), i128::from(to.0).max(1));
    i64::try_from((2 * close * from + to) / (2 * to)).unwrap_or(i64::MAX)
}
