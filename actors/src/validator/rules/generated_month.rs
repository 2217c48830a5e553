// Upstream: false_positive_tests, quality_monitor
// Downstream: domain
// Role: Test data: a generated month of valid bars for many shares, and faults to inject, each with the broken rule.

use std::sync::Arc;

use chrono::{NaiveDate, NaiveTime};
use rust_decimal::Decimal;

use crate::domain::calendar::TradingCalendar;
use crate::domain::{
    Code, DateRange, DayNote, FactorChanges, FetchedBar, Field, KnownDays, Listing, MarketFacts, Millionths, Price,
    Rule,
};

/// Pseudo-random numbers (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

pub fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// The generated range, which includes the Spring Festival of 2024.
pub fn month() -> DateRange {
    DateRange { start: day("2024-01-22"), end: day("2024-03-08") }
}

/// A non-trading day of the Spring Festival.
const HOLIDAY: &str = "2024-02-13";

const BOARDS: [&str; 4] = ["600", "000", "300", "688"];

pub fn code(number: u64) -> Code {
    let board = BOARDS[number as usize % BOARDS.len()];
    format!("{board}{:03}", number / BOARDS.len() as u64 % 1_000).parse().unwrap()
}

pub fn bar(date: NaiveDate, prices: [i64; 4], lots: i64) -> FetchedBar {
    let price = |fen: i64| Field::Value(Decimal::new(fen, 2));
    let [open, high, low, close] = prices.map(price);
    // In thousand yuan: the mean of high and low in fen, times the lots, times 100 shares a lot.
    let amount = Field::Value(Decimal::new((prices[1] + prices[2]) * lots * 5, 4));
    let timestamp = Field::Value(date.and_time(NaiveTime::MIN));
    FetchedBar { timestamp, open, high, low, close, volume: Field::Value(Decimal::from(lots)), amount }
}

/// The special feature of a generated share.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Small moves, so a repeated bar stays within the price limits.
    Calm,
    Usual,
    /// Listed in this month, with large moves on its first five days.
    New,
    /// An ex-right halves the price.
    ExRight,
    /// Suspended for six days; the source reports it.
    Suspended,
    /// Under special treatment (ST); the source reports it.
    Special,
    /// Delisted in this month.
    Leaving,
    /// Suspended for six days; the source reports only bars and no day notes.
    Untold,
}

const KINDS: [Kind; 10] = [
    Kind::Calm,
    Kind::New,
    Kind::ExRight,
    Kind::Suspended,
    Kind::Special,
    Kind::Leaving,
    Kind::Untold,
    Kind::Usual,
    Kind::Usual,
    Kind::Calm,
];

/// The generated month of one share: its bars and their context.
pub struct Share {
    pub code: Code,
    kind: Kind,
    pub rows: Vec<FetchedBar>,
    listing: Listing,
    notes: Vec<DayNote>,
    factors: FactorChanges,
}

/// An injected fault: its day and the broken rule.
pub type Fault = (NaiveDate, Rule);

pub fn date(row: &FetchedBar) -> NaiveDate {
    let Field::Value(time) = row.timestamp else { panic!("no time") };
    time.date()
}

fn fen(field: &Field<Decimal>) -> i64 {
    let Field::Value(value) = field else { panic!("no value") };
    Price::from_decimal(*value).unwrap().to_fen()
}

fn times(field: &Field<Decimal>, factor: Decimal) -> Field<Decimal> {
    let Field::Value(value) = field else { panic!("no value") };
    Field::Value(value * factor)
}

impl Share {
    /// Generates a month without faults.
    pub fn quiet(number: u64, random: &mut Random) -> Self {
        let kind = KINDS[(number / 7) as usize % KINDS.len()];
        let code = code(number);
        let days = TradingCalendar::built_in().trading_days(month());
        let listed_at = if kind == Kind::New { 1 + random.below(9) as usize } else { 0 };
        let days_end = if kind == Kind::Leaving { 20 + random.below(5) as usize } else { days.len() };
        let listed = if kind == Kind::New { days[listed_at] } else { day("1997-01-06") };
        let delisted = (kind == Kind::Leaving).then(|| days[days_end]);
        let mut share = Self {
            code,
            kind,
            rows: Vec::new(),
            listing: Listing { code, name: "A".to_owned(), listed: Some(listed), delisted },
            notes: Vec::new(),
            factors: FactorChanges { since: vec![(listed, Millionths(1_000_000))], until: month().end },
        };
        let width = match kind {
            Kind::Calm => 20,
            Kind::Special => 45,
            _ => 95,
        };
        let mut close = 500 + random.below(20_000) as i64;
        for (number, date) in days.iter().enumerate().take(days_end).skip(listed_at) {
            if kind == Kind::ExRight && number == 12 {
                close /= 2;
                share.factors.since.push((*date, Millionths(2_000_000)));
            }
            let is_suspended = matches!(kind, Kind::Suspended | Kind::Untold) && (8..14).contains(&number);
            let (reference, is_special) = (Some(Price::fen(close)), Some(kind == Kind::Special));
            share.notes.push(DayNote { day: *date, reference, is_suspended, is_special });
            if is_suspended {
                continue;
            }
            let is_first = kind == Kind::New && number < listed_at + 5;
            let moved = if is_first { random.below(800) as i64 } else { random.below(2 * width) as i64 - width as i64 };
            let (open, next) = (close, (close * (1_000 + moved) / 1_000).max(100));
            let prices = [open, open.max(next), open.min(next), next];
            share.rows.push(bar(*date, prices, 1_000 + random.below(90_000) as i64));
            close = next;
        }
        if kind == Kind::Untold {
            share.notes.clear();
        }
        share
    }

    /// The context for validating the bars.
    pub fn known(&self) -> KnownDays {
        let listings = Arc::new([(self.code, self.listing.clone())].into_iter().collect());
        let facts = MarketFacts { listings, ..MarketFacts::built_in(month().end) };
        KnownDays::new(facts.into(), self.notes.clone(), Some(self.factors.clone()))
    }

    fn place_of(&self, random: &mut Random) -> usize {
        1 + random.below(self.rows.len() as u64 - 3) as usize
    }

    fn spoil_row(&mut self, random: &mut Random, rule: Rule, change: impl FnOnce(&mut FetchedBar)) -> Fault {
        let place = self.place_of(random);
        change(&mut self.rows[place]);
        (date(&self.rows[place]), rule)
    }

    fn spoil_value(&mut self, random: &mut Random) -> Fault {
        let value = |number: i64| Field::Value(Decimal::from(number));
        match random.below(11) {
            0 => self.spoil_row(random, Rule::PriceNotPositive, |row| row.open = value(-1)),
            1 => self.spoil_row(random, Rule::MissingValue, |row| row.close = Field::Missing),
            2 => self.spoil_row(random, Rule::LowAboveOpenOrClose, |row| {
                row.low = times(&row.high, Decimal::TWO);
                row.high = times(&row.high, Decimal::from(3));
            }),
            3 => {
                self.spoil_row(random, Rule::AveragePrice, |row| row.volume = times(&row.volume, Decimal::ONE_HUNDRED))
            }
            4 => self.spoil_row(random, Rule::AveragePrice, |row| row.amount = times(&row.amount, Decimal::new(1, 3))),
            5 => self.spoil_row(random, Rule::HighBelowOpenOrClose, |row| row.high = value(1)),
            6 => self.spoil_row(random, Rule::VolumeNegative, |row| row.volume = value(-5)),
            7 => self.spoil_row(random, Rule::AmountNegative, |row| row.amount = value(-5)),
            8 => self.spoil_row(random, Rule::UnreadableValue, |row| row.low = Field::unreadable("n/a")),
            9 => self.spoil_row(random, Rule::ValueOutOfRange, |row| row.volume = value(1 << 40)),
            _ => self.spoil_row(random, Rule::PriceDecimals, |row| {
                let Field::Value(low) = row.low else { panic!("no value") };
                row.low = Field::Value(low - Decimal::new(4, 3));
            }),
        }
    }

    /// Repeats one bar on the next two days. The reference prices in the notes follow the changed closes.
    fn repeat(&mut self, random: &mut Random) -> Fault {
        let place = self.place_of(random);
        for later in [place + 1, place + 2] {
            let timestamp = self.rows[later].timestamp.clone();
            self.rows[later] = FetchedBar { timestamp, ..self.rows[place].clone() };
        }
        for pair in self.rows.windows(2) {
            let (close, next) = (fen(&pair[0].close), date(&pair[1]));
            let note = self.notes.iter_mut().find(|note| note.day == next);
            note.unwrap().reference = Some(Price::fen(close));
        }
        (date(&self.rows[place + 2]), Rule::StaleRepeat)
    }

    /// Halves all prices from a day on, without a change of the factor.
    fn halve(&mut self, random: &mut Random) -> Fault {
        let place = self.place_of(random);
        let from = date(&self.rows[place]);
        for row in &mut self.rows[place..] {
            let prices = [&row.open, &row.high, &row.low, &row.close].map(|field| fen(field) / 2);
            let Field::Value(lots) = row.volume else { panic!("no value") };
            *row = bar(date(row), prices, i64::try_from(lots).unwrap());
        }
        for note in self.notes.iter_mut().filter(|note| note.day >= from) {
            note.reference = note.reference.map(|price| Price(price.0 / 2));
        }
        (from, Rule::ExRight)
    }

    /// Injects one fault that suits the kind of share, mostly on a random day.
    pub fn spoil(&mut self, random: &mut Random) -> Fault {
        match (self.kind, random.below(4)) {
            (Kind::New, 0) => {
                let early =
                    self.listing.listed.and_then(|listed| TradingCalendar::built_in().previous(listed)).unwrap();
                let first =
                    FetchedBar { timestamp: Field::Value(early.and_time(NaiveTime::MIN)), ..self.rows[0].clone() };
                self.rows.insert(0, first);
                (early, Rule::BeforeListing)
            }
            (Kind::Leaving, 0) => {
                let late = self.listing.delisted.and_then(|last| TradingCalendar::built_in().next(last)).unwrap();
                let last = self.rows[self.rows.len() - 1].clone();
                self.rows.push(FetchedBar { timestamp: Field::Value(late.and_time(NaiveTime::MIN)), ..last });
                (late, Rule::AfterDelisting)
            }
            (Kind::Calm, 0) => self.repeat(random),
            (Kind::Usual | Kind::Calm | Kind::Special, 1) => self.halve(random),
            (Kind::Special, 0) if self.code.digits().starts_with("60") || self.code.digits().starts_with("00") => {
                // Within the limit of 10 %, but beyond the limit of 5 % for special treatment.
                self.spoil_row(random, Rule::PriceLimit, |row| {
                    let (open, low) = (fen(&row.open), fen(&row.low));
                    row.high = Field::Value(Decimal::new(open * 108 / 100, 2));
                    row.amount = Field::Value(Decimal::new(open.max(low) * 10_000, 3));
                    row.volume = Field::Value(Decimal::from(10_000));
                })
            }
            (Kind::Usual | Kind::Calm | Kind::ExRight | Kind::Suspended, 2) => {
                self.spoil_row(random, Rule::PriceLimit, |row| row.high = times(&row.high, Decimal::TWO))
            }
            (Kind::Usual | Kind::Calm, 3) => {
                let place = self.place_of(random);
                let copy = self.rows[place].clone();
                self.rows.insert(place, copy);
                (date(&self.rows[place]), Rule::DuplicateTimestamp)
            }
            (Kind::Usual | Kind::Untold, 0) => {
                // A copy of the last bar before the holiday.
                let holiday = day(HOLIDAY);
                let place = self.rows.partition_point(|row| date(row) < holiday).saturating_sub(1);
                let timestamp = Field::Value(holiday.and_time(NaiveTime::MIN));
                self.rows.push(FetchedBar { timestamp, ..self.rows[place].clone() });
                (holiday, Rule::NonTradingDay)
            }
            _ => self.spoil_value(random),
        }
    }
}
