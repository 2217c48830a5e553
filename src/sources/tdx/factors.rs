// Upstream: source
// Downstream: actors, cursor, ex_rights
// Role: Computes adjustment factors from ex-right days and the closes before them. Pure.

//! The exchanges' rule (SSE and SZSE trading rules, "ex-right and ex-dividend reference price"), per ten shares:
//!
//! ```text
//! reference = (10 * previous close - cash + price * shares bought) / (10 + free shares + shares bought)
//! ```
//!
//! The result is rounded half up to a hundredth of a yuan and is published as the day's previous close. From such a day
//! on, the factor is the previous factor times `previous close / reference`. The first factor is 1, so the factor grows
//! with time as Tushare's does.

use std::collections::BTreeMap;

use actors::domain::{DateRange, FetchedBar, FetchedFactor, Field};
use chrono::NaiveDate;
use rust_decimal::{Decimal, RoundingStrategy};

use super::cursor::Malformed;
use super::ex_rights::ExRight;

/// Computes the factors of the days of `range` among these daily bars. The bars must reach back to before the first
/// event, or to the security's first day. An event without a bar before it has no effect, because there is no price to
/// adjust.
pub fn of_days(events: &[ExRight], bars: &[FetchedBar], range: DateRange) -> Result<Vec<FetchedFactor>, Malformed> {
    let closes: BTreeMap<NaiveDate, Decimal> = bars.iter().filter_map(close).collect();
    let mut pending = by_day(events).into_iter().peekable();
    let (mut factor, mut before) = (Decimal::ONE, None);
    let mut factors = Vec::new();
    for (day, close) in closes {
        // If the security is suspended on the day of an event, the event applies to the next day with a price.
        while let Some((_, event)) = pending.next_if(|(of_event, _)| *of_event <= day) {
            if let Some(before) = before {
                factor = stepped(factor, before, &event).ok_or_else(|| {
                    let (day, cash, paid) = (event.day, event.cash, event.paid);
                    let (free, bought) = (event.free_shares, event.bought_shares);
                    Malformed(format!(
                        "the close {before} and the event of {day} give no valid factor: for ten shares {cash} yuan \
                         cash, {free} free shares, {bought} bought shares for {paid} yuan"
                    ))
                })?;
            }
        }
        if range.contains(day) {
            factors.push(FetchedFactor {
                timestamp: Field::Value(day.and_time(chrono::NaiveTime::MIN)),
                factor: Field::Value(factor),
            });
        }
        before = Some(close);
    }
    Ok(factors)
}

fn close(bar: &FetchedBar) -> Option<(NaiveDate, Decimal)> {
    match (&bar.timestamp, &bar.close) {
        (Field::Value(time), Field::Value(close)) if *close > Decimal::ZERO => Some((time.date(), *close)),
        _ => None,
    }
}

/// Adds up the events of each day, because they apply to the same close.
fn by_day(events: &[ExRight]) -> BTreeMap<NaiveDate, ExRight> {
    let mut days: BTreeMap<NaiveDate, ExRight> = BTreeMap::new();
    for event in events {
        days.entry(event.day)
            .and_modify(|sum| {
                sum.cash = sum.cash.saturating_add(event.cash);
                sum.free_shares = sum.free_shares.saturating_add(event.free_shares);
                sum.bought_shares = sum.bought_shares.saturating_add(event.bought_shares);
                sum.paid = sum.paid.saturating_add(event.paid);
            })
            .or_insert_with(|| event.clone());
    }
    days
}

/// The factor from the event's day on; `None` if the reference price would not be above zero, or a number overflows.
fn stepped(factor: Decimal, before: Decimal, event: &ExRight) -> Option<Decimal> {
    let value = before.checked_mul(Decimal::TEN)?.checked_sub(event.cash)?.checked_add(event.paid)?;
    let shares = Decimal::TEN.checked_add(event.free_shares)?.checked_add(event.bought_shares)?;
    let reference = value.checked_div(shares)?.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    let stepped = factor.checked_mul(before.checked_div(reference)?)?;
    (reference > Decimal::ZERO && stepped > Decimal::ZERO).then_some(stepped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn bar(day: &str, close: &str) -> FetchedBar {
        let price = Field::Value(decimal(close));
        FetchedBar {
            timestamp: Field::Value(day.parse::<NaiveDate>().unwrap().and_time(chrono::NaiveTime::MIN)),
            open: price.clone(),
            high: price.clone(),
            low: price.clone(),
            close: price.clone(),
            volume: price.clone(),
            amount: price,
        }
    }

    fn event(day: &str, [cash, free, bought, price]: [&str; 4]) -> ExRight {
        let (bought_shares, price) = (decimal(bought), decimal(price));
        let paid = bought_shares * price;
        ExRight { day: day.parse().unwrap(), cash: decimal(cash), free_shares: decimal(free), bought_shares, paid }
    }

    fn factors(events: &[ExRight], bars: &[FetchedBar], start: &str) -> Vec<String> {
        let range = DateRange { start: start.parse().unwrap(), end: "2024-12-31".parse().unwrap() };
        let shown = |factor: FetchedFactor| match (factor.timestamp, factor.factor) {
            (Field::Value(day), Field::Value(factor)) => format!("{} {}", day.date(), factor.round_dp(6).normalize()),
            other => format!("{other:?}"),
        };
        of_days(events, bars, range).unwrap().into_iter().map(shown).collect()
    }

    /// Computed by hand.
    /// 3 January: 3 yuan and 5 free shares per ten, previous close 9.30: (93 - 3) / 15 = 6.00; 9.30 / 6.00 = 1.55.
    /// 8 January, suspended until the 9th: 2 shares per ten at 4.00, previous close 6.20: (62 + 8) / 12 = 5.8333…,
    /// rounded 5.83; 1.55 * 6.20 / 5.83 = 1.648370…
    #[test]
    fn factors_grow_by_the_exchanges_reference_price() {
        let bars = [
            bar("2024-01-02", "9.30"),
            bar("2024-01-03", "6.10"),
            bar("2024-01-04", "6.20"),
            bar("2024-01-09", "5.90"),
            bar("2024-01-10", "6.00"),
        ];
        let events = [
            event("1999-01-01", ["1", "0", "0", "0"]), // before the first price
            event("2024-01-08", ["0", "0", "2", "4"]),
            event("2024-01-03", ["3", "5", "0", "0"]),
            event("2025-01-03", ["3", "5", "0", "0"]), // still to come
        ];
        let expected =
            ["2024-01-02 1", "2024-01-03 1.55", "2024-01-04 1.55", "2024-01-09 1.64837", "2024-01-10 1.64837"];
        assert_eq!(factors(&events, &bars, "2024-01-01"), expected);
        assert_eq!(
            factors(&events, &bars, "2024-01-09"),
            expected[3..],
            "earlier events apply, but earlier days are not returned"
        );
        assert_eq!(factors(&[], &bars[..1], "2024-01-01"), ["2024-01-02 1"]);
    }

    #[test]
    fn events_of_one_day_apply_to_the_same_close() {
        let bars = [bar("2024-01-02", "9.30"), bar("2024-01-03", "6.10")];
        let together = [event("2024-01-03", ["3", "5", "0", "0"])];
        let apart = [event("2024-01-03", ["3", "0", "0", "0"]), event("2024-01-03", ["0", "5", "0", "0"])];
        assert_eq!(factors(&together, &bars, "2024-01-01"), factors(&apart, &bars, "2024-01-01"));
    }

    #[test]
    fn an_event_that_leaves_no_price_is_refused() {
        let bars = [bar("2024-01-02", "0.30"), bar("2024-01-03", "6.10")];
        let range = DateRange { start: "2024-01-01".parse().unwrap(), end: "2024-12-31".parse().unwrap() };
        for cash in ["3", "4", "79228162514264337593543950335"] {
            let error = of_days(&[event("2024-01-03", [cash, "0", "0", "0"])], &bars, range).unwrap_err();
            assert!(error.to_string().contains("0.30"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn factors_never_fall_when_holders_gain(
            close in 100_i64..100_000, cash in 0_i64..900, free in 0_i64..100,
        ) {
            let bars = [bar("2024-01-02", &Decimal::new(close, 2).to_string()), bar("2024-01-03", "6.10")];
            let events = [event("2024-01-03", [&Decimal::new(cash, 2).to_string(), &Decimal::new(free, 1).to_string(), "0", "0"])];
            let range = DateRange { start: "2024-01-03".parse().unwrap(), end: "2024-12-31".parse().unwrap() };
            let found = of_days(&events, &bars, range).unwrap();
            prop_assert!(matches!(found[0].factor, Field::Value(factor) if factor >= Decimal::ONE));
        }
    }
}
