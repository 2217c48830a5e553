// Upstream: backfill, cli::coverage, gaps, reports
// Downstream: actors
// Role: Reads days and frequencies on the command line.

use actors::domain::Frequency;
use chrono::NaiveDate;

/// Parses a day, as `2024-01-31` or `20240131`, the two forms of commands in Kafka.
pub fn day(text: &str) -> Result<NaiveDate, String> {
    let compact = NaiveDate::parse_from_str(text, "%Y%m%d").ok().filter(|_| text.len() == 8);
    let day = compact.or_else(|| text.parse().ok());
    day.ok_or_else(|| format!("`{text}` is not a day; use a form such as 2024-01-31 or 20240131"))
}

/// Parses the name of a frequency.
pub fn frequency(text: &str) -> Result<Frequency, String> {
    Frequency::named(text).ok_or_else(|| format!("`{text}` is not one of 1d, 1m, 5m, 15m, 30m, 60m"))
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
