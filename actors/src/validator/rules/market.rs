// Upstream: market_tests, prices, prices_tests, validator
// Downstream: domain, settings
// Role: Market rules: compare a valid bar with the calendar, the listing, the board and the preceding bars.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Timelike};

use crate::domain::security_kind::SecurityKind;
use crate::domain::{Anomaly, Bar, Code, DayNote, Frequency, KnownDays, Listing, Price, Rule};
use crate::settings::rules::{RuleAction, RuleSettings};

/// Applies the market rules to the bars of one answer, oldest first.
pub struct MarketRules<'a> {
    rules: &'a RuleSettings,
    pub(crate) code: Code,
    pub(crate) known: &'a KnownDays,
    pub(crate) listing: Option<&'a Listing>,
    pub(crate) kind: SecurityKind,
    /// The rules that are not ignored, in the order of their application.
    checks: Vec<(RuleAction, Rule, Check<'a>)>,
    pub(crate) previous: Option<Previous>,
    /// Number of kept bars so far.
    pub(crate) num_before: usize,
    num_equal: u32,
    day: Option<(NaiveDate, bool)>,
    /// Index of the first note that is not older than the current bar.
    next_note: usize,
}

/// The values of the last kept bar that later bars are compared with.
pub(crate) struct Previous {
    pub(crate) date: NaiveDate,
    pub(crate) prices: [Price; 4],
    volume: i32,
    amount: i64,
}

/// A broken rule and its consequence.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    /// The reported anomaly.
    pub anomaly: Anomaly,
    /// Whether the row is skipped.
    pub skips: bool,
}

impl<'a> MarketRules<'a> {
    /// Creates the rules for the bars of one security.
    pub fn new(rules: &'a RuleSettings, code: Code, known: &'a KnownDays) -> Self {
        let all: [(Rule, Check<'a>); 8] = [
            (Rule::NonTradingDay, Self::non_trading_day),
            (Rule::BeforeListing, Self::before_listing),
            (Rule::AfterDelisting, Self::after_delisting),
            (Rule::MinuteGrid, Self::minute_grid),
            (Rule::AveragePrice, Self::average_price),
            (Rule::PriceLimit, Self::price_limit),
            (Rule::ExRight, Self::ex_right),
            (Rule::StaleRepeat, Self::stale_repeat),
        ];
        let with_action = all.into_iter().map(|(rule, check)| (rules.action(rule), rule, check));
        Self {
            rules,
            code,
            known,
            listing: known.listing(code),
            kind: SecurityKind::of(code),
            checks: with_action.filter(|(action, ..)| *action != RuleAction::Ignore).collect(),
            previous: known.close_before.map(|(date, close)| Previous::stored(date, close)),
            num_before: 0,
            num_equal: 1,
            day: None,
            next_note: 0,
        }
    }

    /// The rules that a bar breaks, usually none. The first rule that skips the bar ends the check.
    pub fn judge(&mut self, bar: &Bar) -> Vec<Violation> {
        let mut violation = Vec::new();
        for number in 0..self.checks.len() {
            let Some((action, rule, check)) = self.checks.get(number).copied() else { break };
            if let Some((field, value)) = check(self, bar) {
                let anomaly = Anomaly { code: bar.code, timestamp: Some(bar.timestamp), field, value, rule };
                let skips = action == RuleAction::Error;
                violation.push(Violation { anomaly, skips });
                if skips {
                    return violation;
                }
            }
        }
        self.previous = Some(Previous::of(bar));
        self.num_before += 1;
        violation
    }

    /// A bar on a non-trading day. The calendar result is cached for the day, because a day has up to 240 minute bars.
    fn non_trading_day(&mut self, bar: &Bar) -> Option<Finding> {
        let date = bar.timestamp.date();
        let closed = match self.day {
            Some((day, closed)) if day == date => closed,
            _ => self.known.facts.calendar.is_trading_day(date) == Some(false),
        };
        self.day = Some((date, closed));
        closed.then(|| ("timestamp", date.to_string()))
    }

    fn before_listing(&mut self, bar: &Bar) -> Option<Finding> {
        let (date, listed) = (bar.timestamp.date(), self.listing?.listed?);
        (date < listed).then(|| ("timestamp", format!("{date}, listed on {listed}")))
    }

    fn after_delisting(&mut self, bar: &Bar) -> Option<Finding> {
        let (date, delisted) = (bar.timestamp.date(), self.listing?.delisted?);
        (date > delisted).then(|| ("timestamp", format!("{date}, delisted on {delisted}")))
    }

    /// The source's note of a day. Days must be passed in ascending order.
    pub(crate) fn note(&mut self, day: NaiveDate) -> Option<&'a DayNote> {
        let notes = self.known.notes();
        while notes.get(self.next_note).is_some_and(|note| note.day < day) {
            self.next_note += 1;
        }
        notes.get(self.next_note).filter(|note| note.day == day)
    }

    fn minute_grid(&mut self, bar: &Bar) -> Option<Finding> {
        let minutes = bar.frequency.minutes()?;
        (!is_on_grid(bar.timestamp, minutes)).then(|| ("timestamp", bar.timestamp.to_string()))
    }

    /// A bar whose average price (amount divided by volume) is outside its low and high. The tolerance covers the
    /// truncated fraction of a lot, the rounded amount and a rounded third decimal of a price.
    fn average_price(&mut self, bar: &Bar) -> Option<Finding> {
        let (lots, amount) = (i128::from(bar.volume), i128::from(bar.amount.0));
        let tolerance = i128::from(match bar.frequency.minutes() {
            None => self.rules.average_price_tolerance_percent,
            Some(_) => self.rules.average_price_minute_tolerance_percent,
        });
        if !self.kind.has_average_price() || amount == 0 && (lots == 0 || !bar.source.has_amounts()) {
            return None; // no price of trades, no trade, or a source without amounts
        }
        // 0.01 thousand yuan for a lot of 100 shares is 0.1 yuan a share. The factor is that in ten-thousandths, times
        // 100 percent. One fen covers a rounded third decimal.
        const UNIT: i128 = 100_000;
        let (high, low) = (i128::from(bar.high.0 + Price::fen(1).0), i128::from(bar.low.0 - Price::fen(1).0));
        let too_high = (amount - 1) * UNIT > high * (lots + 1) * (100 + tolerance);
        let too_low = (amount + 1) * UNIT < low * lots * (100 - tolerance);
        (too_high || too_low).then(|| ("amount", format!("{} for {} lots", bar.amount, bar.volume)))
    }

    /// A daily bar that completes or continues a run of `stale_repeat_bars` equal bars. Days without trades are
    /// ignored.
    fn stale_repeat(&mut self, bar: &Bar) -> Option<Finding> {
        if bar.frequency != Frequency::Day {
            return None;
        }
        let is_equal = bar.volume > 0 && self.previous.as_ref().is_some_and(|previous| previous.equals(bar));
        self.num_equal = if is_equal { self.num_equal + 1 } else { 1 };
        (self.num_equal >= self.rules.stale_repeat_bars).then(|| ("close", bar.close.to_string()))
    }
}

/// The field that breaks a rule and its value.
pub(crate) type Finding = (&'static str, String);
type Check<'a> = fn(&mut MarketRules<'a>, &Bar) -> Option<Finding>;

impl Previous {
    /// A day of which only the close is known. It equals no bar.
    fn stored(date: NaiveDate, close: Price) -> Self {
        Self { date, prices: [close; 4], volume: -1, amount: 0 }
    }

    fn of(bar: &Bar) -> Self {
        let prices = [bar.open, bar.high, bar.low, bar.close];
        Self { date: bar.timestamp.date(), prices, volume: bar.volume, amount: bar.amount.0 }
    }

    fn equals(&self, bar: &Bar) -> bool {
        let prices = [bar.open, bar.high, bar.low, bar.close];
        (self.prices, self.volume, self.amount) == (prices, bar.volume, bar.amount.0)
    }
}

/// Whether a bar of this length in minutes may end at this time. The row of the opening auction at 09:30 and times
/// after the close are valid for every length.
fn is_on_grid(end: NaiveDateTime, minutes: u32) -> bool {
    let minute = end.hour() * 60 + end.minute();
    const OPEN: u32 = 9 * 60 + 30;
    const NOON: u32 = 13 * 60;
    const CLOSE: u32 = 15 * 60;
    match minute {
        OPEN => true,
        _ if minute > CLOSE => true,
        _ if minute > NOON => (minute - NOON).is_multiple_of(minutes),
        _ if minute > OPEN && end.time() <= LAST_OF_MORNING => (minute - OPEN).is_multiple_of(minutes),
        _ => false,
    }
}

const LAST_OF_MORNING: NaiveTime = match NaiveTime::from_hms_opt(11, 30, 0) {
    Some(time) => time,
    None => NaiveTime::MIN,
};
