// Upstream: reports, rows, statements, stored_days, table
// Downstream: none
// Role: Shanghai wall clock to and from the epoch that RowBinary carries, through the table's zone.

use chrono::{LocalResult, NaiveDateTime, TimeZone};
use chrono_tz::Tz;

/// The zone in which a `DateTime` column is shown to its readers.
///
/// Ginkgo stores naive Shanghai wall clock as text, so a reader sees the same digits whatever the server's zone is. A
/// client that sends epochs must choose the epoch that shows those digits in that zone, or the rows land hours off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableClock(Tz);

/// A wall clock that the column cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// Outside of what `DateTime` holds, 1970 to 2106.
    #[error("{0} lies outside of what DateTime holds (1970 to 2106)")]
    OutOfRange(NaiveDateTime),
    /// The zone jumps over it, or shows it twice.
    #[error(
        "{time} does not exist exactly once in the zone {zone}; use a table or server zone without daylight saving"
    )]
    NotUnique {
        /// The wall clock.
        time: NaiveDateTime,
        /// The zone.
        zone: String,
    },
}

impl TableClock {
    /// The zone of a column: its own (`DateTime('Asia/Shanghai')`), else the server's.
    pub fn of_column(column_type: &str, server_zone: &str) -> Option<Self> {
        let own = column_type.strip_prefix("DateTime('").and_then(|rest| rest.strip_suffix("')"));
        own.unwrap_or(server_zone).parse().ok().map(Self)
    }

    /// The epoch seconds that show this wall clock.
    pub fn to_epoch(self, time: NaiveDateTime) -> Result<u32, ClockError> {
        let instant = match self.0.from_local_datetime(&time) {
            LocalResult::Single(instant) => instant,
            LocalResult::None | LocalResult::Ambiguous(..) => {
                return Err(ClockError::NotUnique { time, zone: self.0.to_string() });
            }
        };
        u32::try_from(instant.timestamp()).map_err(|_| ClockError::OutOfRange(time))
    }

    /// The wall clock that these epoch seconds show.
    pub fn to_wall_clock(self, epoch: u32) -> NaiveDateTime {
        self.0
            .timestamp_opt(i64::from(epoch), 0)
            .single()
            .map_or(NaiveDateTime::default(), |instant| instant.naive_local())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;

    fn midnight(y: i32, m: u32, d: u32) -> NaiveDateTime {
        NaiveDate::from_ymd_opt(y, m, d).unwrap().and_hms_opt(0, 0, 0).unwrap()
    }

    #[test]
    fn the_same_digits_are_shown_in_every_zone() {
        for (column, server) in
            [("DateTime", "UTC"), ("DateTime", "Asia/Shanghai"), ("DateTime('Europe/Berlin')", "UTC")]
        {
            let clock = TableClock::of_column(column, server).unwrap();
            let time = midnight(2024, 1, 2);
            assert_eq!(clock.to_wall_clock(clock.to_epoch(time).unwrap()), time, "{column} on {server}");
        }
        let utc = TableClock::of_column("DateTime", "UTC").unwrap();
        let shanghai = TableClock::of_column("DateTime('Asia/Shanghai')", "UTC").unwrap();
        let time = midnight(2024, 1, 2);
        assert_eq!(utc.to_epoch(time).unwrap() - shanghai.to_epoch(time).unwrap(), 8 * 3600);
        assert_eq!(TableClock::of_column("DateTime", "Mars/Olympus"), None);
    }

    #[test]
    fn what_the_column_cannot_hold_is_an_error_and_not_another_time() {
        let utc = TableClock::of_column("DateTime", "UTC").unwrap();
        assert_eq!(utc.to_epoch(midnight(1969, 1, 1)), Err(ClockError::OutOfRange(midnight(1969, 1, 1))));
        assert!(utc.to_epoch(midnight(2107, 1, 1)).is_err());
        let berlin = TableClock::of_column("DateTime", "Europe/Berlin").unwrap();
        let skipped = NaiveDate::from_ymd_opt(2024, 3, 31).unwrap().and_hms_opt(2, 30, 0).unwrap();
        assert!(matches!(berlin.to_epoch(skipped), Err(ClockError::NotUnique { .. })));
    }
}
