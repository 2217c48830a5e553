// Upstream: cargo
// Downstream: domain, market, settings
// Role: Tests of the market rules with real bars and with bars that break the rules.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

use crate::domain::{Bar, Frequency, Hundredths, KnownDays, MarketFacts, Price, Rule, SourceId};
use crate::settings::rules::{RuleAction, RuleSettings};
use crate::validator::rules::market::{MarketRules, Violation};

/// Time, prices in fen, volume in lots, amount in units of ten yuan.
type Row = (&'static str, [i64; 4], i32, i64);

fn bar(code: &str, frequency: Frequency, (time, [open, high, low, close], volume, amount): Row) -> Bar {
    let format = if time.len() > 10 { time.to_owned() } else { format!("{time} 00:00:00") };
    Bar {
        code: code.parse().unwrap(),
        frequency,
        timestamp: NaiveDateTime::parse_from_str(&format, "%Y-%m-%d %H:%M:%S").unwrap(),
        open: Price::fen(open),
        high: Price::fen(high),
        low: Price::fen(low),
        close: Price::fen(close),
        volume,
        amount: Hundredths(amount),
        source: SourceId::TUSHARE,
    }
}

/// A context without listing, notes and factors.
fn nothing() -> KnownDays {
    let facts = MarketFacts::built_in(NaiveDate::from_ymd_opt(2024, 2, 1).unwrap());
    KnownDays::new(facts.into(), Vec::new(), None)
}

fn judged(code: &str, frequency: Frequency, rows: &[Row], rules: &RuleSettings) -> Vec<(String, Rule)> {
    let known = nothing();
    let mut market = MarketRules::new(rules, code.parse().unwrap(), &known);
    let violation = rows.iter().flat_map(|row| market.judge(&bar(code, frequency, *row)));
    violation.map(|violation| (violation.anomaly.timestamp.unwrap().to_string(), violation.anomaly.rule)).collect()
}

/// Valid daily bars of January 2024.
const QUIET: [Row; 7] = [
    ("2024-01-02", [939, 942, 921, 921], 1_158_366, 107_574_225),
    ("2024-01-03", [919, 922, 915, 920], 733_610, 67_367_388),
    ("2024-01-04", [919, 919, 908, 911], 864_194, 78_763_484),
    ("2024-01-05", [910, 944, 907, 927], 1_991_622, 184_925_572),
    ("2024-01-08", [923, 930, 913, 915], 1_121_157, 103_377_004),
    ("2024-01-09", [914, 925, 913, 918], 759_100, 69_726_000),
    ("2024-01-10", [915, 921, 908, 909], 702_300, 64_233_000),
];

fn days(code: &str, rows: &[Row]) -> Vec<(String, Rule)> {
    judged(code, Frequency::Day, rows, &RuleSettings::default())
}

fn only(day: &str, rule: Rule) -> Vec<(String, Rule)> {
    vec![(format!("{day} 00:00:00"), rule)]
}

/// Twelve real years of a share, with suspensions, ex-rights of up to -55 %, its first trading days and days locked at
/// the limit.
#[test]
fn real_years_break_nothing() {
    let text = include_str!("../../../../data/sample/002032.SZ.daily.csv");
    let (rules, known) = (RuleSettings::default(), nothing());
    let mut market = MarketRules::new(&rules, "002032.SZ".parse().unwrap(), &known);
    let mut violation = Vec::new();
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |cell: usize, digits: f64| (cells[cell].parse::<f64>().unwrap() * digits).round() as i64;
        let date = NaiveDate::parse_from_str(cells[0], "%Y%m%d").unwrap().to_string();
        let prices = [5, 3, 4, 2].map(|cell| number(cell, 100.0));
        let row = bar("002032.SZ", Frequency::Day, ("2004-08-17", prices, (number(6, 0.01)) as i32, number(1, 0.1)));
        let timestamp = date.parse::<NaiveDate>().unwrap().and_time(NaiveTime::MIN);
        violation.extend(market.judge(&Bar { timestamp, ..row }));
    }
    assert_eq!(market.num_before, 2_813);
    assert_eq!(violation, []);
}

#[test]
fn quiet_days_break_nothing() {
    assert_eq!(days("000001.SZ", &QUIET), []);
}

#[test]
fn price_limit_applies_after_the_first_days() {
    let jump = |high, close| ("2024-01-11", [915, high, 910, close], 100, 9_500);
    let with = |row: Row| QUIET.into_iter().chain([row]).collect::<Vec<_>>();
    assert_eq!(days("000001.SZ", &with(jump(1_000, 1_000))), [], "9.09 may rise to 10.00");
    assert_eq!(days("000001.SZ", &with(jump(1_001, 1_000))), only("2024-01-11", Rule::PriceLimit));
    assert_eq!(days("300750.SZ", &with(jump(1_001, 1_000))), [], "ChiNext has 20 %");
    let halved = ("2024-01-11", [455, 460, 450, 455], 100, 4_550);
    assert_eq!(days("000001.SZ", &with(halved)), [], "an ex-right halves the price");
    let torn = ("2024-01-11", [455, 500, 400, 455], 100, 4_550);
    assert_eq!(days("000001.SZ", &with(torn)), only("2024-01-11", Rule::PriceLimit));
    let new_share: Vec<Row> = QUIET.into_iter().take(3).chain([jump(3_000, 950)]).collect();
    assert_eq!(days("000001.SZ", &new_share), [], "the first days of a security may have no limit");
}

#[test]
fn warns_about_bar_on_a_holiday() {
    let spring = ("2024-02-12", [915, 921, 908, 909], 100, 9_150);
    assert_eq!(days("000001.SZ", &[spring]), only("2024-02-12", Rule::NonTradingDay));
    let working_sunday = ("2024-02-04", [915, 921, 908, 909], 100, 9_150);
    assert_eq!(days("000001.SZ", &[working_sunday]), only("2024-02-04", Rule::NonTradingDay));
}

#[test]
fn amount_and_volume_must_fit_the_prices() {
    let [first, ..] = QUIET;
    let with = |volume, amount| days("000001.SZ", &[(first.0, first.1, volume, amount)]);
    let wrong = only("2024-01-02", Rule::AveragePrice);
    assert_eq!(with(115_836_600, first.3), wrong, "shares instead of lots");
    assert_eq!(with(first.2, first.3 / 1_000), wrong, "millions instead of thousands");
    assert_eq!(with(first.2, 0), wrong);
    assert_eq!(with(0, 0), [], "a day without a trade");
    assert_eq!(with(0, 50), [], "less than a lot");
    assert_eq!(with(1, 96), [], "within the rounding tolerance");
}

/// The table of kinds in docs/operations.md, row by row.
#[test]
fn each_kind_of_security_is_judged_by_its_rules() {
    let jump: Vec<Row> = QUIET.into_iter().chain([("2024-01-11", [915, 1_300, 910, 1_300], 100, 9_500)]).collect();
    let [first, ..] = QUIET;
    let wrong_unit = [(first.0, first.1, first.2, first.3 / 1_000)];
    let kinds: [(&[&str], bool, bool); 5] = [
        (&["600000.SH", "000001.SZ", "688981.SH", "689009.SH", "300750.SZ", "830799.BJ", "920799.BJ"], true, true),
        (&["900901.SH", "200002.SZ"], false, true),
        (&["510300.SH", "159915.SZ"], false, true),
        (&["113050.SH", "123001.SZ"], false, false),
        (&["000001.SH", "399001.SZ", "899050.BJ"], false, false),
    ];
    for (codes, has_limit, has_average) in kinds {
        for code in codes {
            let limit = if has_limit { only("2024-01-11", Rule::PriceLimit) } else { Vec::new() };
            assert_eq!(days(code, &jump), limit, "{code}");
            let average = if has_average { only("2024-01-02", Rule::AveragePrice) } else { Vec::new() };
            assert_eq!(days(code, &wrong_unit), average, "{code}");
        }
    }
}

#[test]
fn minute_amounts_have_a_wider_tolerance() {
    // 100 lots at 9.15 are 91.50 thousand yuan.
    let broken = |frequency, amount| {
        let row = ("2024-01-11", [915, 915, 915, 915], 100, amount);
        judged("688001.SH", frequency, &[row], &RuleSettings::default())
            .iter()
            .any(|(_, rule)| *rule == Rule::AveragePrice)
    };
    for (amount, daily, minutes) in
        [(9_150, false, false), (9_500, true, false), (6_000, true, false), (91_500, true, true)]
    {
        assert_eq!((broken(Frequency::Day, amount), broken(Frequency::Minute1, amount)), (daily, minutes), "{amount}");
    }
    let strict = RuleSettings { average_price_minute_tolerance_percent: 2, ..RuleSettings::default() };
    let row = ("2024-01-11", [915, 915, 915, 915], 100, 9_500);
    assert!(
        judged("688001.SH", Frequency::Minute1, &[row], &strict).iter().any(|(_, rule)| *rule == Rule::AveragePrice)
    );
}

#[test]
fn turnover_of_an_index_is_no_price() {
    // The size of a usual day: 307,142,000 lots for 341,995,000 thousand yuan, at 2,962 points.
    let day = ("2024-01-02", [297_228, 297_615, 296_207, 296_228], 307_142_000, 34_199_500_000);
    assert_eq!(days("000001.SH", &[day]), []);
}

#[test]
fn equal_days_one_after_the_other_are_stale() {
    let same = |day| (day, [915, 921, 908, 909], 702_300, 64_233_000);
    let rows = [same("2024-01-09"), same("2024-01-10"), same("2024-01-11")];
    assert_eq!(days("000001.SZ", &rows), only("2024-01-11", Rule::StaleRepeat));
    assert_eq!(days("000001.SZ", &rows[..2]), []);
    let idle = |day| (day, [909, 909, 909, 909], 0, 0);
    assert_eq!(days("000001.SZ", &[idle("2024-01-09"), idle("2024-01-10"), idle("2024-01-11")]), []);
}

#[test]
fn a_minute_bar_ends_on_the_grid_of_its_length() {
    let row = |time| (time, [915, 921, 908, 909], 10, 915);
    let at = |frequency, time| judged("000001.SZ", frequency, &[row(time)], &RuleSettings::default()).len();
    for time in ["2024-01-02 09:30:00", "2024-01-02 09:35:00", "2024-01-02 11:30:00", "2024-01-02 13:05:00"] {
        assert_eq!(at(Frequency::Minute5, time), 0, "{time}");
    }
    for time in ["2024-01-02 09:36:00", "2024-01-02 13:00:00", "2024-01-02 14:59:00"] {
        assert_eq!(at(Frequency::Minute5, time), 1, "{time}");
    }
    assert_eq!(at(Frequency::Minute60, "2024-01-02 10:30:00"), 0);
    assert_eq!(at(Frequency::Minute60, "2024-01-02 14:00:00"), 0);
    assert_eq!(at(Frequency::Minute60, "2024-01-02 11:00:00"), 1);
    assert_eq!(at(Frequency::Minute1, "2024-01-02 14:59:00"), 0);
}

#[test]
fn a_rule_can_be_ignored_and_can_skip() {
    let spring = ("2024-02-12", [915, 921, 908, 909], 100, 9_150);
    let ignoring = RuleSettings { non_trading_day: RuleAction::Ignore, ..RuleSettings::default() };
    assert_eq!(judged("000001.SZ", Frequency::Day, &[spring], &ignoring), []);
    let strict = RuleSettings { non_trading_day: RuleAction::Error, ..RuleSettings::default() };
    let known = nothing();
    let mut market = MarketRules::new(&strict, "000001.SZ".parse().unwrap(), &known);
    let violation = market.judge(&bar("000001.SZ", Frequency::Day, spring));
    assert!(matches!(violation.as_slice(), [Violation { skips: true, .. }]), "{violation:?}");
    assert_eq!(market.num_before, 0, "later bars are not compared with a skipped bar");
}
