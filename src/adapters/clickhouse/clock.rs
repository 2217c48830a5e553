// Upstream: bars, reports, rows, statements, stored_days, table
// Downstream: none
// Role: Converts between Shanghai wall clock and the epoch seconds of RowBinary in the zone of the table.

use chrono::{LocalResult, NaiveDateTime, TimeZone};
use chrono_tz::Tz;

/// The time zone in which ClickHouse displays a `DateTime` column.
///
/// Ginkgo stores naive Shanghai wall clock as text, so readers see the same digits in every server zone. A client that
/// sends epoch seconds must choose the epoch that displays these digits in the zone of the column. Otherwise the rows
/// are shifted by hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableClock(Tz);

impl std::fmt::Display for TableClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name())
    }
}

/// A wall clock time that the column cannot store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// Outside the range of `DateTime`, 1970 to 2106.
    #[error("{0} is outside the range of DateTime (1970 to 2106)")]
    OutOfRange(NaiveDateTime),
    /// The zone skips this time or has it twice, at a change of daylight saving.
    #[error("{time} is skipped or ambiguous in the zone {zone}; use a table or server zone without daylight saving")]
    NotUnique {
        /// The wall clock time.
        time: NaiveDateTime,
        /// The zone.
        zone: String,
    },
}

impl TableClock {
    /// The zone of a column: its own (`DateTime('Asia/Shanghai')`), else the zone of the server. `None` if the zone is
    /// unknown.
    pub fn of_column(column_type: &str, server_zone: &str) -> Option<Self> {
        let own = column_type.strip_prefix("DateTime('").and_then(|rest| rest.strip_suffix("')"));
        own.unwrap_or(server_zone).parse().ok().map(Self)
    }

    /// The epoch seconds of a wall clock time.
    pub fn to_epoch(self, time: NaiveDateTime) -> Result<u32, ClockError> {
        let instant = match self.0.from_local_datetime(&time) {
            LocalResult::Single(instant) => instant,
            LocalResult::None | LocalResult::Ambiguous(..) => {
                return Err(ClockError::NotUnique { time, zone: self.0.to_string() });
            }
        };
        u32::try_from(instant.timestamp()).map_err(|_| ClockError::OutOfRange(time))
    }

    /// The wall clock time of epoch seconds.
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
    fn rejects_times_outside_column_range() {
        let utc = TableClock::of_column("DateTime", "UTC").unwrap();
        assert_eq!(utc.to_epoch(midnight(1969, 1, 1)), Err(ClockError::OutOfRange(midnight(1969, 1, 1))));
        assert!(utc.to_epoch(midnight(2107, 1, 1)).is_err());
        let berlin = TableClock::of_column("DateTime", "Europe/Berlin").unwrap();
        let skipped = NaiveDate::from_ymd_opt(2024, 3, 31).unwrap().and_hms_opt(2, 30, 0).unwrap();
        assert!(matches!(berlin.to_epoch(skipped), Err(ClockError::NotUnique { .. })));
    }
}
