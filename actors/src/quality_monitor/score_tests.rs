// Upstream: cargo
// Downstream: alert_draft, domain, settings, threshold_alerts, validator, validator::rules
// Role: Tests precision and recall of validation and alerts on generated data with known faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{Days, NaiveDate, NaiveDateTime, NaiveTime};

use crate::domain::calendar::TradingCalendar;
use crate::domain::{
    DateRange, DayNote, FetchedBar, Field, Frequency, KnownDays, Level, Listing, MarketFacts, PriceFormat,
    QualitySummary, SourceId, Subject, TaskReport,
};
use crate::quality_monitor::alert_draft::LoneAlerts;
use crate::quality_monitor::threshold_alerts::threshold_alerts;
use crate::settings::QualitySettings;
use crate::validator::check_bars::check_all;
use crate::validator::rules::bars::BarContext;
use crate::validator::rules::generated_month::{Random, Share, bar, code, day, month};

/// Asserts that precision and recall of each kind are above 95 %.
fn assert_scores<K: Ord + Copy + std::fmt::Debug, T: Ord>(
    what: &str,
    truth: &BTreeSet<T>,
    found: &BTreeSet<T>,
    kind: impl Fn(&T) -> K,
) {
    let mut scores: BTreeMap<K, [f64; 3]> = BTreeMap::new();
    for one in truth {
        let score = scores.entry(kind(one)).or_default();
        score[0] += 1.0;
        score[2] += f64::from(u8::from(found.contains(one)));
    }
    for one in found {
        scores.entry(kind(one)).or_default()[1] += 1.0;
    }
    assert!(!scores.is_empty());
    for (kind, [truth, found, hits]) in scores {
        let (precision, recall) = (hits / found.max(1.0), hits / truth.max(1.0));
        println!("{what}, {kind:?}: {truth} faults, precision {precision:.4}, recall {recall:.4}");
        assert!(precision > 0.95 && recall > 0.95, "{what}, {kind:?}: {truth} faults, {found} found, {hits} correct");
    }
}

#[test]
fn row_rules_reach_95_percent_precision_and_recall() {
    let mut random = Random(5);
    let quality = QualitySettings { max_examples: 1_000, ..QualitySettings::default() };
    let (mut truth, mut found) = (BTreeSet::new(), BTreeSet::new());
    let (mut num_missing, mut num_expected) = (0, 0);
    for number in 0..6_000 {
        let mut share = Share::quiet(number, &mut random);
        let is_spoilt = number % 3 == 0;
        if is_spoilt {
            let (date, rule) = share.spoil(&mut random);
            truth.insert((number, date, rule));
        }
        share.rows.reverse(); // Tushare returns the newest row first
        let context = BarContext {
            code: share.code,
            frequency: Frequency::Day,
            range: month(),
            source: SourceId::TUSHARE,
            prices: PriceFormat::GINKGO,
        };
        let known = share.known();
        let mut checked = check_all(&share.rows, &context, &known, &quality);
        checked.expect(&context, &known, month().end.and_hms_opt(20, 0, 0).unwrap());
        let is_exact = !known.notes().is_empty();
        if is_exact && !is_spoilt {
            num_expected += checked.counts.expected;
            num_missing += checked.counts.missing;
        }
        found.extend(checked.anomalies.iter().map(|anomaly| (number, anomaly.timestamp.unwrap().date(), anomaly.rule)));
    }
    assert_scores("bad rows", &truth, &found, |(_, _, rule)| *rule);
    let kinds: BTreeSet<_> = truth.iter().map(|(_, _, rule)| rule.as_str()).collect();
    assert_eq!(kinds.len(), 17, "{kinds:?}");
    assert!(num_expected > 80_000, "{num_expected}");
    assert_eq!(num_missing, 0, "new, delisted and suspended shares have no missing rows if the source reports it");
}

/// The injected fault of one evening.
#[derive(Clone, Copy)]
enum Trouble {
    None,
    /// Number of missing rows, of 1,000.
    Missing(u64),
    /// The delay of all rows, in seconds.
    Stalled(u64),
    /// Number of invalid rows.
    Bad(u64),
    /// Number of duplicated rows.
    Doubled(u64),
}

type Reported = (u64, &'static str, &'static str);

impl Trouble {
    fn expected(self, night: u64) -> Option<Reported> {
        let level = |is_error| if is_error { "ERROR" } else { "WARNING" };
        let (kind, is_error) = match self {
            Self::None => return None,
            Self::Missing(share) => ("data_missing", share > 200),
            Self::Stalled(seconds) => ("data_delayed", seconds > 600),
            Self::Bad(share) => ("validation_error", share > 50),
            Self::Doubled(share) => ("validation_error", share * 1_000 > 50 * (1_000 + share)),
        };
        Some((night, kind, level(is_error)))
    }
}

/// The alerts that an evening raises. Resolved alerts are left out.
fn raised(alerts: &mut LoneAlerts, summary: &QualitySummary, night: u64) -> Vec<Reported> {
    let mut raised = Vec::new();
    for alert in alerts.tell(threshold_alerts(summary, &QualitySettings::default()), night * 86_400) {
        let level = match alert.level {
            Level::Info => continue,
            Level::Warning => "WARNING",
            Level::Error => "ERROR",
        };
        let kinds = ["data_missing", "data_delayed", "validation_error"];
        let kind = kinds.into_iter().find(|kind| alert.data["alert_type"] == *kind).expect("a kind of alert");
        raised.push((night, kind, level));
    }
    raised
}

#[test]
fn evening_alerts_reach_95_percent_precision_and_recall() {
    let mut random = Random(7);
    let (mut truth, mut found) = (BTreeSet::new(), BTreeSet::new());
    let mut alerts = LoneAlerts::default();
    let (first, nights) = (day("2024-01-02"), 240);
    let mut num_days = 0;
    for night in 0..nights {
        let today = first.checked_add_days(Days::new(night)).unwrap();
        let is_open = TradingCalendar::built_in().is_trading_day(today) == Some(true);
        num_days += u64::from(is_open);
        let share = random.below(300);
        // Every second trading day has a fault. The sizes lie on both sides of the limits for warning and error.
        let trouble = match if is_open { num_days % 10 } else { 0 } {
            1 => Trouble::Missing(70 + share),
            3 => Trouble::Stalled(310 + share),
            5 => Trouble::Stalled(610 + share),
            7 => Trouble::Bad(5 + share),
            9 => Trouble::Doubled(5 + share),
            _ => Trouble::None,
        };
        truth.extend(trouble.expected(night));
        let summary = evening(today, is_open, trouble, &mut random);
        found.extend(raised(&mut alerts, &summary, night));
    }
    assert_scores("evenings", &truth, &found, |(_, kind, _)| *kind);
    assert_eq!(truth.iter().map(|(_, kind, _)| *kind).collect::<BTreeSet<_>>().len(), 3);
}

/// The summary of requests for today's row at 20:00. A row is expected of 1,000 shares. No row is expected of 100
/// shares that are not listed yet, of 100 delisted shares, and of up to 299 shares that the source reports as
/// suspended. Without the fault `Missing`, up to 1.4 % of the expected rows are missing because of suspensions that no
/// source reports.
fn evening(today: NaiveDate, is_open: bool, trouble: Trouble, random: &mut Random) -> QualitySummary {
    let now = NaiveDateTime::new(today, NaiveTime::from_hms_opt(20, 0, 0).unwrap());
    let (num_untold, num_suspended) = (random.below(15), random.below(300));
    let range = DateRange { start: today, end: today };
    let mut summary = QualitySummary::default();
    let (yesterday, tomorrow) = (today.pred_opt(), today.succ_opt());
    let built_in = MarketFacts::built_in(today);
    for number in 0..1_200 + num_suspended {
        let is_expected = number < 1_000;
        let mut rows = Vec::new();
        let is_missing = match trouble {
            Trouble::Missing(share) => number < share,
            _ => number < num_untold,
        };
        if is_open && is_expected && !is_missing {
            rows.push(bar(today, [1_000, 1_010, 990, 1_005], 1_000));
        }
        let is_spoilt = |share: u64| is_expected && number >= 1_000 - share;
        match trouble {
            Trouble::Bad(share) if is_spoilt(share) => rows.iter_mut().for_each(|row| row.close = Field::Missing),
            Trouble::Doubled(share) if is_spoilt(share) => rows.extend_from_within(..),
            _ => {}
        }
        let (listed, delisted, is_suspended) = match number {
            0..1_000 => (Some(day("1997-01-06")), None, false),
            1_000..1_100 => (tomorrow, None, false),
            1_100..1_200 => (Some(day("1997-01-06")), yesterday, false),
            _ => (None, None, true),
        };
        let note = DayNote { day: today, reference: None, is_suspended, is_special: None };
        let listing = Listing { code: code(number), name: "A".to_owned(), listed, delisted };
        let listings = [(code(number), listing)].into_iter().collect();
        let facts = MarketFacts { listings: Arc::new(listings), ..built_in.clone() };
        let notes = if is_suspended { vec![note] } else { Vec::new() };
        let delay = if let Trouble::Stalled(seconds) = trouble { seconds } else { random.below(200) };
        let context = BarContext {
            code: code(number),
            frequency: Frequency::Day,
            range,
            source: SourceId::TUSHARE,
            prices: PriceFormat::GINKGO,
        };
        add(&mut summary, &rows, &context, &KnownDays::new(facts.into(), notes, None), now, delay);
    }
    summary
}

fn add(
    summary: &mut QualitySummary,
    rows: &[FetchedBar],
    context: &BarContext,
    known: &KnownDays,
    now: NaiveDateTime,
    delay: u64,
) {
    let quality = QualitySettings::default();
    let mut checked = check_all(rows, context, known, &quality);
    checked.expect(context, known, now);
    let report = TaskReport { counts: checked.counts, anomalies: checked.anomalies, backfill: None };
    summary.add_finished(Subject::Code(context.code), &report, Some(Duration::from_secs(delay)), &quality);
}

/// Five-minute bars of 100 shares in the first weeks of 2016, when trading was halted early on two days.
#[test]
fn early_close_is_no_gap_but_lost_afternoon_is() {
    let (mut truth, mut found) = (BTreeSet::new(), BTreeSet::new());
    let mut alerts = LoneAlerts::default();
    let facts = Arc::new(MarketFacts::built_in(day("2016-02-29")));
    let range = DateRange { start: day("2015-12-28"), end: day("2016-02-29") };
    for (night, today) in range.start.iter_days().take_while(|day| *day <= range.end).enumerate() {
        let is_open = facts.calendar.is_trading_day(today) == Some(true);
        let (close, night) = (NaiveTime::from_hms_opt(15, 0, 0).unwrap(), night as u64);
        let stopped = match today {
            _ if today == day("2016-01-04") => NaiveTime::from_hms_opt(13, 35, 0).unwrap(),
            _ if today == day("2016-01-07") => NaiveTime::from_hms_opt(10, 0, 0).unwrap(),
            _ => close,
        };
        let loses = is_open && stopped == close && night % 3 == 0;
        let last = if loses { NaiveTime::from_hms_opt(13, 0, 0).unwrap() } else { stopped };
        if loses {
            truth.insert((night, "data_missing", "ERROR"));
        }
        let mut summary = QualitySummary::default();
        for number in 0..100 {
            let minutes = (1..=24).map(|n| 570 + 5 * n).chain((1..=24).map(|n| 780 + 5 * n));
            let ends = minutes.map(|minute| NaiveTime::from_hms_opt(minute / 60, minute % 60, 0).unwrap());
            let row = |end: NaiveTime| {
                let timestamp = Field::Value(today.and_time(end));
                FetchedBar { timestamp, ..bar(today, [1_000, 1_010, 990, 1_005], 10 + number as i64) }
            };
            let rows: Vec<FetchedBar> = ends.filter(|end| is_open && *end <= last).map(row).collect();
            let today = DateRange { start: today, end: today };
            let context = BarContext {
                code: code(number),
                frequency: Frequency::Minute5,
                range: today,
                source: SourceId::TUSHARE,
                prices: PriceFormat::GINKGO,
            };
            let known = KnownDays::new(facts.clone(), Vec::new(), None);
            add(&mut summary, &rows, &context, &known, today.end.and_hms_opt(20, 0, 0).unwrap(), 10);
        }
        found.extend(raised(&mut alerts, &summary, night));
    }
    assert_scores("minutes", &truth, &found, |(_, kind, _)| *kind);
}
