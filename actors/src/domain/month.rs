// Upstream: coverage, data_worker
// Downstream: none
// Role: A calendar month, and sets of its days as bits.

use std::fmt;

use chrono::{Datelike, NaiveDate};

/// A calendar month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(i32);

impl Month {
    /// The month of a day.
    pub fn of(day: NaiveDate) -> Self {
        Self(day.year() * 12 + day.month0() as i32)
    }

    /// The month written as a number, such as 202401.
    pub fn from_number(number: u32) -> Option<Self> {
        let year = i32::try_from(number / 100).ok()?;
        NaiveDate::from_ymd_opt(year, number % 100, 1).map(Self::of)
    }

    /// The year.
    pub fn year(self) -> i32 {
        self.0.div_euclid(12)
    }

    /// The number of the month in its year, from 0.
    pub fn in_year(self) -> usize {
        self.0.rem_euclid(12) as usize
    }

    /// The number of months from an earlier month to this one.
    pub fn since(self, earlier: Self) -> Option<usize> {
        usize::try_from(self.0 - earlier.0).ok()
    }

    /// The month so many months later.
    pub fn plus(self, months: usize) -> Self {
        Self(self.0.saturating_add(i32::try_from(months).unwrap_or(i32::MAX)))
    }

    /// The days of a set in which bit 0 is the first day of the month, oldest first.
    pub fn days(self, set: u32) -> impl Iterator<Item = NaiveDate> {
        let of_month = (1..=31_u32).filter(move |day| set & (1 << (day - 1)) != 0);
        of_month.filter_map(move |day| NaiveDate::from_ymd_opt(self.year(), self.in_year() as u32 + 1, day))
    }
}

/// The bit of a day in the set of its month.
pub fn bit_of(day: NaiveDate) -> u32 {
    1 << day.day0()
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year(), self.in_year() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_bits_of_their_month_and_back() {
        let days = ["2024-02-01", "2024-02-29"].map(|text| text.parse::<NaiveDate>().unwrap());
        let set = days.iter().copied().map(bit_of).fold(0, |set, bit| set | bit);
        let month = Month::of(days[0]);
        assert_eq!((set, month.to_string()), (1 | 1 << 28, "2024-02".to_owned()));
        assert_eq!(month.days(set | 1 << 30).collect::<Vec<_>>(), days, "February has no 31st");
        assert_eq!(Month::from_number(202_402), Some(month));
        assert_eq!(Month::from_number(202_413), None);
        assert_eq!((month.plus(11).to_string(), month.plus(11).since(month)), ("2025-01".to_owned(), Some(11)));
        assert_eq!(month.since(month.plus(1)), None);
    }
}
