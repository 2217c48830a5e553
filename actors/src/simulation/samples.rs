// Upstream: many
// Downstream: domain
// Role: Sample data for tests: codes by number, daily bars, commands.

use chrono::{NaiveDate, NaiveTime};
use rust_decimal::Decimal;

use crate::domain::{Code, FetchedBar, Field};

/// The security with this number on the Shenzhen exchange.
///
/// # Panics
///
/// Panics if the number has more than six digits.
#[allow(clippy::unwrap_used, reason = "a test fails by a panic")]
pub fn code(number: u32) -> Code {
    format!("{number:06}.SZ").parse().unwrap()
}

/// A daily bar whose four prices are `close`, in fen.
///
/// # Panics
///
/// Panics if `day` is not a date.
#[allow(clippy::unwrap_used, reason = "a test fails by a panic")]
pub fn bar_on(day: &str, close: i64) -> FetchedBar {
    let day: NaiveDate = day.parse().unwrap();
    let price = Field::Value(Decimal::new(close, 2));
    FetchedBar {
        timestamp: Field::Value(day.and_time(NaiveTime::MIN)),
        open: price.clone(),
        high: price.clone(),
        low: price.clone(),
        close: price,
        volume: Field::Value(Decimal::from(100)),
        amount: Field::Value(Decimal::new(close, 1)),
    }
}

/// A command that replaces all daily bars of the securities with these numbers.
pub fn full_command(numbers: &[u32]) -> String {
    let codes: Vec<String> = numbers.iter().map(|number| code(*number).to_string()).collect();
    serde_json::json!({"command": "bar_snapshot", "params": {"codes": codes, "full": true}}).to_string()
}
