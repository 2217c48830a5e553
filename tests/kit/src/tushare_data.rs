// Upstream: many
// Downstream: none
// Role: Daily bars that the protocol servers serve: given rows, or generated ones as consistent as real ones.

//! Numbers are kept as the JSON text that is sent. A test can compare them digit by digit and can send invalid values.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

/// The exchanges' published trading days; generated bars lie on them.
const CALENDAR: &str = include_str!("../../../data/calendar/a-share-trading-days.txt");

/// One day of one security. Prices in yuan, volume in lots of 100 shares, amount in thousand yuan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DailyRow {
    /// The trading day.
    pub date: NaiveDate,
    cells: Box<str>,
}

impl DailyRow {
    /// The cells of a row: open, high, low, close, pre_close, vol, amount.
    pub const CELLS: usize = 7;

    /// A row of JSON values: open, high, low, close, pre_close, vol, amount. A value must not hold a comma.
    pub fn new(date: NaiveDate, cells: [&str; Self::CELLS]) -> Self {
        assert!(cells.iter().all(|cell| !cell.contains(',')), "a cell with a comma: {cells:?}");
        Self { date, cells: cells.join(",").into() }
    }

    /// The cells as JSON text, in the order of [`Self::new`].
    pub fn cells(&self) -> [&str; Self::CELLS] {
        let mut cells = self.cells.split(',');
        std::array::from_fn(|_| cells.next().unwrap_or("null"))
    }
}

/// Bars by code (`600000.SH`), oldest first.
#[derive(Debug, Clone, Default)]
pub struct Dataset {
    rows: BTreeMap<String, Vec<DailyRow>>,
    /// By code: the adjustment factors, each by its first day.
    factors: BTreeMap<String, BTreeMap<NaiveDate, f64>>,
    /// Codes under special treatment on all of their days.
    special: BTreeSet<String>,
    /// Suspensions: day, code and part of the day; an empty part is the whole day.
    suspensions: BTreeSet<(NaiveDate, String, String)>,
    /// By code: rows of the stock list that differ from the generated ones.
    listings: BTreeMap<String, ListedStock>,
}

/// A row of the stock list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedStock {
    /// The short name.
    pub name: String,
    /// The first day, as `20000101`.
    pub listed: &'static str,
    /// `L` (listed), `P` (paused), `D` (delisted), or an empty text for a code that no list has.
    pub status: &'static str,
    /// The delisting day, as `20240426`.
    pub delisted: Option<&'static str>,
}

impl ListedStock {
    /// The generated row of a code.
    pub fn of(code: &str) -> Self {
        let name = format!("股票{}", code.split('.').next().unwrap_or(code));
        Self { name, listed: "20000101", status: "L", delisted: None }
    }
}

impl Dataset {
    /// A data set without bars.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Generates bars; the same codes and days always give the same bars. Prices move by at most 2 % a day, and the
    /// average price (amount / volume) lies between low and high.
    pub fn generated(codes: &[String], days: &[NaiveDate]) -> Self {
        let mut dataset = Self::empty();
        for code in codes {
            let mut series = Series::of(code);
            dataset.set_rows(code, days.iter().map(|day| series.next(*day)).collect());
        }
        dataset
    }

    /// Replaces a security's rows.
    pub fn set_rows(&mut self, code: &str, mut rows: Vec<DailyRow>) {
        rows.sort_by_key(|row| row.date);
        self.rows.insert(code.to_owned(), rows);
    }

    /// Adds a generated bar of `day` to every security.
    pub fn append_day(&mut self, day: NaiveDate) {
        for (code, rows) in &mut self.rows {
            let mut series = Series::of(code);
            // One draw per existing row, so that the price continues from the last one.
            let row = rows.iter().map(|row| row.date).chain([day]).map(|day| series.next(day)).last();
            rows.extend(row);
            rows.sort_by_key(|row| row.date);
        }
    }

    /// A security's rows, oldest first; empty for an unknown code.
    pub fn rows(&self, code: &str) -> &[DailyRow] {
        self.rows.get(code).map_or(&[], Vec::as_slice)
    }

    /// Sets a security's adjustment factor from `day` until the next day that was set.
    pub fn set_factor(&mut self, code: &str, day: NaiveDate, factor: f64) {
        self.factors.entry(code.to_owned()).or_default().insert(day, factor);
    }

    /// Marks a security as under special treatment (ST) on all of its days.
    pub fn set_special(&mut self, code: &str) {
        self.special.insert(code.to_owned());
    }

    /// Replaces a security's row of the stock list, or adds a security without bars to it.
    pub fn set_listing(&mut self, code: &str, row: ListedStock) {
        self.listings.insert(code.to_owned(), row);
    }

    /// The rows of the stock list by code.
    pub fn listings(&self) -> BTreeMap<String, ListedStock> {
        let mut rows: BTreeMap<String, ListedStock> =
            self.codes().map(|code| (code.to_owned(), ListedStock::of(code))).collect();
        rows.extend(self.listings.clone());
        rows
    }

    /// Marks a security as suspended on `day`, for the part `timing` (`09:30-10:00`) or, if it is empty, for the whole
    /// day. Its rows do not change.
    pub fn suspend(&mut self, code: &str, day: NaiveDate, timing: &str) {
        self.suspensions.insert((day, code.to_owned(), timing.to_owned()));
    }

    /// All suspensions: day, code, part of the day.
    pub fn suspensions(&self) -> impl Iterator<Item = &(NaiveDate, String, String)> {
        self.suspensions.iter()
    }

    /// Whether a security is under special treatment.
    pub fn is_special(&self, code: &str) -> bool {
        self.special.contains(code)
    }

    /// A security's adjustment factor on a day: the factor that was set, else 1 in the first half of its rows and 1.05
    /// in the second.
    pub fn factor(&self, code: &str, day: NaiveDate) -> f64 {
        if let Some((_, factor)) = self.factors.get(code).and_then(|set| set.range(..=day).next_back()) {
            return *factor;
        }
        let rows = self.rows(code);
        let event = rows.get(rows.len() / 2).map(|row| row.date);
        if Some(day) < event { 1.0 } else { 1.05 }
    }

    /// All codes in order.
    pub fn codes(&self) -> impl Iterator<Item = &str> {
        self.rows.keys().map(String::as_str)
    }
}

/// `count` different codes of the three exchanges; the first three are 600000.SH, 000001.SZ and 300750.SZ.
pub fn codes(count: usize) -> Vec<String> {
    let first = ["600000.SH", "000001.SZ", "300750.SZ"].map(str::to_owned);
    // Blocks of a thousand numbers that do not contain the first three.
    let blocks =
        [("601", "SH"), ("002", "SZ"), ("603", "SH"), ("301", "SZ"), ("688", "SH"), ("430", "BJ"), ("605", "SH")];
    let further = blocks
        .iter()
        .flat_map(|(prefix, exchange)| (0..1_000).map(move |number| format!("{prefix}{number:03}.{exchange}")));
    first.into_iter().chain(further).take(count).collect()
}

/// Real trading days from `start` to `end`, oldest first.
pub fn trading_days(start: NaiveDate, end: NaiveDate) -> Vec<NaiveDate> {
    let days = CALENDAR.lines().filter_map(|line| NaiveDate::parse_from_str(line, "%Y%m%d").ok());
    days.filter(|day| start <= *day && *day <= end).collect()
}

/// The current date in Shanghai.
pub fn shanghai_today() -> NaiveDate {
    (chrono::Utc::now() + chrono::Duration::hours(8)).date_naive()
}

/// The newest date whose daily bar would be final: today from 15:30 Shanghai time on, else yesterday.
pub fn last_closed_day() -> NaiveDate {
    let since_close = chrono::Utc::now() + chrono::Duration::hours(8) - chrono::Duration::minutes(15 * 60 + 30);
    since_close.date_naive()
}

/// The last `count` real trading days up to `end`, oldest first.
pub fn last_trading_days(end: NaiveDate, count: usize) -> Vec<NaiveDate> {
    let mut days = trading_days(NaiveDate::MIN, end);
    days.split_off(days.len().saturating_sub(count))
}

/// Generates a security's bars, day by day.
struct Series {
    random: u64,
    close: i64,
}

impl Series {
    /// Below this price the series only rises: 2 yuan in hundredths.
    const LOWEST: i64 = 200;
    /// From this price on the series only falls: 500 yuan in hundredths.
    const HIGHEST: i64 = 50_000;

    fn of(code: &str) -> Self {
        let seed = code
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        let mut series = Self { random: seed, close: 0 };
        series.close = series.draw(500, 20_000);
        series
    }

    /// A random number from `low` to below `high` (SplitMix64).
    fn draw(&mut self, low: i64, high: i64) -> i64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let span = u64::try_from(high - low).unwrap_or(1).max(1);
        low + i64::try_from((z ^ (z >> 31)) % span).unwrap_or(0)
    }

    /// The bar of the next day. All prices are in hundredths of a yuan.
    fn next(&mut self, day: NaiveDate) -> DailyRow {
        let pre_close = self.close;
        let open = pre_close * self.draw(990, 1_011) / 1_000;
        let (down, up) = match pre_close {
            ..Self::LOWEST => (1_005, 1_021),
            Self::HIGHEST.. => (980, 996),
            _ => (980, 1_021),
        };
        let close = pre_close * self.draw(down, up) / 1_000;
        // At least one hundredth away, so that rounding the amount cannot move the average price outside low and high.
        let high = open.max(close) * self.draw(1_000, 1_010) / 1_000 + 1;
        let low = open.min(close) * self.draw(990, 1_000) / 1_000 - 1;
        let shares = self.draw(10_000_000, 90_000_000);
        let yuan = shares * (open + close) / 200;
        self.close = close;
        let [open, high, low, close, pre_close] = [open, high, low, close, pre_close].map(|price| decimal(price, 2));
        let (vol, amount) = (decimal(shares, 2), decimal(yuan, 3));
        DailyRow::new(day, [&open, &high, &low, &close, &pre_close, &vol, &amount])
    }
}

/// Moves the decimal point as Tushare writes numbers: no trailing zeros, at least one decimal.
fn decimal(number: i64, places: u32) -> String {
    let unit = 10_i64.pow(places);
    let width = places as usize;
    let text = format!("{}.{:0width$}", number / unit, number % unit);
    let short = text.trim_end_matches('0');
    if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_bars_hold_together_and_never_change() {
        let days = trading_days("2024-01-01".parse().unwrap(), "2024-12-31".parse().unwrap());
        let codes = codes(50);
        let dataset = Dataset::generated(&codes, &days);
        assert_eq!(dataset.codes().count(), 50);
        for code in &codes {
            assert_eq!(dataset.rows(code).len(), 242);
            for row in dataset.rows(code) {
                let [open, high, low, close, _, vol, amount] = row.cells().map(|cell| cell.parse::<f64>().unwrap());
                let average = amount * 1_000.0 / (vol * 100.0);
                assert!(0.0 < low && low <= open.min(close) && open.max(close) <= high, "{code} {row:?}");
                assert!(low <= average && average <= high, "{code} {row:?}");
            }
        }
        assert_eq!(Dataset::generated(&codes, &days).rows("600000.SH"), dataset.rows("600000.SH"));
        let mut shorter = Dataset::generated(&codes, &days[..241]);
        shorter.append_day(days[241]);
        assert_eq!(shorter.rows("600000.SH"), dataset.rows("600000.SH"));
    }

    #[test]
    fn numbers_are_written_as_the_vendor_writes_them() {
        assert_eq!(
            [decimal(870, 2), decimal(800, 2), decimal(5, 2), decimal(460_697_377, 3)],
            ["8.7", "8.0", "0.05", "460697.377"]
        );
        assert_eq!(codes(6_000).len(), 6_000);
    }
}
