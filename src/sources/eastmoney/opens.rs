// Upstream: source
// Downstream: actors
// Role: Completes EastMoney's 1-minute bars that have no open, or takes them out of the answer. Pure.

use actors::domain::{FetchedBar, Field};
use chrono::{NaiveDate, NaiveDateTime};
use rust_decimal::Decimal;

/// Gives the bars without an open one, or removes them and returns their times. A bar with a single price has that
/// price as its open. With `from_close`, the others have the close of the minute before on the same day, moved between
/// low and high; the first minute of a day has none.
pub fn complete(bars: &mut Vec<FetchedBar>, from_close: bool) -> Vec<NaiveDateTime> {
    let mut not_offered = Vec::new();
    let mut before: Option<(NaiveDate, Decimal)> = None;
    bars.retain_mut(|bar| {
        let FetchedBar { timestamp: Field::Value(time), low: Field::Value(low), high: Field::Value(high), .. } = *bar
        else {
            return true; // the Validator reports what is unreadable
        };
        let close_before = before.filter(|(day, _)| from_close && *day == time.date()).map(|(_, close)| close);
        if let Field::Value(close) = bar.close {
            before = Some((time.date(), close));
        }
        if bar.open != Field::Missing || low > high {
            return true;
        }
        let open = if low == high { Some(low) } else { close_before.map(|close| close.clamp(low, high)) };
        match open {
            Some(open) => bar.open = Field::Value(open),
            None => not_offered.push(time),
        }
        open.is_some()
    });
    not_offered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(time: &str, open: Option<i64>, [close, high, low]: [i64; 3]) -> FetchedBar {
        let price = |fen| Field::Value(Decimal::new(fen, 2));
        FetchedBar {
            timestamp: Field::Value(time.parse().unwrap()),
            open: open.map_or(Field::Missing, price),
            high: price(high),
            low: price(low),
            close: price(close),
            volume: Field::Value(Decimal::ONE),
            amount: Field::Value(Decimal::ONE),
        }
    }

    fn bars() -> Vec<FetchedBar> {
        vec![
            bar("2026-04-22T09:30:00", None, [1000, 1000, 1000]),
            bar("2026-04-22T09:31:00", None, [1010, 1012, 999]),
            bar("2026-04-22T09:32:00", None, [1020, 1025, 1015]),
            bar("2026-04-23T09:31:00", None, [1030, 1031, 1029]),
            bar("2026-04-24T09:31:00", Some(1032), [1030, 1033, 1029]),
        ]
    }

    fn opens(bars: &[FetchedBar]) -> Vec<String> {
        let open = |bar: &FetchedBar| if let Field::Value(open) = bar.open { open.to_string() } else { String::new() };
        bars.iter().map(open).collect()
    }

    #[test]
    fn a_bar_without_open_is_not_offered_unless_it_has_one_price() {
        let mut bars = bars();
        let not_offered = complete(&mut bars, false);
        assert_eq!(opens(&bars), ["10.00", "10.32"]);
        let expected = ["2026-04-22T09:31:00", "2026-04-22T09:32:00", "2026-04-23T09:31:00"];
        assert_eq!(not_offered, expected.map(|time| time.parse().unwrap()));
    }

    #[test]
    fn the_close_before_is_the_open_within_a_day() {
        let mut bars = bars();
        let not_offered = complete(&mut bars, true);
        assert_eq!(opens(&bars), ["10.00", "10.00", "10.15", "10.32"], "10.10 is moved to the low 10.15");
        assert_eq!(not_offered, ["2026-04-23T09:31:00"].map(|time| time.parse().unwrap()), "no minute before");
    }

    #[test]
    fn unreadable_bars_are_left_to_the_validator() {
        let odd = FetchedBar { low: Field::Missing, ..bar("2026-04-22T09:31:00", None, [1, 2, 1]) };
        let crossed = bar("2026-04-22T09:32:00", None, [1, 1, 2]);
        let mut bars = vec![odd, crossed];
        assert_eq!((complete(&mut bars, true).len(), bars.len()), (0, 2));
    }
}
