// Upstream: actors::validator
// Downstream: actors::domain::bar, actors::domain::code, actors::domain::task, actors::domain::tick
// Role: The rules a fetched tick must keep.

use std::collections::{BTreeSet, HashMap};

use chrono::{NaiveDate, NaiveDateTime, Timelike};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::domain::{Anomaly, Code, FetchedTick, Field, Hundredths, Rule, SourceId, TaskCounts, Tick};

/// The numbers of directions that Ginkgo's own gate lets through.
const DIRECTIONS: [i8; 8] = [0, 1, 2, 4, 5, 6, 7, 8];

/// Minutes of the day in which trades may be: from the opening auction to the end of after-hours trading.
const TRADING: std::ops::RangeInclusive<u32> = (9 * 60 + 15)..=(15 * 60 + 30);

/// The ticks of some days, checked, in the order they came.
pub struct CheckedTicks {
    /// Sound ones.
    pub rows: Vec<Tick>,
    /// Days of which a row was refused: what is stored of them is not removed, for nothing better is known.
    pub unsound_days: BTreeSet<NaiveDate>,
    /// Rows by what became of them.
    pub counts: TaskCounts,
    /// Examples of invalid ones.
    pub anomalies: Vec<Anomaly>,
}

/// Checks the ticks of some days.
pub fn check_all(
    days: &[(NaiveDate, Vec<FetchedTick>)],
    code: Code,
    source: SourceId,
    max_examples: usize,
) -> CheckedTicks {
    let mut checked = CheckedTicks {
        rows: Vec::new(),
        unsound_days: BTreeSet::new(),
        counts: TaskCounts::default(),
        anomalies: Vec::new(),
    };
    let mut equal: HashMap<(NaiveDateTime, Hundredths, i32, i8), u32> = HashMap::new();
    for (day, fetched) in days {
        checked.counts.fetched += fetched.len() as u64;
        for row in fetched {
            match check(row, *day, code) {
                Ok((timestamp, price, volume, direction)) => {
                    let count = equal.entry((timestamp, price, volume, direction)).or_default();
                    checked.rows.push(Tick { code, timestamp, price, volume, direction, source, nth: *count });
                    *count += 1;
                }
                Err(anomaly) => {
                    checked.unsound_days.insert(*day);
                    *checked.counts.skipped.entry(anomaly.rule).or_default() += 1;
                    if checked.anomalies.len() < max_examples {
                        checked.anomalies.push(anomaly);
                    }
                }
            }
        }
    }
    checked
}

fn check(row: &FetchedTick, day: NaiveDate, code: Code) -> Result<(NaiveDateTime, Hundredths, i32, i8), Anomaly> {
    let wrong = |timestamp, field, value: &str, rule| Anomaly { code, timestamp, field, value: value.to_owned(), rule };
    let timestamp = match &row.timestamp {
        Field::Value(time) => *time,
        Field::Missing => return Err(wrong(None, "timestamp", "", Rule::MissingValue)),
        Field::Unreadable(text) => return Err(wrong(None, "timestamp", text, Rule::UnreadableValue)),
    };
    let minute = timestamp.hour() * 60 + timestamp.minute();
    if timestamp.date() != day || !TRADING.contains(&minute) {
        return Err(wrong(Some(timestamp), "timestamp", &timestamp.to_string(), Rule::ImplausibleTimestamp));
    }
    let number = |name: &'static str, field: &Field<Decimal>| match field {
        Field::Value(value) => Ok(*value),
        Field::Missing => Err(wrong(Some(timestamp), name, "", Rule::MissingValue)),
        Field::Unreadable(text) => Err(wrong(Some(timestamp), name, text, Rule::UnreadableValue)),
    };
    let (price, volume) = (number("price", &row.price)?, number("volume", &row.volume)?);
    let direction = number("direction", &row.direction)?;
    let unfit = |name, value: Decimal| wrong(Some(timestamp), name, &value.to_string(), Rule::ValueOutOfRange);
    let rounded = Hundredths::from_decimal(price).ok_or_else(|| unfit("price", price))?;
    if rounded.0 <= 0 {
        return Err(wrong(Some(timestamp), "price", &price.to_string(), Rule::PriceNotPositive));
    }
    if volume < Decimal::ZERO {
        return Err(wrong(Some(timestamp), "volume", &volume.to_string(), Rule::VolumeNegative));
    }
    let lots = volume.trunc().to_i32().ok_or_else(|| unfit("volume", volume))?;
    let side = direction.to_i8().filter(|side| direction.fract().is_zero() && DIRECTIONS.contains(side));
    Ok((timestamp, rounded, lots, side.ok_or_else(|| unfit("direction", direction))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(time: &str, price: &str, volume: &str, direction: &str) -> FetchedTick {
        FetchedTick {
            timestamp: format!("2024-01-02T{time}").parse().map_or(Field::Missing, Field::Value),
            price: Field::number(price),
            volume: Field::number(volume),
            direction: Field::number(direction),
        }
    }

    #[test]
    fn equal_trades_of_a_minute_are_different_trades_and_what_cannot_be_is_refused() {
        let day = NaiveDate::from_ymd_opt(2024, 1, 2).unwrap();
        let rows = vec![
            tick("09:25:00", "11.50", "120", "2"),
            tick("09:30:00", "11.51", "7", "0"),
            tick("09:30:00", "11.51", "7", "0"),
            tick("09:30:00", "11.50", "7", "1"),
            tick("08:59:00", "11.50", "7", "1"),
            tick("09:31:00", "0", "7", "1"),
            tick("09:31:00", "11.50", "-1", "1"),
            tick("09:31:00", "11.50", "1", "3"),
            tick("09:31:00", "x", "1", "1"),
            tick("", "11.50", "1", "1"),
        ];
        let other_day = (day.succ_opt().unwrap(), vec![tick("09:31:00", "11.50", "1", "1")]);
        let checked = check_all(&[(day, rows), other_day], "000001.SZ".parse().unwrap(), SourceId::TDX, 3);
        assert_eq!(checked.rows.iter().map(|row| row.nth).collect::<Vec<_>>(), [0, 0, 1, 0]);
        let identities: BTreeSet<String> = checked.rows.iter().map(Tick::uuid).collect();
        assert_eq!(identities.len(), 4);
        assert_eq!((checked.counts.fetched, checked.counts.num_skipped(), checked.anomalies.len()), (11, 7, 3));
        assert_eq!(checked.counts.skipped[&Rule::ImplausibleTimestamp], 2);
        assert_eq!(checked.unsound_days.len(), 2);
    }
}
