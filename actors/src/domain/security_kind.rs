// Upstream: data_worker, departures, validator::rules
// Downstream: code, price_limit
// Role: The kind of a security by its exchange and number, and which market rules hold for it.

use chrono::NaiveDate;

use crate::domain::Code;
use crate::domain::price_limit::MarketBoard;

/// The first days of trading after the session: STAR, ChiNext, and all shares of Shanghai and Shenzhen.
const AFTER_HOURS_STAR: Option<NaiveDate> = NaiveDate::from_ymd_opt(2019, 7, 22);
const AFTER_HOURS_CHINEXT: Option<NaiveDate> = NaiveDate::from_ymd_opt(2020, 8, 24);
const AFTER_HOURS_ALL: Option<NaiveDate> = NaiveDate::from_ymd_opt(2026, 7, 6);

/// The kind of a security. Source: the number ranges of the exchanges (SSE, SZSE, BSE).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecurityKind {
    /// A share in yuan, or a depositary receipt (689), on one of the boards.
    Share(MarketBoard),
    /// A share in US or Hong Kong dollars.
    BShare,
    /// An index: nothing that is traded.
    Index,
    /// A fund, such as an ETF.
    Fund,
    /// A bond, also a convertible one, or a repurchase agreement.
    Bond,
    /// Anything else.
    Other,
}

impl SecurityKind {
    /// The kind of a code.
    pub fn of(code: Code) -> Self {
        if let Some(board) = MarketBoard::of(code) {
            return Self::Share(board);
        }
        match (code.exchange(), code.digits().as_bytes()) {
            ("SH", [b'9', b'0', b'0', ..]) | ("SZ", [b'2', b'0', ..]) => Self::BShare,
            ("SH", [b'0', b'0', b'0', ..]) | ("SZ", [b'3', b'9', ..]) | ("BJ", [b'8', b'9', b'9', ..]) => Self::Index,
            ("SH", [b'5', ..]) | ("SZ", [b'1', b'5' | b'6' | b'8', ..]) => Self::Fund,
            ("SH", [b'0' | b'1' | b'2', ..]) | ("SZ", [b'1', ..]) | ("BJ", [b'8', b'1', ..]) => Self::Bond,
            _ => Self::Other,
        }
    }

    /// The board of a share.
    pub fn board(self) -> Option<MarketBoard> {
        if let Self::Share(board) = self { Some(board) } else { None }
    }

    /// Whether shares of this kind could be traded at the closing price after the session (15:05 to 15:30) on `day`.
    /// Source: the exchanges' trading rules of STAR (2019), ChiNext (2020) and of 2026, and Tushare's documentation of
    /// `daily`. The draft of the rules of 2026 names funds, too.
    pub fn trades_after_hours(self, day: NaiveDate) -> bool {
        let since = match self {
            Self::Share(MarketBoard::Star) => AFTER_HOURS_STAR,
            Self::Share(MarketBoard::ChiNext) => AFTER_HOURS_CHINEXT,
            Self::Share(MarketBoard::Main) | Self::Fund => AFTER_HOURS_ALL,
            Self::Share(MarketBoard::Beijing) | Self::BShare | Self::Index | Self::Bond | Self::Other => return false,
        };
        since.is_some_and(|since| day >= since)
    }

    /// Whether amount divided by volume is a price. An index counts the trades of its members, and a bond is quoted for
    /// a face value of 100 and counted in lots of ten.
    pub fn has_average_price(self) -> bool {
        matches!(self, Self::Share(_) | Self::BShare | Self::Fund)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trading_after_hours_began_board_by_board() {
        let trades =
            |code: &str, day: &str| SecurityKind::of(code.parse().unwrap()).trades_after_hours(day.parse().unwrap());
        for (code, before, first) in [
            ("688981.SH", "2019-07-19", "2019-07-22"),
            ("300750.SZ", "2020-08-21", "2020-08-24"),
            ("600000.SH", "2026-07-03", "2026-07-06"),
            ("159915.SZ", "2026-07-03", "2026-07-06"),
        ] {
            assert_eq!((trades(code, before), trades(code, first)), (false, true), "{code}");
        }
        assert!(!trades("920799.BJ", "2026-07-06") && !trades("000001.SH", "2026-07-06"));
    }

    #[test]
    fn the_number_tells_the_kind() {
        let kinds: [(&[&str], SecurityKind); 9] = [
            (
                &["600000.SH", "601318.SH", "000001.SZ", "001979.SZ", "003816.SZ"],
                SecurityKind::Share(MarketBoard::Main),
            ),
            (&["300750.SZ", "302132.SZ"], SecurityKind::Share(MarketBoard::ChiNext)),
            (&["688981.SH", "689009.SH"], SecurityKind::Share(MarketBoard::Star)),
            (&["430047.BJ", "830799.BJ", "873169.BJ", "920799.BJ"], SecurityKind::Share(MarketBoard::Beijing)),
            (&["900901.SH", "200002.SZ"], SecurityKind::BShare),
            (&["000001.SH", "000300.SH", "399001.SZ", "399006.SZ", "899050.BJ"], SecurityKind::Index),
            (&["510300.SH", "588000.SH", "159915.SZ", "161725.SZ", "180101.SZ"], SecurityKind::Fund),
            (
                &["113050.SH", "118034.SH", "019547.SH", "204001.SH", "123001.SZ", "131810.SZ", "810011.BJ"],
                SecurityKind::Bond,
            ),
            (&["700000.SH", "820001.BJ"], SecurityKind::Other),
        ];
        for (codes, kind) in kinds {
            for code in codes {
                assert_eq!(SecurityKind::of(code.parse().unwrap()), kind, "{code}");
            }
        }
    }
}
