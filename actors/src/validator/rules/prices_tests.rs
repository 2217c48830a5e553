// Upstream: cargo
// Downstream: domain, market, settings
// Role: Tests of price limits and ex-rights: reference prices, first and last trading days, special treatment.

use chrono::{NaiveDate, NaiveTime};

use crate::domain::calendar::TradingCalendar;
use crate::domain::{
    Bar, Code, DateRange, DayNote, FactorChanges, Frequency, Hundredths, KnownDays, Listing, MarketFacts, Millionths,
    Price, Rule, SourceId,
};
use crate::settings::rules::RuleSettings;
use crate::validator::rules::market::MarketRules;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// A daily bar with these prices in fen.
fn bar(code: &str, date: &str, [open, high, low, close]: [i64; 4]) -> Bar {
    Bar {
        code: code.parse().unwrap(),
        frequency: Frequency::Day,
        timestamp: day(date).and_time(NaiveTime::MIN),
        open: Price::fen(open),
        high: Price::fen(high),
        low: Price::fen(low),
        close: Price::fen(close),
        volume: 1_000,
        amount: Hundredths((high + low) * 50),
        source: SourceId::TUSHARE,
    }
}

fn note(date: &str, reference: i64) -> DayNote {
    DayNote { day: day(date), reference: Some(Price::fen(reference)), is_suspended: false, is_special: None }
}

fn listing(code: &str, name: &str, listed: &str, delisted: Option<&str>) -> MarketFacts {
    let code: Code = code.parse().unwrap();
    let listing = Listing { code, name: name.to_owned(), listed: Some(day(listed)), delisted: delisted.map(day) };
    let listings = [(code, listing)].into_iter().collect();
    MarketFacts { listings: std::sync::Arc::new(listings), ..MarketFacts::built_in(day("2026-07-10")) }
}

fn old(code: &str) -> MarketFacts {
    listing(code, "旧", "1997-01-06", None)
}

/// The rules that the bars of one code break, each with its day.
fn violation(facts: MarketFacts, notes: Vec<DayNote>, factors: Option<FactorChanges>, bars: &[Bar]) -> Vec<String> {
    let rules = RuleSettings { stale_repeat_bars: 250, ..RuleSettings::default() };
    let known = KnownDays::new(facts.into(), notes, factors);
    let mut market = MarketRules::new(&rules, bars[0].code, &known);
    let violation = bars.iter().flat_map(|bar| market.judge(bar)).map(|violation| violation.anomaly);
    violation.map(|anomaly| format!("{} {}", anomaly.timestamp.unwrap().date(), anomaly.rule.as_str())).collect()
}

/// Whether a single bar breaks the price limits of this reference price.
fn breaks(code: &str, date: &str, facts: MarketFacts, reference: i64, prices: [i64; 4]) -> bool {
    let found = violation(facts, vec![note(date, reference)], None, &[bar(code, date, prices)]);
    assert!(found.is_empty() || found == [format!("{date} {}", Rule::PriceLimit.as_str())], "{found:?}");
    !found.is_empty()
}

#[test]
fn price_limits_use_reference_price_in_whole_fen() {
    let main = |prices| breaks("600000.SH", "2024-06-03", old("600000.SH"), 1_005, prices);
    assert!(!main([1_005, 1_106, 905, 1_000]), "11.055 is rounded up to 11.06, 9.045 to 9.05");
    assert!(main([1_005, 1_107, 905, 1_000]));
    assert!(main([1_005, 1_106, 904, 1_000]));
    let chinext = |date, prices| breaks("300001.SZ", date, old("300001.SZ"), 1_000, prices);
    assert!(!chinext("2020-08-24", [1_000, 1_200, 800, 1_000]));
    assert!(chinext("2020-08-21", [1_000, 1_200, 800, 1_000]));
    let beijing = |prices| breaks("830799.BJ", "2024-06-03", old("830799.BJ"), 1_000, prices);
    assert!(!beijing([1_000, 1_300, 700, 1_000]));
    assert!(beijing([1_000, 1_301, 700, 1_000]));
}

#[test]
fn special_treatment_comes_from_source_or_recent_name() {
    let special = |date: &str, is_special, facts| {
        let note = DayNote { is_special, ..note(date, 1_000) };
        !violation(facts, vec![note], None, &[bar("600518.SH", date, [1_000, 1_060, 1_000, 1_060])]).is_empty()
    };
    let code = "600518.SH";
    assert!(special("2020-05-06", Some(true), old(code)), "the source reports it: 5 %");
    assert!(!special("2020-05-06", Some(false), old(code)));
    assert!(
        !special("2020-05-06", None, listing(code, "*ST旧", "1997-01-06", None)),
        "the current name does not apply to 2020"
    );
    assert!(special("2026-07-03", None, listing(code, "*ST旧", "1997-01-06", None)), "the name was read a week later");
    assert!(!special("2026-07-06", None, listing(code, "*ST旧", "1997-01-06", None)), "10 % from then on");
    assert!(!special("2026-07-06", Some(true), old(code)));
}

#[test]
fn first_days_have_no_limit_or_issue_price_limit() {
    let new = |code: &str, listed: &str, date: &str, prices| {
        breaks(code, date, listing(code, "新", listed, None), 1_000, prices)
    };
    let (free, issue) = ([1_000, 3_000, 900, 2_500], [1_200, 1_440, 1_200, 1_440]);
    // Registration-based listing: five free days. 2023-04-10 is a Monday, so the sixth day is the next Monday.
    assert!(!new("601061.SH", "2023-04-10", "2023-04-14", free));
    assert!(new("601061.SH", "2023-04-10", "2023-04-17", free));
    assert!(!new("688981.SH", "2020-07-16", "2020-07-22", free));
    assert!(new("688981.SH", "2020-07-16", "2020-07-23", free));
    // Bound to the issue price: 64 % to 144 % of it on the first day.
    assert!(!new("603000.SH", "2015-04-27", "2015-04-27", issue));
    assert!(new("603000.SH", "2015-04-27", "2015-04-27", [1_200, 1_441, 1_200, 1_440]));
    assert!(new("603000.SH", "2015-04-27", "2015-04-28", issue));
    // One free day: Beijing, and Shanghai before December 2013.
    assert!(!new("920002.BJ", "2024-04-30", "2024-04-30", free));
    assert!(new("920002.BJ", "2024-04-30", "2024-05-06", free));
    assert!(!new("600900.SH", "2003-11-18", "2003-11-18", free));
}

#[test]
fn a_share_listed_again_has_no_limit_on_its_first_day() {
    let code = "000792.SZ";
    let again = |last: &str, next_high: i64| {
        let notes = vec![note("2021-08-10", 884), note("2021-08-11", 3_290)];
        let bars = [
            bar(code, last, [880, 890, 870, 884]),
            bar(code, "2021-08-10", [2_430, 4_390, 2_430, 3_290]),
            bar(code, "2021-08-11", [3_290, next_high, 3_000, 3_200]),
        ];
        violation(old(code), notes, None, &bars)
    };
    assert_eq!(again("2020-05-21", 3_619), Vec::<String>::new(), "the listing was suspended for more than a year");
    assert_eq!(again("2020-05-21", 3_620), ["2021-08-11 price_limit"], "10 % from the second day on");
    assert_eq!(again("2021-05-14", 3_619), ["2021-08-10 price_limit"], "60 trading days are an ordinary suspension");
    assert_eq!(again("2021-05-13", 3_619), Vec::<String>::new());
}

#[test]
fn first_day_after_old_stored_rows_has_no_limit() {
    let rules = RuleSettings::default();
    let broken = |newest: Option<&str>| {
        let mut known = KnownDays::new(old("000792.SZ").into(), vec![note("2021-08-10", 884)], None);
        known.newest_before = newest.map(day);
        let mut market = MarketRules::new(&rules, "000792.SZ".parse().unwrap(), &known);
        market.judge(&bar("000792.SZ", "2021-08-10", [2_430, 4_390, 2_430, 3_290])).len()
    };
    assert_eq!(broken(Some("2020-05-21")), 0, "an increment after more than a year");
    assert_eq!((broken(Some("2021-08-09")), broken(None)), (1, 1));
}

#[test]
fn suspensions_that_the_source_reports_count_without_a_row() {
    let code = "000792.SZ";
    let broken = |num_suspended: usize| {
        let range = DateRange { start: day("2021-01-04"), end: day("2021-08-09") };
        let before = TradingCalendar::built_in().trading_days(range);
        let suspended = before[before.len() - num_suspended..].iter().copied().map(DayNote::suspended);
        let notes = suspended.chain([note("2021-08-10", 884)]).collect();
        violation(old(code), notes, None, &[bar(code, "2021-08-10", [2_430, 4_390, 2_430, 3_290])])
    };
    assert_eq!(broken(61), Vec::<String>::new());
    assert_eq!(broken(60), ["2021-08-10 price_limit"]);
    assert_eq!(broken(0), ["2021-08-10 price_limit"]);
}

#[test]
fn a_delisting_period_by_name_is_not_judged() {
    let breaks = |name: &str, date: &str| {
        breaks("600000.SH", date, listing("600000.SH", name, "1999-11-10", None), 1_000, [900, 950, 300, 310])
    };
    assert!(!breaks("退市浦发", "2026-07-09") && !breaks("浦发退", "2026-06-15"), "its first day has no limit");
    assert!(breaks("*ST浦发", "2026-07-09"));
    assert!(breaks("退市浦发", "2026-05-06"), "the name is of two months later");
}

#[test]
fn warns_about_rows_outside_the_listing() {
    let facts = || listing("000005.SZ", "退市星源", "1990-12-10", Some("2024-04-26"));
    let flat = [100, 100, 100, 100];
    let last = bar("000005.SZ", "2024-04-26", flat);
    let gone = bar("000005.SZ", "2024-04-29", flat);
    assert_eq!(violation(facts(), vec![], None, &[last, gone]), ["2024-04-29 after_delisting"]);
    let facts = || listing("601061.SH", "新", "2023-04-10", None);
    let early = bar("601061.SH", "2023-04-07", flat);
    let first = bar("601061.SH", "2023-04-10", flat);
    assert_eq!(violation(facts(), vec![], None, &[early, first]), ["2023-04-07 before_listing"]);
}

#[test]
fn a_share_that_leaves_is_not_judged_in_its_last_days() {
    let facts = || listing("000005.SZ", "退市星源", "1990-12-10", Some("2024-04-26"));
    assert!(!breaks("000005.SZ", "2024-04-03", facts(), 100, [60, 60, 40, 45]));
    assert!(breaks("000005.SZ", "2024-03-01", facts(), 100, [60, 60, 40, 45]));
}

/// 002032.SZ on 2008-01-17, before its suspension, and on 2008-03-28, after an ex-right and locked at its limit: 22.92
/// is 10 % above 20.84.
const BEFORE: [i64; 4] = [5_405, 5_650, 5_001, 5_093];
const AFTER: [i64; 4] = [2_292, 2_292, 2_292, 2_292];

fn suspended(date: NaiveDate) -> DayNote {
    DayNote { day: date, reference: None, is_suspended: true, is_special: None }
}

fn suspension_of_2008() -> Vec<DayNote> {
    let range = DateRange { start: day("2008-01-18"), end: day("2008-03-27") };
    TradingCalendar::built_in().trading_days(range).iter().copied().map(suspended).collect()
}

fn changes(factors: &[(&str, i64)], until: &str) -> Option<FactorChanges> {
    let since = factors.iter().map(|(since, factor)| (day(since), Millionths(*factor))).collect();
    Some(FactorChanges { since, until: day(until) })
}

fn step(to: i64) -> Option<FactorChanges> {
    changes(&[("2008-01-02", 1_000_000), ("2008-03-28", to)], "2008-04-30")
}

fn of_2008() -> MarketFacts {
    listing("002032.SZ", "苏泊尔", "2004-08-17", None)
}

#[test]
fn reference_price_jump_needs_matching_factor() {
    let bars = [bar("002032.SZ", "2008-01-17", BEFORE), bar("002032.SZ", "2008-03-28", AFTER)];
    let found = |reference, factors| {
        let notes = [suspension_of_2008(), vec![note("2008-03-28", reference)]].concat();
        violation(of_2008(), notes, factors, &bars)
    };
    assert_eq!(found(2_084, step(2_443_858)), [""; 0], "50.93 / 2.443858 = 20.84");
    assert_eq!(found(2_084, step(1_000_000)), ["2008-03-28 ex_right"], "a factor that did not change");
    assert_eq!(found(2_084, step(2_400_000)), ["2008-03-28 ex_right"]);
    assert_eq!(found(2_084, None), [""; 0], "no stored factors, no check");
    let short = changes(&[("2008-01-02", 1_000_000)], "2008-03-27");
    assert_eq!(found(2_084, short), [""; 0], "factors that end earlier, no check");
    assert_eq!(found(5_093, step(2_443_858)), ["2008-03-28 price_limit", "2008-03-28 ex_right"], "price mismatch");
}

#[test]
fn last_close_carries_over_reported_suspension_only() {
    let bars = [bar("002032.SZ", "2008-03-28", AFTER), bar("002032.SZ", "2008-04-02", AFTER)];
    let found = |between: Vec<DayNote>| {
        let notes = [vec![note("2008-04-02", 2_000)], between].concat();
        let found = violation(of_2008(), notes, step(1_000_000), &bars);
        found.into_iter().filter(|text| text.ends_with("ex_right")).count()
    };
    assert_eq!(found(vec![suspended(day("2008-03-31")), suspended(day("2008-04-01"))]), 1);
    assert_eq!(found(vec![suspended(day("2008-03-31"))]), 0);
    assert_eq!(found(vec![]), 0);
}

#[test]
fn factors_adjust_previous_close_without_reference() {
    let judged = |factors, prices| {
        let bars = [bar("002032.SZ", "2008-01-17", BEFORE), bar("002032.SZ", "2008-03-28", prices)];
        violation(of_2008(), suspension_of_2008(), factors, &bars)
    };
    assert_eq!(judged(step(2_443_858), AFTER), [""; 0]);
    assert_eq!(judged(step(1_000_000), AFTER), ["2008-03-28 price_limit"], "55 % down without a factor change");
    assert_eq!(judged(step(2_443_858), [2_297, 2_297, 2_297, 2_297]), ["2008-03-28 price_limit"]);
    assert_eq!(judged(None, AFTER), [""; 0], "an ex-right is possible");
    assert_eq!(judged(None, [5_603, 5_603, 5_603, 5_603]), ["2008-03-28 price_limit"], "no ex-right raises a price");
}

#[test]
fn first_incremental_row_is_checked_against_stored_close() {
    let judged = |close_before: (&str, i64), notes, factors| {
        let rules = RuleSettings::default();
        let mut known = KnownDays::new(old("600000.SH").into(), notes, factors);
        known.close_before = Some((day(close_before.0), Price::fen(close_before.1)));
        let mut market = MarketRules::new(&rules, "600000.SH".parse().unwrap(), &known);
        let violation = market.judge(&bar("600000.SH", "2024-06-03", [1_000, 1_050, 1_000, 1_040]));
        violation.into_iter().map(|violation| violation.anomaly.rule).collect::<Vec<_>>()
    };
    assert_eq!(judged(("2024-05-31", 990), vec![], None), []);
    assert_eq!(judged(("2024-05-31", 900), vec![], None), [Rule::PriceLimit]);
    assert_eq!(judged(("2024-05-30", 900), vec![], None), [], "not the day before");
    let flat = changes(&[("2024-01-02", 1_000_000)], "2024-06-03");
    assert_eq!(judged(("2024-05-31", 1_100), vec![note("2024-06-03", 1_000)], flat), [Rule::ExRight]);
}
