// Upstream: eastmoney_data, tdx_data, tests::it, tushare_other
// Downstream: tushare_data
// Role: Derives the minute bars of a daily bar, linear from open to close, the same for every vendor's server.

use chrono::{Duration, NaiveDateTime, NaiveTime};

use crate::tushare_data::DailyRow;

/// A minute bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinuteRow {
    /// The end of its interval.
    pub end: NaiveDateTime,
    /// Opening price in hundredths of a yuan.
    pub open: i64,
    /// Closing price in hundredths of a yuan.
    pub close: i64,
    /// Volume in shares.
    pub shares: i64,
}

impl MinuteRow {
    /// Highest price in hundredths of a yuan.
    pub fn high(&self) -> i64 {
        self.open.max(self.close)
    }

    /// Lowest price in hundredths of a yuan.
    pub fn low(&self) -> i64 {
        self.open.min(self.close)
    }

    /// Turnover in hundredths of a yuan.
    pub fn amount(&self) -> i64 {
        self.shares * self.close
    }
}

/// The bars of `step` minutes of a day, oldest first. `has_auction` adds one at 09:30 for the opening auction.
pub fn minute_rows(row: &DailyRow, step: usize, has_auction: bool) -> Vec<MinuteRow> {
    let mut ends: Vec<i64> = (571..=690).chain(781..=900).skip(step - 1).step_by(step).collect();
    if has_auction {
        ends.insert(0, 570);
    }
    let [open, _, _, close, _, lots, _] = row.cells().map(|cell| cell.parse::<f64>().unwrap_or(0.0));
    let count = ends.len() as f64;
    let price = |at: usize| ((open + (close - open) * at as f64 / count) * 100.0).round() as i64;
    let shares = (lots * 100.0 / count).round() as i64;
    let midnight = row.date.and_time(NaiveTime::MIN);
    let bar = |(index, minute): (usize, &i64)| MinuteRow {
        end: midnight + Duration::minutes(*minute),
        open: price(index),
        close: price(index + 1),
        shares,
    };
    ends.iter().enumerate().map(bar).collect()
}

/// Formats a number of hundredths with two decimals.
pub fn hundredths(number: i64) -> String {
    format!("{}{}.{:02}", if number < 0 { "-" } else { "" }, number.abs() / 100, number.abs() % 100)
}
