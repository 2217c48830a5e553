// Upstream: cargo
// Downstream: bars, domain, generated_month, settings, validator
// Role: Measures how often each rule reports valid bars, by kind of security: twelve real years and generated months.

//! The generated bars are valid by construction, and as uneven as real ones: moves up to the limits, days locked at a
//! limit, suspensions, ex-rights, third decimals, truncated lots, trades after the session, minutes whose amount and
//! volume disagree. Half of the codes come with a source's notes (reference price, suspension), half without.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{Duration, NaiveDate, NaiveDateTime, NaiveTime};
use rust_decimal::Decimal;

use crate::domain::calendar::TradingCalendar;
use crate::domain::security_kind::SecurityKind;
use crate::domain::{
    Code, DateRange, DayNote, DayTotal, FactorChanges, FetchedBar, Field, Frequency, KnownDays, Listing, MarketFacts,
    Millionths, Price, PriceFormat, Rule, SourceId, TaskCounts,
};
use crate::settings::QualitySettings;
use crate::validator::check_bars::check_all;
use crate::validator::rules::bars::BarContext;
use crate::validator::rules::generated_month::{Random, day};

/// SC-013: at most this share of valid rows may be reported.
const MAX_PERCENT: f64 = 5.0;

/// Codes of a kind, the decimals of its prices, and its daily limit in percent.
struct Kind {
    name: &'static str,
    blocks: &'static [&'static str],
    decimals: u32,
    limit: i64,
}

const KINDS: [Kind; 8] = [
    Kind { name: "share, main boards", blocks: &["600%.SH", "000%.SZ", "002%.SZ"], decimals: 2, limit: 10 },
    Kind { name: "share, ChiNext", blocks: &["300%.SZ", "301%.SZ"], decimals: 2, limit: 20 },
    Kind { name: "share, STAR", blocks: &["688%.SH", "689%.SH"], decimals: 2, limit: 20 },
    Kind { name: "share, Beijing", blocks: &["920%.BJ", "830%.BJ"], decimals: 2, limit: 30 },
    Kind { name: "B share", blocks: &["900%.SH", "200%.SZ"], decimals: 3, limit: 10 },
    Kind { name: "fund", blocks: &["510%.SH", "159%.SZ"], decimals: 3, limit: 10 },
    Kind { name: "bond", blocks: &["113%.SH", "123%.SZ"], decimals: 3, limit: 20 },
    Kind { name: "index", blocks: &["000%.SH", "399%.SZ"], decimals: 2, limit: 9 },
];

/// Codes of each kind, with a year of daily bars each.
const CODES: u64 = 40;

fn year() -> DateRange {
    // It includes the first weeks of trades after the session for all shares.
    DateRange { start: day("2025-09-01"), end: day("2026-08-31") }
}

/// A generated security.
struct Series {
    code: Code,
    daily: Vec<FetchedBar>,
    notes: Vec<DayNote>,
    factors: FactorChanges,
}

fn number(units: i64, decimals: u32) -> Field<Decimal> {
    Field::Value(Decimal::new(units, decimals))
}

fn value(field: &Field<Decimal>) -> Decimal {
    *field.value().unwrap()
}

/// The amount in thousand yuan of these lots at an average price of `units`.
fn amount(kind: SecurityKind, units: i64, decimals: u32, lots: i64, random: &mut Random) -> Field<Decimal> {
    match kind {
        // The sum over the members, which has nothing to do with the index.
        SecurityKind::Index => number(10_000_000 + random.below(90_000_000) as i64, 2),
        // Lots of ten pieces.
        SecurityKind::Bond => number(units * lots * 10, decimals + 3),
        _ => number(units * lots * 100, decimals + 3),
    }
}

impl Series {
    fn new(kind: &Kind, nth: u64, random: &mut Random) -> Self {
        let block = kind.blocks[nth as usize % kind.blocks.len()];
        let code: Code = block.replace('%', &format!("{:03}", 100 + nth)).parse().unwrap();
        let security = SecurityKind::of(code);
        let is_share = matches!(security, SecurityKind::Share(_));
        let mut close = 800 + random.below(20_000) as i64;
        let mut series = Self { code, daily: Vec::new(), notes: Vec::new(), factors: no_change() };
        let mut suspended_for = 0;
        for date in TradingCalendar::built_in().trading_days(year()).iter().copied() {
            if is_share && random.below(150) == 0 {
                suspended_for = 1 + random.below(30);
            }
            let is_suspended = suspended_for > 0;
            suspended_for -= u64::from(is_suspended);
            if is_share && !is_suspended && close > 800 && random.below(200) == 0 {
                let Millionths(last) = series.factors.since.last().unwrap().1;
                series.factors.since.push((date, Millionths(last * 2)));
                close = (close + 1) / 2;
            }
            let reference = Price::from_decimal(Decimal::new(close, kind.decimals));
            series.notes.push(DayNote { day: date, reference, is_suspended, is_special: Some(false) });
            if is_suspended {
                continue;
            }
            let (floor, ceiling) = limits(close, kind.limit);
            let within = |random: &mut Random| floor + random.below((ceiling - floor + 1) as u64) as i64;
            let near = |random: &mut Random| (close + random.below(41) as i64 - 20).clamp(floor, ceiling);
            let [open, low, high, next] = match random.below(20) {
                0 => [ceiling; 4], // locked at its limit
                1 => [within(random), floor, ceiling, within(random)],
                _ => {
                    let (open, next) = (near(random), near(random));
                    [open, open.min(next), open.max(next), next]
                }
            };
            let lots = 1 + random.below(200_000) as i64;
            let mean = low + random.below((high - low + 1) as u64) as i64;
            series.daily.push(FetchedBar {
                timestamp: Field::Value(date.and_time(NaiveTime::MIN)),
                open: number(open, kind.decimals),
                high: number(high, kind.decimals),
                low: number(low, kind.decimals),
                close: number(next, kind.decimals),
                // An odd number of shares, of which the fraction of a lot is truncated.
                volume: number(lots * 100 + random.below(100) as i64, 2),
                amount: amount(security, mean, kind.decimals, lots, random),
            });
            close = next;
        }
        if nth % 2 == 1 {
            series.notes.retain(|note| note.is_suspended);
        }
        series
    }

    fn known(&self) -> KnownDays {
        let listing =
            Listing { code: self.code, name: "A".to_owned(), listed: Some(day("2010-01-04")), delisted: None };
        let listings = Arc::new([(self.code, listing)].into_iter().collect());
        let facts = MarketFacts { listings, ..MarketFacts::built_in(year().end) };
        let mut known = KnownDays::new(facts.into(), self.notes.clone(), Some(self.factors.clone()));
        known.prices = PriceFormat::FINEST;
        known
    }

    /// The 5-minute bars of the last 40 days, and the stored daily bars of these days. Their source has no notes.
    fn minutes(&self, random: &mut Random) -> (Vec<FetchedBar>, KnownDays) {
        let mut known = KnownDays::new(self.known().facts, Vec::new(), None);
        known.prices = PriceFormat::FINEST;
        let mut bars = Vec::new();
        for row in self.daily.iter().rev().take(40).rev() {
            let Field::Value(time) = row.timestamp else { panic!("no time") };
            bars.extend(self.minutes_of(time.date(), row, random));
            let price = |field| Price::from_decimal(value(field)).unwrap();
            let volume = i64::try_from(value(&row.volume).trunc()).unwrap();
            let (high, low, close) = (price(&row.high), price(&row.low), price(&row.close));
            known.day_totals.push(DayTotal { day: time.date(), high, low, close, volume });
        }
        (bars, known)
    }

    fn minutes_of(&self, date: NaiveDate, row: &FetchedBar, random: &mut Random) -> Vec<FetchedBar> {
        let kind = SecurityKind::of(self.code);
        // Up to 30 % of the day's volume is traded after the session; every third vendor has a bar of it.
        let all = value(&row.volume).trunc();
        let after = match kind.trades_after_hours(date) {
            true => (all * Decimal::new(random.below(30) as i64, 2)).trunc(),
            false => Decimal::ZERO,
        };
        let share = ((all - after) / Decimal::from(48)).trunc();
        let mut left = all - after;
        let mut bars = Vec::new();
        for (nth, end) in ends(date).into_iter().enumerate() {
            let lots = if nth == 47 { left } else { share };
            left -= lots;
            let first = if nth == 0 { row.open.clone() } else { row.close.clone() };
            let (high, low) = if nth == 20 { (&row.high, &row.low) } else { (&row.close, &row.close) };
            let (high, low) = (value(high).max(value(&first)), value(low).min(value(&first)));
            // Amount and volume are cut at different trades.
            let noise = Decimal::new(80 + random.below(41) as i64, 2);
            let mean = (high + low) / Decimal::TWO * noise;
            let amount = if kind == SecurityKind::Index { value(&row.amount) } else { mean * lots / Decimal::TEN };
            bars.push(FetchedBar {
                timestamp: Field::Value(end),
                open: first,
                high: Field::Value(high),
                low: Field::Value(low),
                close: row.close.clone(),
                volume: Field::Value(lots),
                amount: Field::Value(amount.round_dp(3)),
            });
        }
        if !after.is_zero() && random.below(3) == 0 {
            let last = bars[47].clone();
            let amount = Field::Value((value(&row.close) * after / Decimal::TEN).round_dp(3));
            let timestamp = Field::Value(date.and_hms_opt(15, 30, 0).unwrap());
            let close = || row.close.clone();
            let flat = FetchedBar { open: close(), high: close(), low: close(), timestamp, ..last };
            bars.push(FetchedBar { volume: Field::Value(after), amount, ..flat });
        }
        bars
    }
}

/// The ends of a day's 5-minute bars.
fn ends(date: NaiveDate) -> Vec<NaiveDateTime> {
    let from = |hour, minute| date.and_hms_opt(hour, minute, 0).unwrap();
    let half = |start: NaiveDateTime| (1..=24).map(move |nth| start + Duration::minutes(5 * nth));
    half(from(9, 30)).chain(half(from(13, 0))).collect()
}

fn no_change() -> FactorChanges {
    FactorChanges { since: vec![(day("2010-01-04"), Millionths(1_000_000))], until: year().end }
}

/// The prices within the limit of a day, in units of the last decimal, rounded half up.
fn limits(close: i64, percent: i64) -> (i64, i64) {
    ((close * (100 - percent) + 50) / 100, (close * (100 + percent) + 50) / 100)
}

/// Rows, and reported rows of each rule.
#[derive(Default)]
struct Rates {
    num_rows: u64,
    reported: BTreeMap<Rule, u64>,
}

impl Rates {
    fn add(&mut self, code: Code, frequency: Frequency, rows: &[FetchedBar], known: &KnownDays, range: DateRange) {
        let context = BarContext { code, frequency, range, source: SourceId::TUSHARE, prices: known.prices };
        let TaskCounts { fetched, skipped, warned, .. } =
            check_all(rows, &context, known, &QualitySettings::default()).counts;
        self.num_rows += fetched;
        for (rule, number) in skipped.into_iter().chain(warned) {
            *self.reported.entry(rule).or_default() += number;
        }
    }

    /// Prints the rates, and asserts that each is below the limit.
    fn assert_low(&self, name: &str) {
        let percent = |number: u64| 100.0 * number as f64 / self.num_rows as f64;
        let rules: Vec<String> =
            self.reported.iter().map(|(rule, number)| format!("{} {:.3} %", rule.as_str(), percent(*number))).collect();
        println!(
            "| {name} | {} | {} |",
            self.num_rows,
            if rules.is_empty() { "none".to_owned() } else { rules.join(", ") }
        );
        for (rule, number) in &self.reported {
            assert!(percent(*number) < MAX_PERCENT, "{name}: {} reports {number} of {}", rule.as_str(), self.num_rows);
        }
    }
}

#[test]
fn no_rule_reports_five_percent_of_valid_bars() {
    let mut random = Random(11);
    for kind in &KINDS {
        let (mut daily, mut minutes) = (Rates::default(), Rates::default());
        for nth in 0..CODES {
            let series = Series::new(kind, nth, &mut random);
            daily.add(series.code, Frequency::Day, &series.daily, &series.known(), year());
            let (bars, known) = series.minutes(&mut random);
            minutes.add(series.code, Frequency::Minute5, &bars, &known, year());
        }
        assert!(daily.num_rows > 7_000 && minutes.num_rows >= CODES * 40 * 48, "{}", kind.name);
        daily.assert_low(&format!("{}, daily", kind.name));
        minutes.assert_low(&format!("{}, 5 minutes", kind.name));
    }
}

#[test]
fn no_rule_reports_real_years_of_a_share() {
    let text = include_str!("../../../../data/sample/002032.SZ.daily.csv");
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let cell = |at: usize| cells[at].parse::<Decimal>().unwrap();
        let date = NaiveDate::parse_from_str(cells[0], "%Y%m%d").unwrap();
        let price = |at: usize| Field::Value(cell(at));
        FetchedBar {
            timestamp: Field::Value(date.and_time(NaiveTime::MIN)),
            amount: Field::Value(cell(1) / Decimal::ONE_THOUSAND),
            close: price(2),
            high: price(3),
            low: price(4),
            open: price(5),
            volume: Field::Value(cell(6) / Decimal::ONE_HUNDRED),
        }
    };
    let rows: Vec<FetchedBar> = text.lines().skip(1).map(row).collect();
    let code = "002032.SZ".parse().unwrap();
    let known = KnownDays::new(MarketFacts::built_in(day("2016-08-18")).into(), Vec::new(), None);
    let mut rates = Rates::default();
    rates.add(code, Frequency::Day, &rows, &known, DateRange { start: day("2004-08-17"), end: day("2016-08-17") });
    assert_eq!(rates.num_rows, 2_813);
    rates.assert_low("002032.SZ, 2004 to 2016, daily");
    assert_eq!(rates.reported, BTreeMap::new());
}
