// Upstream: cargo
// Downstream: actors::bar_rules, actors::domain::bar, actors::domain::calendar, actors::domain::code, actors::domain::frequency, actors::domain::notification, actors::domain::task, actors::quality_alerts, actors::quality_summary, actors::settings, actors::ticket, actors::validator
// Role: A generated month with known faults: how many of them are found, and how much of what is found is one.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{Days, NaiveDate, NaiveDateTime, NaiveTime};
use rust_decimal::Decimal;

use crate::bar_rules::BarContext;
use crate::domain::calendar::TradingCalendar;
use crate::domain::{Code, DateRange, FetchedBar, Field, Frequency, Rule, SourceId, Subject};
use crate::quality_alerts::QualityAlerts;
use crate::quality_summary::QualitySummary;
use crate::settings::QualitySettings;
use crate::ticket::TaskReport;
use crate::validator::{Checked, check_all};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// From before the Spring Festival of 2024 until after it.
fn month() -> DateRange {
    DateRange { start: day("2024-01-22"), end: day("2024-03-08") }
}

const BOARDS: [&str; 4] = ["60", "00", "30", "68"];

fn code(number: u64) -> Code {
    let board = BOARDS[number as usize % BOARDS.len()];
    format!("{board}0{:03}", number / BOARDS.len() as u64 % 1_000).parse().unwrap()
}

fn bar(date: NaiveDate, prices: [i64; 4], lots: i64) -> FetchedBar {
    let price = |fen: i64| Field::Value(Decimal::new(fen, 2));
    let [open, high, low, close] = prices.map(price);
    // Thousand yuan: the mean of highest and lowest, in fen, by 100 shares a lot.
    let amount = Field::Value(Decimal::new((prices[1] + prices[2]) * lots * 5, 4));
    let timestamp = Field::Value(date.and_time(NaiveTime::MIN));
    FetchedBar { timestamp, open, high, low, close, volume: Field::Value(Decimal::from(lots)), amount }
}

/// A share's quiet days; an ex-right halves its price, a new share jumps in its first five days.
fn quiet_days(random: &mut Random, kind: u64) -> Vec<FetchedBar> {
    let mut close = 500 + random.below(20_000) as i64;
    let days = TradingCalendar::built_in().trading_days(month());
    let is_new = kind % 10 == 1;
    let listed = if is_new { random.below(10) as usize } else { 0 };
    let mut rows = Vec::new();
    for (number, date) in days.iter().enumerate().skip(listed) {
        if kind % 10 == 2 && number == 12 {
            close /= 2;
        }
        let is_first = is_new && number < listed + 5;
        let moved = if is_first { random.below(800) as i64 } else { random.below(190) as i64 - 95 };
        let (open, next) = (close, (close * (1_000 + moved) / 1_000).max(100));
        rows.push(bar(*date, [open, open.max(next), open.min(next), next], 1_000 + random.below(90_000) as i64));
        close = next;
    }
    // A suspended share has no rows for some days.
    if kind % 10 == 3 {
        rows.drain(8..14);
    }
    rows
}

type Fault = (NaiveDate, Rule);

fn date(row: &FetchedBar) -> NaiveDate {
    let Field::Value(time) = row.timestamp else { panic!("no time") };
    time.date()
}

fn times(field: &Field<Decimal>, factor: Decimal) -> Field<Decimal> {
    let Field::Value(value) = field else { panic!("no value") };
    Field::Value(value * factor)
}

/// Puts one fault in, of a kind and on a day by chance.
fn spoil(rows: &mut Vec<FetchedBar>, random: &mut Random) -> Fault {
    let mut place = 1 + random.below(rows.len() as u64 - 3) as usize;
    let holiday = day("2024-02-13");
    let kind = random.below(9);
    if kind == 7 {
        // The last day before the festival once more.
        place = rows.partition_point(|row| date(row) < holiday).saturating_sub(1);
    }
    let row = &mut rows[place];
    let rule = match kind {
        0 => {
            row.open = Field::Value(Decimal::from(-1));
            Rule::PriceNotPositive
        }
        1 => {
            row.close = Field::Missing;
            Rule::MissingValue
        }
        2 => {
            row.low = times(&row.high, Decimal::TWO);
            row.high = times(&row.high, Decimal::from(3));
            Rule::LowAboveOpenOrClose
        }
        3 => {
            row.volume = times(&row.volume, Decimal::ONE_HUNDRED);
            Rule::AveragePrice
        }
        4 => {
            row.amount = times(&row.amount, Decimal::new(1, 3));
            Rule::AveragePrice
        }
        5 => {
            row.high = times(&row.high, Decimal::TWO);
            Rule::PriceLimit
        }
        6 => {
            let copy = rows[place].clone();
            rows.insert(place, copy);
            Rule::DuplicateTimestamp
        }
        7 => {
            let timestamp = Field::Value(holiday.and_time(NaiveTime::MIN));
            rows.push(FetchedBar { timestamp, ..rows[place].clone() });
            return (holiday, Rule::NonTradingDay);
        }
        _ => {
            for later in [place + 1, place + 2] {
                let timestamp = rows[later].timestamp.clone();
                rows[later] = FetchedBar { timestamp, ..rows[place].clone() };
            }
            return (date(&rows[place + 2]), Rule::StaleRepeat);
        }
    };
    (date(&rows[place]), rule)
}

fn checked(code: Code, rows: &[FetchedBar], range: DateRange, quality: &QualitySettings) -> Checked {
    check_all(rows, &BarContext { code, frequency: Frequency::Day, range, source: SourceId::TUSHARE }, quality)
}

/// Precision and recall.
fn score<T: Ord>(truth: &BTreeSet<T>, found: &BTreeSet<T>) -> (f64, f64) {
    let hits = truth.intersection(found).count() as f64;
    (hits / found.len() as f64, hits / truth.len() as f64)
}

#[test]
fn more_than_95_percent_of_bad_rows_are_found_and_of_what_is_found_is_bad() {
    let mut random = Random(5);
    let quality = QualitySettings { max_examples: 1_000, ..QualitySettings::default() };
    let (mut truth, mut found) = (BTreeSet::new(), BTreeSet::new());
    for number in 0..2_000 {
        let code = code(number);
        let mut rows = quiet_days(&mut random, number / 7);
        if number.is_multiple_of(4) {
            let (date, rule) = spoil(&mut rows, &mut random);
            truth.insert((number, date, rule));
        }
        rows.reverse(); // as Tushare gives them
        let told = checked(code, &rows, month(), &quality).anomalies;
        found.extend(told.iter().map(|anomaly| (number, anomaly.timestamp.unwrap().date(), anomaly.rule)));
    }
    let (precision, recall) = score(&truth, &found);
    println!("bad rows: {} faults, precision {precision:.4}, recall {recall:.4}", truth.len());
    assert!(precision > 0.95 && recall > 0.95, "precision {precision}, recall {recall}");
}

/// An evening's truth.
#[derive(Clone, Copy)]
enum Trouble {
    None,
    Missing(u64),
    Late(u64),
    Bad(u64),
}

#[test]
fn more_than_95_percent_of_bad_evenings_raise_their_alert_and_no_good_one_does() {
    let mut random = Random(7);
    let quality = QualitySettings::default();
    let (mut truth, mut found) = (BTreeSet::new(), BTreeSet::new());
    let mut alerts = QualityAlerts::default();
    let begin = Instant::now();
    let (first, nights) = (day("2024-01-02"), 180);
    let mut num_days = 0;
    for night in 0..nights {
        let today = first.checked_add_days(Days::new(night)).unwrap();
        let is_open = TradingCalendar::built_in().is_trading_day(today) == Some(true);
        num_days += u64::from(is_open);
        let share = random.below(300);
        // Every second trading day has a trouble; shares and minutes on both sides of the limits for warning and error.
        let trouble = match if is_open { num_days % 8 } else { 0 } {
            1 => Trouble::Missing(70 + share),
            3 => Trouble::Late(310 + share),
            5 => Trouble::Late(610 + share),
            7 => Trouble::Bad(5 + share),
            _ => Trouble::None,
        };
        let expected = match trouble {
            Trouble::None => None,
            Trouble::Missing(share) => Some(("data_missing", if share > 200 { "ERROR" } else { "WARNING" })),
            Trouble::Late(seconds) => Some(("data_delayed", if seconds > 600 { "ERROR" } else { "WARNING" })),
            Trouble::Bad(share) => Some(("validation_error", if share > 50 { "ERROR" } else { "WARNING" })),
        };
        truth.extend(expected.map(|(kind, level)| (night, kind.to_owned(), level)));
        let summary = evening(today, is_open, trouble, &mut random, &quality);
        let now = begin + Duration::from_secs(night * 86_400);
        for alert in alerts.judge(&summary, &quality, now) {
            let level = match alert.level {
                crate::domain::Level::Info => continue, // the end of one
                crate::domain::Level::Warning => "WARNING",
                crate::domain::Level::Error => "ERROR",
            };
            found.insert((night, alert.data["alert_type"].as_str().unwrap().to_owned(), level));
        }
    }
    let (precision, recall) = score(&truth, &found);
    println!("evenings: {} troubles, precision {precision:.4}, recall {recall:.4}", truth.len());
    assert!(precision > 0.95 && recall > 0.95, "precision {precision}, recall {recall}: {truth:?} {found:?}");
}

/// A thousand shares asked for today's row at eight; up to 1.5 % are suspended, for which nobody is to blame.
fn evening(
    today: NaiveDate,
    is_open: bool,
    trouble: Trouble,
    random: &mut Random,
    quality: &QualitySettings,
) -> QualitySummary {
    let now = NaiveDateTime::new(today, NaiveTime::from_hms_opt(20, 0, 0).unwrap());
    let num_suspended = random.below(15);
    let mut summary = QualitySummary::default();
    for number in 0..1_000 {
        let is_missing = match trouble {
            Trouble::Missing(share) => number < share,
            _ => number < num_suspended,
        };
        let mut row = bar(today, [1_000, 1_010, 990, 1_005], 1_000);
        if matches!(trouble, Trouble::Bad(share) if number >= 1_000 - share) {
            row.close = Field::Missing;
        }
        let rows: Vec<FetchedBar> = (is_open && !is_missing).then_some(row).into_iter().collect();
        let range = DateRange { start: today, end: today };
        let mut checked = checked(code(number), &rows, range, quality);
        checked.expect(range, Frequency::Day, now);
        let report = TaskReport { counts: checked.counts, anomalies: checked.anomalies, backfill: None };
        let delay = if let Trouble::Late(seconds) = trouble { seconds } else { random.below(200) };
        summary.add_finished(Subject::Code(code(number)), &report, Some(Duration::from_secs(delay)), quality);
    }
    summary
}
