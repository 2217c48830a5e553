// Upstream: backfill, gaps, reports
// Downstream: none
// Role: Reads days in both forms that commands and messages use, and times relative to now.

use chrono::NaiveDate;

/// Parses a day, as `2024-01-31` or `20240131`, the two forms of commands in Kafka.
pub fn day(text: &str) -> Result<NaiveDate, String> {
    let compact = NaiveDate::parse_from_str(text, "%Y%m%d").ok().filter(|_| text.len() == 8);
    let day = compact.or_else(|| text.parse().ok());
    day.ok_or_else(|| format!("`{text}` is not a day; use a form such as 2024-01-31 or 20240131"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_two_forms() {
        assert_eq!(day("20240131"), day("2024-01-31"));
        assert_eq!(day("20100101").unwrap().to_string(), "2010-01-01");
        for text in ["", "2024", "20240230", "240131", "2024/01/31", "x"] {
            assert!(day(text).unwrap_err().contains("such as 2024-01-31 or 20240131"), "{text}");
        }
    }
}
