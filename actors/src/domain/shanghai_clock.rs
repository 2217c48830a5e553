// Upstream: many
// Downstream: clock
// Role: The Shanghai wall clock, the only time zone of the worker.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, Utc};

use crate::domain::clock::utc_now;

/// UTC+8. China has had no daylight saving time since September 1991, nine months after its first exchange opened.
/// Daily bars of that summer carry a date only and are not affected.
const OFFSET: FixedOffset = match FixedOffset::east_opt(8 * 3600) {
    Some(offset) => offset,
    None => panic!("eight hours are a valid offset"),
};

/// Converts an instant to Shanghai wall clock.
pub fn wall_clock(instant: DateTime<Utc>) -> NaiveDateTime {
    instant.with_timezone(&OFFSET).naive_local()
}

/// Converts a Shanghai wall clock time to an instant.
pub fn instant(wall_clock: NaiveDateTime) -> DateTime<Utc> {
    // The first eight hours of the representable range have no UTC instant; they are returned unconverted.
    wall_clock.checked_sub_offset(OFFSET).unwrap_or(wall_clock).and_utc()
}

/// The current time, Shanghai wall clock.
pub fn now() -> NaiveDateTime {
    wall_clock(utc_now())
}

/// Today in Shanghai.
pub fn today() -> NaiveDate {
    now().date()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shanghai_is_eight_hours_ahead() {
        let utc = DateTime::parse_from_rfc3339("2024-01-01T16:00:00Z").unwrap().to_utc();
        assert_eq!(wall_clock(utc).to_string(), "2024-01-02 00:00:00");
        assert_eq!(instant(wall_clock(utc)), utc);
        assert_eq!(instant(NaiveDateTime::MIN), NaiveDateTime::MIN.and_utc(), "no panic at the minimum time");
    }
}
