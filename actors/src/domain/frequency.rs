// Upstream: many
// Downstream: task
// Role: The frequency of a bar: its names, Ginkgo's numbers and the first possible day.

use std::fmt;

use chrono::NaiveDate;

use crate::domain::DateRange;

/// The frequency of a bar: how long it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Frequency {
    /// One trading day; the timestamp is midnight of that day.
    Day,
    /// One minute; the timestamp of this and all longer minute bars is the end of the bar.
    Minute1,
    /// 5 minutes.
    Minute5,
    /// 15 minutes.
    Minute15,
    /// 30 minutes.
    Minute30,
    /// 60 minutes.
    Minute60,
}

impl Frequency {
    /// All frequencies.
    pub const ALL: [Self; 6] =
        [Self::Day, Self::Minute1, Self::Minute5, Self::Minute15, Self::Minute30, Self::Minute60];

    /// The first day with minute bars at any source (Tushare documentation of `stk_mins`: since 2009).
    const FIRST_MINUTE_DAY: NaiveDate = match NaiveDate::from_ymd_opt(2009, 1, 1) {
        Some(day) => day,
        None => NaiveDate::MIN,
    };

    /// The name in commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "1d",
            Self::Minute1 => "1m",
            Self::Minute5 => "5m",
            Self::Minute15 => "15m",
            Self::Minute30 => "30m",
            Self::Minute60 => "60m",
        }
    }

    /// The frequency with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|frequency| frequency.as_str() == name)
    }

    /// Ginkgo's `FREQUENCY_TYPES` value, stored in the column `frequency`.
    pub fn as_ginkgo(self) -> i8 {
        match self {
            Self::Day => 1,
            Self::Minute1 => 2,
            Self::Minute5 => 3,
            Self::Minute15 => 4,
            Self::Minute30 => 5,
            Self::Minute60 => 6,
        }
    }

    /// The length of a bar in minutes; `None` for daily bars.
    pub fn minutes(self) -> Option<u32> {
        match self {
            Self::Day => None,
            Self::Minute1 => Some(1),
            Self::Minute5 => Some(5),
            Self::Minute15 => Some(15),
            Self::Minute30 => Some(30),
            Self::Minute60 => Some(60),
        }
    }

    /// The first day for which a bar can exist.
    pub fn first_day(self) -> NaiveDate {
        match self {
            Self::Day => DateRange::FIRST_TRADING_DAY,
            _ => Self::FIRST_MINUTE_DAY,
        }
    }

    /// Maximum number of trading days whose minute bars one task fetches: as many as fit into one vendor response (8,000
    /// rows of Tushare's `stk_mins`; a full one is followed by another call), so that no fetch needs more memory. `None`
    /// for daily bars: one task fetches the whole range.
    pub fn days_per_task(self) -> Option<usize> {
        self.minutes().map(|_| 7_999 / self.most_bars(1))
    }

    /// The maximum number of bars in `days` days.
    pub fn most_bars(self, days: usize) -> usize {
        // A trading day has 240 minutes; one-minute bars may have an extra row for the opening auction.
        let a_day = self.minutes().map_or(1, |minutes| 240 / minutes as usize + 1);
        days * a_day
    }
}

impl fmt::Display for Frequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frequency_has_a_name_and_a_number_of_its_own() {
        for frequency in Frequency::ALL {
            assert_eq!(Frequency::named(frequency.as_str()), Some(frequency));
            assert_eq!(Frequency::ALL.iter().filter(|other| other.as_ginkgo() == frequency.as_ginkgo()).count(), 1);
        }
        assert_eq!(Frequency::named("7m"), None);
    }
}
