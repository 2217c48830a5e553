// Upstream: ticks
// Downstream: domain, market
// Role: The rules of prices from day to day: how far they may go, and from which price on.

//! Both need the price of reference: the source's own, else the close of the trading day before, brought down by what the
//! stored adjustment factors changed since. Where the factors are not known, an ex-right may have lowered it by any amount.

use chrono::NaiveDate;

use crate::domain::price_limit::{FirstDays, MarketBoard, lower_limit, too_far_apart, upper_limit};
use crate::domain::{Bar, DateRange, DayNote, Frequency, Hundredths, Millionths};
use crate::validator::rules::market::{Finding, MarketRules};

/// Calendar days before the last one in which the limits of a share that leaves are not judged: the period of 15 trading
/// days in which it is traded for the last time begins with a day without limits, which nobody tells.
pub(crate) const LEAVING: i64 = 30;

/// Calendar days from the listing on that cover its first five trading days, the longest holidays included.
pub(crate) const NEW: i64 = 25;

/// Where a day's limits are reckoned from, in fen.
enum Reference {
    /// The source's word.
    Told(i64),
    /// From the close before and the factors, which are rounded: it may be a fen off.
    Reckoned(i64),
    /// At most so much: there may have been an ex-right.
    AtMost(i64),
}

impl MarketRules<'_> {
    /// A daily bar beyond its limits.
    pub(crate) fn price_limit(&mut self, bar: &Bar) -> Option<Finding> {
        if bar.frequency != Frequency::Day {
            return None;
        }
        let day = bar.timestamp.date();
        let note = self.note(day);
        let reference = self.reference(day, note);
        let (up, down) = self.limits(day, note, &reference)?;
        let (high, low) = (bar.high.0, bar.low.0);
        let (too_high, too_low) = match reference {
            Some(Reference::Told(price)) => (high > upper_limit(price, up), low < lower_limit(price, down)),
            Some(Reference::Reckoned(price)) => {
                (high > upper_limit(price + 1, up) + 1, low < lower_limit(price - 1, down) - 1)
            }
            Some(Reference::AtMost(price)) => {
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
            Some(Reference::Told(price) | Reference::Reckoned(price) | Reference::AtMost(price)) => {
                format!("after {}", Hundredths(price))
            }
            None => format!("beside {}", bar.low),
        };
        Some((field, format!("{price} {beside}")))
    }

    /// The limits of a day in percent, up and down; `None`: there are none, or they are not known.
    fn limits(&self, day: NaiveDate, note: Option<&DayNote>, reference: &Option<Reference>) -> Option<(i64, i64)> {
        let board = self.board?;
        let special = note.and_then(|note| note.is_special);
        let is_special = special.unwrap_or_else(|| self.known.facts.is_named_special(self.code, day));
        let percent = board.limit_percent(day, is_special)?;
        let usual = Some((percent, percent));
        let listing = self.listing;
        let delisted = listing.and_then(|listing| listing.delisted);
        if delisted.is_some_and(|delisted| (delisted - day).num_days() <= LEAVING) {
            return None;
        }
        let Some(listed) = listing.and_then(|listing| listing.listed) else {
            // What came first may be the first days of the security.
            return usual.filter(|_| self.num_before >= MarketBoard::FIRST_DAYS);
        };
        if (day - listed).num_days() > NEW {
            return usual;
        }
        let nth = self.known.facts.calendar.trading_days(DateRange { start: listed, end: day }).len();
        match board.first_days(self.code, listed) {
            FirstDays::Free(days) => usual.filter(|_| nth > days),
            FirstDays::BoundToIssuePrice if nth > 1 => usual,
            FirstDays::BoundToIssuePrice => {
                let is_told = matches!(reference, Some(Reference::Told(_)));
                (nth == 1 && is_told).then_some(FirstDays::ISSUE_PERCENT)
            }
        }
    }

    fn reference(&self, day: NaiveDate, note: Option<&DayNote>) -> Option<Reference> {
        if let Some(told) = note.and_then(|note| note.reference) {
            return Some(Reference::Told(told.0));
        }
        let (before, close) = self.close_before(day)?;
        let factors = self.known.factors.as_ref().and_then(|factors| factors.between(before, day));
        Some(match factors {
            Some((from, to)) if from == to => Reference::Told(close),
            Some((from, to)) => Reference::Reckoned(brought_down(close, from, to)),
            None => Reference::AtMost(close),
        })
    }

    /// The close of the trading day before, or of the last one before a suspension that the source tells. After a day
    /// without a sound row it is not known.
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
        between.iter().all(is_suspended).then_some((previous.date, close))
    }

    /// A jump between the close before and the price of reference that the factors do not explain. Where they do not reach
    /// the day nothing can be said.
    pub(crate) fn ex_right(&mut self, bar: &Bar) -> Option<Finding> {
        if bar.frequency != Frequency::Day || self.known.factors.is_none() {
            return None;
        }
        let day = bar.timestamp.date();
        let reference = self.note(day)?.reference?.0;
        let (before, close) = self.close_before(day)?;
        let (from, to) = self.known.factors.as_ref()?.between(before, day)?;
        let expected = brought_down(close, from, to);
        // Both are rounded to whole fen, and vendors give factors with as few as three decimals.
        let is_explained = (expected - reference).abs() <= 1 + close / 1_000;
        (!is_explained).then(|| {
            let price = Hundredths;
            let (from, to) = (from.to_decimal().normalize(), to.to_decimal().normalize());
            ("close", format!("{} to {}, factor {from} to {to}", price(close), price(reference)))
        })
    }
}

/// A close in fen as it counts after the factor changed, rounded half up.
fn brought_down(close: i64, from: Millionths, to: Millionths) -> i64 {
    let (close, from, to) = (i128::from(close), i128::from(from.0), i128::from(to.0).max(1));
    i64::try_from((2 * close * from + to) / (2 * to)).unwrap_or(i64::MAX)
}
