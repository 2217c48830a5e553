// Upstream: checks, run, scenario
// Downstream: actors
// Role: The vendor's data of a simulation, their corrections, and all answers that it ever gave.

use std::collections::BTreeSet;
use std::sync::Arc;

use actors::domain::{
    AdjustFactor, Code, FetchedFactor, FetchedStock, FetchedTick, FetchedTradeDay, Field, Frequency, Millionths,
    RawFactor, SourceId,
};
use actors::simulation::{ModelSource, ModelStore, StoredKey, bar_on, code};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use rust_decimal::Decimal;

/// The days with data.
pub const DAYS: [&str; 5] = ["2024-01-08", "2024-01-09", "2024-01-10", "2024-01-11", "2024-01-12"];

/// The minutes of the trades of a day. Two trades of a minute are equal.
const TRADES: [(u32, u32); 3] = [(9, 30), (9, 30), (10, 15)];

/// The kinds of data that have a table of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Daily bars.
    Bars,
    /// Adjustment factors.
    Factors,
    /// Ticks.
    Ticks,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Bars, Self::Factors, Self::Ticks];

    /// The name in alerts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bars => "bars",
            Self::Factors => "factors",
            Self::Ticks => "ticks",
        }
    }

    /// The store's operation that inserts its rows.
    pub fn insertion(self) -> &'static str {
        match self {
            Self::Bars => "bars.insert",
            Self::Factors => "factors.insert",
            Self::Ticks => "ticks.insert",
        }
    }
}

/// A stored value: kind, security, time, and the number that identifies the answer (fen, or millionths of a factor).
pub type Value = (Kind, Code, NaiveDateTime, i64);

/// The vendor's data.
pub struct Market {
    source: Arc<ModelSource>,
    /// Number of securities, from 1 on.
    pub num_codes: u32,
    /// Number of days that are over.
    pub num_days: usize,
    versions: Vec<[[i64; DAYS.len()]; 3]>,
    ever: BTreeSet<Value>,
}

fn day(number: usize) -> NaiveDate {
    DAYS[number].parse().expect("a day")
}

fn midnight(number: usize) -> NaiveDateTime {
    day(number).and_time(NaiveTime::MIN)
}

impl Market {
    /// Offers the first answers.
    pub fn new(source: Arc<ModelSource>, num_codes: u32, num_days: usize) -> Self {
        let versions = vec![[[0; DAYS.len()]; 3]; num_codes as usize];
        let mut market = Self { source, num_codes, num_days, versions, ever: BTreeSet::new() };
        market.offer_lists();
        (1..=num_codes).for_each(|number| market.offer(number));
        market
    }

    /// Offers the next day.
    pub fn grow(&mut self) {
        self.num_days = DAYS.len().min(self.num_days + 1);
        (1..=self.num_codes).for_each(|number| self.offer(number));
    }

    /// Corrects one day of one kind and security.
    pub fn correct(&mut self, kind: Kind, number: u32, day: usize) {
        self.versions[number as usize - 1][kind as usize][day] += 1;
        self.offer(number);
    }

    /// The number that a day's answer is known by.
    fn answer(&self, kind: Kind, number: u32, day: usize) -> i64 {
        let version = self.versions[number as usize - 1][kind as usize][day];
        match kind {
            Kind::Bars | Kind::Ticks => 1000 + day as i64 + 10 * version,
            Kind::Factors => 1_000_000 + 100_000 * (day as i64 / 2) + version,
        }
    }

    fn offer(&mut self, number: u32) {
        let code = code(number);
        let bars = (0..self.num_days).map(|day| bar_on(DAYS[day], self.answer(Kind::Bars, number, day))).collect();
        let factor = |day| FetchedFactor {
            timestamp: Field::Value(midnight(day)),
            factor: Field::Value(Decimal::new(self.answer(Kind::Factors, number, day), 6)),
        };
        let factors = (0..self.num_days).map(factor).collect();
        let tick = |number_of_day: usize, (hour, minute): (u32, u32)| FetchedTick {
            timestamp: Field::Value(day(number_of_day).and_hms_opt(hour, minute, 0).expect("a time")),
            price: Field::Value(Decimal::new(self.answer(Kind::Ticks, number, number_of_day), 2)),
            volume: Field::Value(Decimal::ONE),
            direction: Field::Value(Decimal::ZERO),
        };
        let ticks: Vec<Vec<FetchedTick>> =
            (0..self.num_days).map(|day| TRADES.iter().map(|trade| tick(day, *trade)).collect()).collect();
        self.source.edit(|data| {
            data.bars.insert(code, bars);
            data.factors.insert(code, factors);
            for (number, ticks) in ticks.into_iter().enumerate() {
                data.ticks.insert((code, day(number)), ticks);
            }
        });
        self.ever.extend(self.values_of(number));
    }

    fn offer_lists(&self) {
        let stock = |number: u32| FetchedStock {
            code: Field::Value(code(number).to_string()),
            name: Field::Value(format!("Share {number}")),
            industry: Field::Value("Bank".to_owned()),
            list_date: Field::Value(midnight(0)),
            delist_date: Field::Missing,
        };
        let trade_day =
            |number| FetchedTradeDay { date: Field::Value(midnight(number)), is_open: Field::Value(Decimal::ONE) };
        self.source.edit(|data| {
            data.stocks = (1..=self.num_codes).map(stock).collect();
            data.trade_days = (0..DAYS.len()).map(trade_day).collect();
        });
    }

    fn values_of(&self, number: u32) -> Vec<Value> {
        let mut values = Vec::new();
        for day_number in 0..self.num_days {
            let answer = |kind| self.answer(kind, number, day_number);
            values.push((Kind::Bars, code(number), midnight(day_number), answer(Kind::Bars)));
            values.push((Kind::Factors, code(number), midnight(day_number), answer(Kind::Factors)));
            for (hour, minute) in TRADES {
                let time = day(day_number).and_hms_opt(hour, minute, 0).expect("a time");
                values.push((Kind::Ticks, code(number), time, answer(Kind::Ticks)));
            }
        }
        values
    }

    /// Each kind and security.
    pub fn subjects(&self) -> Vec<(Kind, Code)> {
        (1..=self.num_codes).flat_map(|number| Kind::ALL.map(|kind| (kind, code(number)))).collect()
    }

    /// Whether the vendor ever gave this answer.
    pub fn ever_gave(&self, value: &Value) -> bool {
        self.ever.contains(value)
    }

    /// The vendor's answers now, sorted.
    pub fn values(&self) -> Vec<Value> {
        let mut values: Vec<Value> = (1..=self.num_codes).flat_map(|number| self.values_of(number)).collect();
        values.sort();
        values
    }

    /// What a reader must find once these days of a kind and a security were fetched.
    pub fn keys(kind: Kind, code: Code, num_days: usize) -> BTreeSet<StoredKey> {
        let of = |day_number: usize| -> Vec<StoredKey> {
            match kind {
                Kind::Bars => vec![StoredKey::Bar(code, Frequency::Day, midnight(day_number))],
                Kind::Factors => vec![StoredKey::Factor(code, midnight(day_number))],
                Kind::Ticks => TRADES
                    .iter()
                    .map(|(hour, minute)| {
                        StoredKey::Ticks(code, day(day_number).and_hms_opt(*hour, *minute, 0).expect("a time"))
                    })
                    .collect(),
            }
        };
        (0..num_days).flat_map(of).collect()
    }

    /// The whole series of factors of a security, as it must be stored.
    pub fn series(&self, number: u32) -> Vec<AdjustFactor> {
        let raw = |day| RawFactor {
            timestamp: midnight(day),
            factor: Millionths(self.answer(Kind::Factors, number, day)),
            source: SourceId::TUSHARE,
        };
        let rows: Vec<RawFactor> = (0..self.num_days).map(raw).collect();
        let (first, last) = (rows[0].factor, rows[self.num_days - 1].factor);
        rows.iter().filter_map(|row| AdjustFactor::of(code(number), *row, first, last)).collect()
    }
}

/// All stored values, sorted.
pub fn stored(store: &ModelStore) -> Vec<Value> {
    let bars = store.bars().into_iter().map(|(_, bar)| (Kind::Bars, bar.code, bar.timestamp, bar.close.to_fen()));
    let factors = store.factors().into_iter().map(|row| (Kind::Factors, row.code, row.raw.timestamp, row.raw.factor.0));
    let ticks = store.ticks().into_iter().map(|tick| (Kind::Ticks, tick.code, tick.timestamp, tick.price.to_fen()));
    let mut values: Vec<Value> = bars.chain(factors).chain(ticks).collect();
    values.sort();
    values
}
