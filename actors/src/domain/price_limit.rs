// Upstream: data_worker, fetcher, security_kind, validator, validator::rules
// Downstream: code
// Role: Daily price limits by board and date, in whole fen.

//! Source: the trading rules of the exchanges (SSE, SZSE, BSE).

use chrono::NaiveDate;

use crate::domain::Code;

/// The board on which a share is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MarketBoard {
    /// The main boards of Shanghai and Shenzhen.
    Main,
    /// ChiNext (Shenzhen).
    ChiNext,
    /// STAR (Shanghai).
    Star,
    /// Beijing Stock Exchange.
    Beijing,
}

const fn date(year: i32, month: u32, day: u32) -> NaiveDate {
    match NaiveDate::from_ymd_opt(year, month, day) {
        Some(date) => date,
        None => NaiveDate::MAX,
    }
}

/// From this day on, shares under special treatment have the limit of their board (10 %).
const SPECIAL_ENDED: NaiveDate = date(2026, 7, 6);
/// From this day on, shares under special treatment have a limit of 5 %.
const SPECIAL_BEGAN: NaiveDate = date(1998, 4, 22);
/// Start of the registration-based IPO system on the main boards: no limits on the first five days of a new share.
const MAIN_REGISTRATION: NaiveDate = date(2023, 4, 10);
/// From these days on, the issue price limits the first day of a new share.
const ISSUE_BOUND_SHANGHAI: NaiveDate = date(2013, 12, 13);
const ISSUE_BOUND_SHENZHEN: NaiveDate = date(2014, 6, 13);
/// From this day on, prices have a limit of 10 %.
const FIRST_LIMITS: NaiveDate = date(1996, 12, 16);
/// From this day on, ChiNext has a limit of 20 %.
const CHINEXT_REFORM: NaiveDate = date(2020, 8, 24);
/// First trading day of STAR.
const STAR_BEGAN: NaiveDate = date(2019, 7, 22);
/// First trading day of the Beijing Stock Exchange.
const BEIJING_BEGAN: NaiveDate = date(2021, 11, 15);

/// Trading days without a row after which the next day is not checked. A share that is listed again, after a suspended
/// listing or a restructuring, has no limit on its first day. A share that was only suspended has limits when it
/// returns, and no source tells the two apart. The number is a choice: 002032.SZ had limits after 46 days in 2008, and
/// 000792.SZ had none after more than a year in 2021.
pub const LONG_SUSPENSION: usize = 60;

impl MarketBoard {
    /// The board of a code; `None` for codes that are not A-shares, such as B-shares, funds and bonds.
    pub fn of(code: Code) -> Option<Self> {
        match (code.exchange(), code.digits().get(..3)?) {
            ("SH", "688" | "689") => Some(Self::Star),
            ("SH", digits) if digits.starts_with("60") => Some(Self::Main),
            ("SZ", "000" | "001" | "002" | "003") => Some(Self::Main),
            ("SZ", "300" | "301" | "302") => Some(Self::ChiNext),
            ("BJ", digits) if digits.starts_with(['4', '9']) => Some(Self::Beijing),
            ("BJ", digits) if ["83", "87", "88"].iter().any(|range| digits.starts_with(range)) => Some(Self::Beijing),
            _ => None,
        }
    }

    /// The limit in percent of the reference price, for a share with or without special treatment; `None` on days
    /// without a limit.
    pub fn limit_percent(self, day: NaiveDate, is_special: bool) -> Option<i64> {
        let special = is_special && (SPECIAL_BEGAN..SPECIAL_ENDED).contains(&day);
        let (since, percent) = match self {
            Self::Main if special => (FIRST_LIMITS, 5),
            Self::Main => (FIRST_LIMITS, 10),
            Self::ChiNext if day < CHINEXT_REFORM && special => (FIRST_LIMITS, 5),
            Self::ChiNext if day < CHINEXT_REFORM => (FIRST_LIMITS, 10),
            Self::ChiNext => (CHINEXT_REFORM, 20),
            Self::Star => (STAR_BEGAN, 20),
            Self::Beijing => (BEIJING_BEGAN, 30),
        };
        (day >= since).then_some(percent)
    }

    /// The limits of the first days of a share that was listed on `listed`.
    pub fn first_days(self, code: Code, listed: NaiveDate) -> FirstDays {
        let issue_bound = if code.exchange() == "SH" { ISSUE_BOUND_SHANGHAI } else { ISSUE_BOUND_SHENZHEN };
        match self {
            Self::Main if listed >= MAIN_REGISTRATION => FirstDays::Free(5),
            Self::ChiNext if listed >= CHINEXT_REFORM => FirstDays::Free(5),
            Self::Star => FirstDays::Free(5),
            Self::Main | Self::ChiNext if listed >= issue_bound => FirstDays::BoundToIssuePrice,
            Self::Main | Self::ChiNext | Self::Beijing => FirstDays::Free(1),
        }
    }

    /// Number of trading days since the listing on which no limit or a wider one may apply: at most five on any board.
    pub const FIRST_DAYS: usize = 5;
}

/// The limits of a new share's first days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstDays {
    /// This many days without a limit.
    Free(usize),
    /// One day between 64 % and 144 % of the issue price; the board's limit afterwards.
    BoundToIssuePrice,
}

impl FirstDays {
    /// Limits of the first day above and below the issue price, in percent.
    pub const ISSUE_PERCENT: (i64, i64) = (44, 36);
}

/// The lower limit price of a day, in fen: rounded half up, and at least one fen below the reference price.
pub fn lower_limit(reference: i64, percent: i64) -> i64 {
    ((reference * (100 - percent) + 50) / 100).min(reference - 1)
}

/// The upper limit price of a day, in fen: rounded half up, and at least one fen above the reference price.
pub fn upper_limit(reference: i64, percent: i64) -> i64 {
    ((reference * (100 + percent) + 50) / 100).max(reference + 1)
}

/// Whether two prices of one day, in fen, are further apart than any reference price allows. No reference price is
/// needed, so an ex-right has no effect. The tolerance covers the rounding of each limit and the minimum distance of
/// one fen.
pub fn too_far_apart(low: i64, high: i64, percent: i64) -> bool {
    high * (100 - percent) - low * (100 + percent) > 200
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(code: &str, day: &str) -> Option<i64> {
        MarketBoard::of(code.parse().unwrap())?.limit_percent(day.parse().unwrap(), false)
    }

    #[test]
    fn main_board_st_limit_is_5_percent_until_july_2026() {
        let special = |code: &str, day: &str| {
            MarketBoard::of(code.parse().unwrap()).and_then(|board| board.limit_percent(day.parse().unwrap(), true))
        };
        assert_eq!(special("600518.SH", "2020-05-06"), Some(5));
        assert_eq!(special("000005.SZ", "2026-07-03"), Some(5));
        assert_eq!(special("000005.SZ", "2026-07-06"), Some(10));
        assert_eq!(special("600000.SH", "1998-04-21"), Some(10), "special treatment did not exist yet");
        assert_eq!(special("300028.SZ", "2020-08-21"), Some(5));
        assert_eq!(special("300028.SZ", "2020-08-24"), Some(20));
        assert_eq!(special("688086.SH", "2022-06-01"), Some(20));
        assert_eq!(special("830799.BJ", "2024-06-03"), Some(30));
    }

    #[test]
    fn a_new_share_s_first_days_depend_on_board_and_date() {
        let first = |code: &str, listed: &str| {
            let code = code.parse().unwrap();
            MarketBoard::of(code).unwrap().first_days(code, listed.parse().unwrap())
        };
        assert_eq!(first("601061.SH", "2023-04-10"), FirstDays::Free(5));
        assert_eq!(first("001360.SZ", "2023-04-07"), FirstDays::BoundToIssuePrice);
        assert_eq!(first("603005.SH", "2014-02-10"), FirstDays::BoundToIssuePrice);
        assert_eq!(first("002703.SZ", "2014-01-21"), FirstDays::Free(1));
        assert_eq!(first("300750.SZ", "2018-06-11"), FirstDays::BoundToIssuePrice);
        assert_eq!(first("300999.SZ", "2020-10-15"), FirstDays::Free(5));
        assert_eq!(first("688981.SH", "2020-07-16"), FirstDays::Free(5));
        assert_eq!(first("920002.BJ", "2024-04-30"), FirstDays::Free(1));
    }

    #[test]
    fn each_board_has_its_limit_at_its_time() {
        assert_eq!(limit("600000.SH", "1996-12-13"), None);
        assert_eq!(limit("600000.SH", "1996-12-16"), Some(10));
        assert_eq!(limit("000001.SZ", "2026-07-06"), Some(10));
        assert_eq!(limit("300750.SZ", "2020-08-21"), Some(10));
        assert_eq!(limit("300750.SZ", "2020-08-24"), Some(20));
        assert_eq!(limit("302132.SZ", "2025-01-02"), Some(20));
        assert_eq!(limit("688981.SH", "2020-07-16"), Some(20));
        assert_eq!(limit("830799.BJ", "2021-11-15"), Some(30));
        assert_eq!(limit("920002.BJ", "2024-06-03"), Some(30));
        assert_eq!(limit("830799.BJ", "2021-11-12"), None);
    }

    #[test]
    fn what_is_no_a_share_has_no_board() {
        for code in ["900901.SH", "200002.SZ", "510300.SH", "159915.SZ", "110059.SH", "899050.BJ", "810011.BJ"] {
            assert_eq!(MarketBoard::of(code.parse().unwrap()), None, "{code}");
        }
    }

    #[test]
    fn limit_rounds_half_up_and_is_at_least_one_tick() {
        assert_eq!(upper_limit(1005, 10), 1106); // 11.055, which a binary float would round to 11.05
        assert_eq!(upper_limit(870, 10), 957);
        assert_eq!(upper_limit(1234, 20), 1481); // 14.808
        assert_eq!(upper_limit(4, 10), 5);
        assert_eq!(lower_limit(1005, 10), 905); // 9.045
        assert_eq!(lower_limit(870, 10), 783);
        assert_eq!(lower_limit(921, 5), 875); // 8.7495
        assert_eq!(lower_limit(4, 10), 3);
    }

    #[test]
    fn day_range_fits_limits_of_some_reference_price() {
        for reference in 1..3_000 {
            for percent in [10, 20, 30] {
                let low = lower_limit(reference, percent);
                assert!(!too_far_apart(low, upper_limit(reference, percent), percent), "{reference} {percent}");
            }
        }
        assert!(too_far_apart(900, 1_105, 10), "9.00 to 11.05 is more than 10 % about any price");
        assert!(!too_far_apart(900, 1_105, 20));
    }
}
