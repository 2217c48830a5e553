// Upstream: source
// Downstream: actors, chart, kit, sources::shared
// Role: Converts Yahoo's candles to raw bars. Pure.

//! The time of a Yahoo candle is its start. Yahoo counts shares, has no amount, and adjusts prices and volumes for
//! every later split (not for dividends). Stored bars are raw, so the adjustment of daily bars is undone: prices are
//! multiplied and volumes divided by the ratios of all splits after the day. Yahoo does not document whether minute
//! bars are adjusted, so minute bars before a split are rejected.
//!
//! Three kinds of candles are skipped: candles of nulls; days without any trade (other sources have no bar of such a
//! day); and minute candles that do not begin on the grid of the sessions (Yahoo appends the last quote as such a
//! candle). If a day has two candles, the first is dropped, because the last is the live one.

use actors::domain::{DateRange, FetchedBar, Field, Frequency};
use actors::ports::SourceErrorKind;
use chrono::{Duration, NaiveDateTime, NaiveTime, Timelike};
use rust_decimal::Decimal;

use super::chart::{Candle, Chart, Split};
use crate::sources::shared::{timestamps, units};

/// The sessions of the exchanges: first minute (inclusive) and last minute (exclusive) of the day.
const SESSIONS: [(u32, u32); 2] = [(9 * 60 + 30, 11 * 60 + 30), (13 * 60, 15 * 60)];

/// Converts charts to the bars of a range of days. The charts must reach to the present, because earlier ones do not
/// know later splits.
pub fn bars(charts: &[Chart], frequency: Frequency, range: DateRange) -> Result<Vec<FetchedBar>, SourceErrorKind> {
    let splits: Vec<Split> = charts.iter().flat_map(|chart| &chart.splits).copied().collect();
    let candles = charts.iter().flat_map(|chart| &chart.candles);
    match frequency.minutes() {
        None => Ok(days(candles, &splits, range)),
        Some(minutes) => minute_bars(candles, &splits, minutes, range),
    }
}

fn days<'a>(candles: impl Iterator<Item = &'a Candle>, splits: &[Split], range: DateRange) -> Vec<FetchedBar> {
    let mut bars: Vec<FetchedBar> = Vec::new();
    for candle in candles.filter(|candle| !is_empty(candle) && candle.values[4] != Field::Value(Decimal::ZERO)) {
        let timestamp = match time(candle) {
            Field::Value(time) if !range.contains(time.date()) => continue,
            Field::Value(time) => Field::Value(time.date().and_time(NaiveTime::MIN)),
            other => other,
        };
        if matches!(timestamp, Field::Value(_)) && bars.last().is_some_and(|bar| bar.timestamp == timestamp) {
            bars.pop();
        }
        let later = |split: &&Split| matches!(candle.start, Field::Value(start) if split.at > start);
        let ratio = splits.iter().filter(later).try_fold(Decimal::ONE, |ratio, split| ratio.checked_mul(split.ratio));
        bars.push(bar(timestamp, &candle.values, ratio));
    }
    bars
}

fn minute_bars<'a>(
    candles: impl Iterator<Item = &'a Candle>,
    splits: &[Split],
    minutes: u32,
    range: DateRange,
) -> Result<Vec<FetchedBar>, SourceErrorKind> {
    let mut bars = Vec::new();
    for candle in candles.filter(|candle| !is_empty(candle)) {
        let timestamp = match time(candle) {
            Field::Value(start) if !range.contains(start.date()) || !begins_a_bar(start, minutes) => continue,
            Field::Value(start) => Field::Value(start + Duration::minutes(minutes.into())),
            other => other,
        };
        if let Field::Value(start) = candle.start
            && let Some(split) = splits.iter().find(|split| split.at > start)
        {
            let day = timestamps::time_of_epoch(split.at).map(|time| time.date().to_string()).unwrap_or_default();
            let text = format!("minute bars before the split of {day} may be adjusted; request later days");
            return Err(SourceErrorKind::BadRequest(text));
        }
        bars.push(bar(timestamp, &candle.values, Some(Decimal::ONE)));
    }
    Ok(bars)
}

fn is_empty(candle: &Candle) -> bool {
    candle.values.iter().all(|value| *value == Field::Missing)
}

fn time(candle: &Candle) -> Field<NaiveDateTime> {
    match &candle.start {
        Field::Value(start) => {
            timestamps::time_of_epoch(*start).map_or_else(|| Field::unreadable(&start.to_string()), Field::Value)
        }
        Field::Missing => Field::Missing,
        Field::Unreadable(text) => Field::Unreadable(text.clone()),
    }
}

fn begins_a_bar(start: NaiveDateTime, minutes: u32) -> bool {
    let minute = start.hour() * 60 + start.minute();
    let fits = |(first, end): &(u32, u32)| (*first..*end).contains(&minute) && (minute - first).is_multiple_of(minutes);
    start.second() == 0 && SESSIONS.iter().any(fits)
}

/// Builds a bar. `ratio` is the product of the ratios of all later splits; `None` if it overflows.
fn bar(timestamp: Field<NaiveDateTime>, values: &[Field<Decimal>; 5], ratio: Option<Decimal>) -> FetchedBar {
    let [open, high, low, close, volume] = values;
    let price = |price: &Field<Decimal>| exact(price, |price| price.checked_mul(ratio?));
    // Shares are whole numbers, so rounding restores the exact volume.
    let shares = exact(volume, |shares| Some(shares.checked_div(ratio?)?.round()));
    FetchedBar {
        timestamp,
        open: price(open),
        high: price(high),
        low: price(low),
        close: price(close),
        volume: units::smaller(shares, units::SHARES),
        amount: Field::Missing,
    }
}

fn exact(field: &Field<Decimal>, change: impl Fn(Decimal) -> Option<Decimal>) -> Field<Decimal> {
    match field {
        Field::Value(value) => change(*value).map_or_else(|| Field::unreadable(&value.to_string()), Field::Value),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::chart;
    use super::*;
    use proptest::prelude::*;

    /// Midnight of 2 January 2024 in Shanghai.
    const DAY: i64 = 1_704_124_800;

    fn candle(start: i64, values: [&str; 5]) -> Candle {
        Candle { start: Field::Value(start), values: values.map(Field::number) }
    }

    fn at(days: i64, hour: i64, minute: i64) -> i64 {
        DAY + days * 86_400 + hour * 3_600 + minute * 60
    }

    fn range() -> DateRange {
        DateRange { start: "2024-01-02".parse().unwrap(), end: "2024-01-31".parse().unwrap() }
    }

    fn read(candles: Vec<Candle>, splits: Vec<Split>, frequency: Frequency) -> Vec<FetchedBar> {
        bars(&[Chart { candles, splits }], frequency, range()).unwrap()
    }

    fn value(text: &str) -> Field<Decimal> {
        Field::Value(text.parse().unwrap())
    }

    fn times(bars: &[FetchedBar]) -> Vec<String> {
        let text = |bar: &FetchedBar| match &bar.timestamp {
            Field::Value(time) => time.format("%d %H:%M").to_string(),
            other => format!("{other:?}"),
        };
        bars.iter().map(text).collect()
    }

    #[test]
    fn day_bar_has_midnight_lots_and_no_amount() {
        let bars =
            read(vec![candle(at(0, 9, 30), ["6.63", "6.67", "6.58", "6.6", "22364413"])], vec![], Frequency::Day);
        let expected = FetchedBar {
            timestamp: Field::Value("2024-01-02T00:00:00".parse().unwrap()),
            open: value("6.63"),
            high: value("6.67"),
            low: value("6.58"),
            close: value("6.6"),
            volume: value("223644.13"),
            amount: Field::Missing,
        };
        assert_eq!(bars, [expected]);
    }

    #[test]
    fn undoes_the_adjustment_before_splits() {
        // A bonus of 3 per 10, then of 1 per 1: the raw values were 13.00 yuan and 1,234,501 shares.
        let splits = vec![
            Split { at: at(1, 9, 30), ratio: Decimal::new(13, 1) },
            Split { at: at(20, 9, 30), ratio: Decimal::TWO },
        ];
        let candles = vec![
            candle(at(0, 9, 30), ["5.000000000001", "5", "5", "5", "3209703"]),
            candle(at(1, 9, 30), ["5", "5", "5", "5", "200"]),
            candle(at(20, 9, 30), ["5", "5", "5", "5", "100"]),
        ];
        let bars = read(candles, splits, Frequency::Day);
        assert_eq!(bars[0].open, value("13.0000000000026"));
        assert_eq!((&bars[0].high, &bars[0].volume), (&value("13"), &value("12345.01")));
        assert_eq!((&bars[1].open, &bars[1].volume), (&value("10"), &value("1")));
        assert_eq!((&bars[2].open, &bars[2].volume), (&value("5"), &value("1")));
    }

    #[test]
    fn skips_empty_candles_and_keeps_the_live_one() {
        let candles = vec![
            candle(at(-1, 9, 30), ["1", "1", "1", "1", "1"]),
            candle(at(0, 9, 30), ["", "", "", "", ""]),
            candle(at(1, 9, 30), ["1", "1", "1", "1", "0"]),
            candle(at(2, 9, 30), ["1", "", "1", "1", "100"]),
            candle(at(3, 9, 30), ["1", "1", "1", "1", "100"]),
            candle(at(3, 14, 37), ["2", "2", "2", "2", "200"]),
            candle(at(40, 9, 30), ["1", "1", "1", "1", "1"]),
        ];
        let bars = read(candles, vec![], Frequency::Day);
        assert_eq!(times(&bars), ["04 00:00", "05 00:00"]);
        assert_eq!(bars[0].high, Field::Missing, "the Validator reports a missing price");
        assert_eq!(bars[1].close, value("2"));
    }

    #[test]
    fn minutes_end_on_the_grid_of_the_sessions() {
        let starts = [(9, 30), (9, 35), (9, 37), (11, 25), (11, 30), (12, 0), (13, 0), (14, 55), (15, 0)];
        let candles: Vec<Candle> =
            starts.iter().map(|(hour, minute)| candle(at(0, *hour, *minute), ["1", "1", "1", "1", "0"])).collect();
        let bars = read(candles, vec![], Frequency::Minute5);
        assert_eq!(times(&bars), ["02 09:35", "02 09:40", "02 11:30", "02 13:05", "02 15:00"]);
        let hours = [(9, 30), (10, 30), (11, 30), (13, 0), (14, 0), (15, 0)];
        let candles: Vec<Candle> =
            hours.iter().map(|(hour, minute)| candle(at(0, *hour, *minute), ["1", "1", "1", "1", "1"])).collect();
        assert_eq!(
            times(&read(candles, vec![], Frequency::Minute60)),
            ["02 10:30", "02 11:30", "02 14:00", "02 15:00"]
        );
    }

    #[test]
    fn minutes_before_a_split_are_refused() {
        let chart = |split: i64| Chart {
            candles: vec![candle(at(3, 9, 30), ["1", "1", "1", "1", "1"])],
            splits: vec![Split { at: split, ratio: Decimal::TWO }],
        };
        let error = bars(&[chart(at(5, 9, 30))], Frequency::Minute5, range()).unwrap_err();
        assert!(matches!(&error, SourceErrorKind::BadRequest(text) if text.contains("2024-01-07")), "{error}");
        assert_eq!(bars(&[chart(at(3, 9, 30))], Frequency::Minute5, range()).unwrap().len(), 1);
    }

    #[test]
    fn passes_on_unreadable_times() {
        let unreadable = Candle { start: Field::unreadable("\"soon\""), values: ["1"; 5].map(Field::number) };
        let far = candle(i64::MAX, ["1"; 5]);
        for frequency in [Frequency::Day, Frequency::Minute5] {
            let bars = read(vec![unreadable.clone(), far.clone()], vec![], frequency);
            assert_eq!(bars[0].timestamp, Field::unreadable("\"soon\""));
            assert_eq!(bars[1].timestamp, Field::unreadable(&i64::MAX.to_string()));
        }
    }

    #[test]
    fn mutated_answer_gives_bars_in_range_or_error() {
        let body = r#"{"chart":{"result":[{"meta":{"symbol":"600000.SS","dataGranularity":"1d"},"timestamp":[1704159000,1704245400],
            "events":{"splits":{"1704245400":{"date":1704245400,"numerator":13.0,"denominator":10.0,"splitRatio":"13:10"}}},
            "indicators":{"quote":[{"open":[6.63,5],"high":[6.67,null],"low":[6.58,5],"close":[6.6,5],"volume":[22364413,0]}]}}],
            "error":null}}"#;
        assert_eq!(chart::parse(body, "600000.SS", "1d").unwrap().splits.len(), 1);
        kit::fuzz::mutate(&[body], |bytes| {
            let Ok(chart) = chart::parse(&String::from_utf8_lossy(bytes), "600000.SS", "1d") else { return };
            for frequency in [Frequency::Day, Frequency::Minute5] {
                for bar in bars(std::slice::from_ref(&chart), frequency, range()).unwrap_or_default() {
                    assert!(!matches!(bar.timestamp, Field::Value(time) if !range().contains(time.date())));
                }
            }
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(15_000))]

        #[test]
        fn any_candle_gives_a_bar_or_none(start: i64, mantissa: i64, scale in 0..28_u32, split: i64, ratio in 1_u64..) {
            let number = Decimal::new(mantissa, scale);
            let candles = vec![Candle { start: Field::Value(start), values: [0; 5].map(|_| Field::Value(number)) }];
            let chart = Chart { candles, splits: vec![Split { at: split, ratio: ratio.into() }] };
            for frequency in Frequency::ALL {
                if let Ok(bars) = bars(std::slice::from_ref(&chart), frequency, range()) {
                    prop_assert!(bars.len() <= 1);
                }
            }
        }
    }
}
