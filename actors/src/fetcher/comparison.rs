// Upstream: cross_check
// Downstream: domain, settings
// Role: Compares bars of two sources row by row; differences are reported and change no row.

use std::collections::HashMap;

use chrono::NaiveDateTime;
use rust_decimal::Decimal;

use crate::domain::{Anomaly, Code, DateRange, FetchedBar, Field, Rule, TaskCounts, TaskReport};
use crate::settings::rules::CrossCheckSettings;

/// Tolerated difference of volumes (in lots) and amounts (in thousand yuan), because vendors truncate or round both.
const ROUNDING_TOLERANCE: Decimal = Decimal::ONE;

/// The parameters of a comparison.
pub(crate) struct Comparison<'a> {
    pub(crate) code: Code,
    pub(crate) range: DateRange,
    pub(crate) other: &'static str,
    pub(crate) compares_amounts: bool,
    pub(crate) settings: &'a CrossCheckSettings,
}

impl Comparison<'_> {
    /// Compares rows with the same timestamp. A row that only one source has is a difference, too.
    pub(crate) fn of(&self, rows: &[FetchedBar], others: &[FetchedBar], max_examples: usize) -> TaskReport {
        let in_range = |row: &FetchedBar| time_of(row).filter(|time| self.range.contains(time.date()));
        let mut others: HashMap<NaiveDateTime, &FetchedBar> =
            others.iter().filter_map(|row| Some((in_range(row)?, row))).collect();
        let mut differences = Vec::new();
        let mut counts = TaskCounts::default();
        for row in rows {
            let Some(time) = in_range(row) else { continue };
            counts.compared += 1;
            let found = match others.remove(&time) {
                Some(other) => self.difference(row, other),
                None => Some(("timestamp", format!("{} does not have it", self.other))),
            };
            differences.extend(found.map(|(field, value)| self.anomaly(time, field, value)));
        }
        // Rows after the last row of the first source are not compared, because it may not have them yet.
        let last = rows.iter().filter_map(in_range).max();
        let mut only: Vec<NaiveDateTime> = others.into_keys().filter(|time| Some(*time) <= last).collect();
        only.sort_unstable();
        let lacks = |time| self.anomaly(time, "timestamp", format!("only {} has it", self.other));
        differences.extend(only.into_iter().map(lacks));
        if !differences.is_empty() {
            counts.warned.insert(Rule::SourceDisagreement, differences.len() as u64);
        }
        differences.truncate(max_examples);
        TaskReport { counts, anomalies: differences, backfill: None }
    }

    fn anomaly(&self, time: NaiveDateTime, field: &'static str, value: String) -> Anomaly {
        Anomaly { code: self.code, timestamp: Some(time), field, value, rule: Rule::SourceDisagreement }
    }

    /// The first field in which two rows of the same timestamp differ.
    fn difference(&self, row: &FetchedBar, other: &FetchedBar) -> Option<(&'static str, String)> {
        let CrossCheckSettings { price_tolerance_percent, volume_tolerance_percent, amount_tolerance_percent, .. } =
            self.settings;
        let price = |name, a, b| (name, a, b, Decimal::ZERO, *price_tolerance_percent);
        let fields = [
            price("open", &row.open, &other.open),
            price("high", &row.high, &other.high),
            price("low", &row.low, &other.low),
            price("close", &row.close, &other.close),
            ("volume", &row.volume, &other.volume, ROUNDING_TOLERANCE, *volume_tolerance_percent),
            ("amount", &row.amount, &other.amount, ROUNDING_TOLERANCE, *amount_tolerance_percent),
        ];
        fields.into_iter().filter(|(name, ..)| self.compares_amounts || *name != "amount").find_map(
            |(name, ours, theirs, tolerance, percent)| match (ours, theirs) {
                (Field::Value(ours), Field::Value(theirs)) if !agree(*ours, *theirs, tolerance, percent) => {
                    let (ours, theirs) = (ours.normalize(), theirs.normalize());
                    Some((name, format!("{ours}, {} has {theirs}", self.other)))
                }
                // Other rules check missing and unreadable values.
                _ => None,
            },
        )
    }
}

fn time_of(row: &FetchedBar) -> Option<NaiveDateTime> {
    match row.timestamp {
        Field::Value(time) => Some(time),
        Field::Missing | Field::Unreadable(_) => None,
    }
}

/// Whether two numbers differ by at most `tolerance`, or by at most `percent` percent of the larger one.
fn agree(a: Decimal, b: Decimal, tolerance: Decimal, percent: f64) -> bool {
    let allowed = || {
        let share = Decimal::try_from(percent).ok()?.checked_div(Decimal::ONE_HUNDRED)?;
        Some(a.abs().max(b.abs()).checked_mul(share)?.max(tolerance))
    };
    match (a.checked_sub(b), allowed()) {
        (Some(apart), Some(allowed)) => apart.abs() <= allowed,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;

    fn bar(day: u32, values: [&str; 6]) -> FetchedBar {
        let [open, high, low, close, volume, amount] = values.map(|text| Field::Value(text.parse().unwrap()));
        let timestamp = Field::Value(NaiveDate::from_ymd_opt(2024, 1, day).unwrap().and_hms_opt(0, 0, 0).unwrap());
        FetchedBar { timestamp, open, high, low, close, volume, amount }
    }

    fn compare(rows: &[FetchedBar], others: &[FetchedBar], compares_amounts: bool) -> TaskReport {
        let day = |day| NaiveDate::from_ymd_opt(2024, 1, day).unwrap();
        let settings = CrossCheckSettings::default();
        let comparison = Comparison {
            code: "000001.SZ".parse().unwrap(),
            range: DateRange { start: day(2), end: day(10) },
            other: "eastmoney",
            compares_amounts,
            settings: &settings,
        };
        comparison.of(rows, others, 2)
    }

    const SAME: [&str; 6] = ["9.39", "9.42", "9.21", "9.21", "1158366", "1075742.252"];

    #[test]
    fn what_vendors_cut_and_round_is_no_difference() {
        let rounded = ["9.390", "9.42", "9.21", "9.21", "1158366.45", "1075742"];
        let report = compare(&[bar(2, SAME), bar(3, SAME)], &[bar(3, rounded), bar(2, rounded)], true);
        assert_eq!((report.counts.compared, report.counts.warned.len(), report.anomalies.len()), (2, 0, 0));
        assert!(agree("100".parse().unwrap(), "100.05".parse().unwrap(), Decimal::ZERO, 0.05));
        assert!(!agree("100".parse().unwrap(), "100.06".parse().unwrap(), Decimal::ZERO, 0.05));
        assert!(!agree(Decimal::MAX, Decimal::MIN, Decimal::ZERO, 0.05));
    }

    #[test]
    fn one_difference_per_row_with_both_values() {
        let mut dear = SAME;
        dear[3] = "9.22";
        let mut in_shares = SAME;
        in_shares[4] = "115836600";
        let rows = [bar(2, SAME), bar(3, SAME), bar(4, SAME), bar(8, SAME)];
        // The first source does not have 9 January yet; 11 January was not requested.
        let others = [bar(2, dear), bar(3, in_shares), bar(5, SAME), bar(8, SAME), bar(9, SAME), bar(11, SAME)];
        let report = compare(&rows, &others, true);
        assert_eq!(report.counts.compared, 4);
        assert_eq!(report.counts.warned, [(Rule::SourceDisagreement, 4)].into_iter().collect());
        let reported: Vec<_> = report.anomalies.iter().map(|anomaly| (anomaly.field, anomaly.value.as_str())).collect();
        assert_eq!(reported, [("close", "9.21, eastmoney has 9.22"), ("volume", "1158366, eastmoney has 115836600")]);
    }

    #[test]
    fn what_is_missing_or_no_number_is_not_compared() {
        let mut no_amount = SAME;
        no_amount[5] = "0";
        let report = compare(&[bar(2, SAME)], &[bar(2, no_amount)], false);
        assert_eq!(report.counts.warned.len(), 0, "the other source has no amounts");
        let incomplete = FetchedBar { low: Field::Missing, close: Field::unreadable("-"), ..bar(2, SAME) };
        assert_eq!(compare(&[bar(2, SAME)], std::slice::from_ref(&incomplete), true).counts.warned.len(), 0);
        assert_eq!(compare(&[incomplete], &[bar(2, SAME)], true).counts.warned.len(), 0);
    }
}
