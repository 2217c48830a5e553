// Upstream: candles, source
// Downstream: actors, kit, sources::shared
// Role: Parses an answer of Yahoo's chart interface: candles and splits, or the vendor's error. Pure.

//! ```text
//! {"chart": {"result": [{"meta": {…}, "timestamp": […], "events": {"splits": {…}},
//!                        "indicators": {"quote": [{"open": […], …}]}}], "error": null}}
//! ```
//!
//! The arrays have one length. `timestamp` and the arrays are absent if there are no candles, and a candle of nulls is
//! a missing one. Numbers stay JSON text, so that binary floating point changes no further digit.

use std::collections::HashMap;

use actors::domain::Field;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::sources::shared::cells;
use crate::sources::shared::excerpt::excerpt;

/// An answer without candles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChartError {
    /// The vendor refused the request.
    #[error("{0}")]
    Refused(String),
    /// The body violates the protocol.
    #[error("{0}")]
    Unreadable(String),
}

/// The content of one answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chart {
    /// The candles, in the order of the answer.
    pub candles: Vec<Candle>,
    /// The splits, in no order.
    pub splits: Vec<Split>,
}

/// A candle as received. Its prices are adjusted for later splits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candle {
    /// Its start in Unix seconds.
    pub start: Field<i64>,
    /// Open, high, low, close in yuan, then the volume in shares.
    pub values: [Field<Decimal>; 5],
}

/// A split or a bonus issue of shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// The first moment at the new price, in Unix seconds.
    pub at: i64,
    /// Shares after it per share before it; above zero.
    pub ratio: Decimal,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    chart: Outcome<'a>,
}

#[derive(Deserialize)]
struct Outcome<'a> {
    #[serde(borrow, default)]
    result: Option<Vec<Series<'a>>>,
    #[serde(default)]
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    description: Option<String>,
}

#[derive(Deserialize)]
struct Series<'a> {
    meta: Meta,
    #[serde(borrow, default)]
    timestamp: Option<Vec<&'a RawValue>>,
    #[serde(borrow, default)]
    events: Option<Events<'a>>,
    #[serde(borrow)]
    indicators: Indicators<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    symbol: String,
    #[serde(default)]
    data_granularity: Option<String>,
}

#[derive(Deserialize)]
struct Events<'a> {
    #[serde(borrow, default)]
    splits: Option<HashMap<String, SplitEvent<'a>>>,
}

#[derive(Deserialize)]
struct SplitEvent<'a> {
    date: i64,
    #[serde(borrow)]
    numerator: &'a RawValue,
    #[serde(borrow)]
    denominator: &'a RawValue,
}

#[derive(Deserialize)]
struct Indicators<'a> {
    #[serde(borrow)]
    quote: Vec<Quote<'a>>,
}

type Column<'a> = Option<Vec<&'a RawValue>>;

#[derive(Deserialize, Default)]
struct Quote<'a> {
    #[serde(borrow, default)]
    open: Column<'a>,
    #[serde(borrow, default)]
    high: Column<'a>,
    #[serde(borrow, default)]
    low: Column<'a>,
    #[serde(borrow, default)]
    close: Column<'a>,
    #[serde(borrow, default)]
    volume: Column<'a>,
}

/// Parses the body of an answer about `symbol` at this interval.
pub fn parse(body: &str, symbol: &str, interval: &str) -> Result<Chart, ChartError> {
    let wrong = |reason: &str| ChartError::Unreadable(format!("{reason}; the body begins with `{}`", excerpt(body)));
    let Envelope { chart } =
        serde_json::from_str(body).map_err(|error| wrong(&format!("the body is no chart: {error}")))?;
    if let Some(Refusal { code, description }) = chart.error {
        let text = format!("{}: {}", code.unwrap_or_default(), description.unwrap_or_default());
        return Err(ChartError::Refused(excerpt(&text)));
    }
    let series = chart.result.and_then(|mut series| series.pop()).ok_or_else(|| wrong("the chart has no result"))?;
    if !series.meta.symbol.eq_ignore_ascii_case(symbol) {
        return Err(wrong(&format!("it is about {}, but {symbol} was requested", excerpt(&series.meta.symbol))));
    }
    if let Some(found) = series.meta.data_granularity.filter(|found| found != interval) {
        return Err(wrong(&format!("its interval is {}, but {interval} was requested", excerpt(&found))));
    }
    let splits = series.events.and_then(|events| events.splits).unwrap_or_default();
    let splits = splits.into_values().map(|event| split(&event).ok_or_else(|| wrong("a split has no valid ratio")));
    let splits = splits.collect::<Result<_, _>>()?;
    let Some(starts) = series.timestamp else { return Ok(Chart { candles: Vec::new(), splits }) };
    let quote = series.indicators.quote.into_iter().next().unwrap_or_default();
    let columns = [quote.open, quote.high, quote.low, quote.close, quote.volume].map(Option::unwrap_or_default);
    if let Some(column) = columns.iter().find(|column| column.len() != starts.len()) {
        return Err(wrong(&format!("{} values for {} timestamps", column.len(), starts.len())));
    }
    let candle = |(at, start): (usize, &&RawValue)| Candle {
        start: whole(start.get()),
        values: std::array::from_fn(|which| {
            columns
                .get(which)
                .and_then(|column| column.get(at))
                .map_or(Field::Missing, |cell| cells::number(cell.get()))
        }),
    };
    Ok(Chart { candles: starts.iter().enumerate().map(candle).collect(), splits })
}

fn whole(cell: &str) -> Field<i64> {
    match cell {
        "null" => Field::Missing,
        _ => cell.parse().map_or_else(|_| Field::unreadable(cell), Field::Value),
    }
}

fn split(event: &SplitEvent<'_>) -> Option<Split> {
    let positive = |cell: &RawValue| match cells::number(cell.get()) {
        Field::Value(number) if number > Decimal::ZERO => Some(number),
        _ => None,
    };
    let ratio = positive(event.numerator)?.checked_div(positive(event.denominator)?)?;
    (ratio > Decimal::ZERO).then_some(Split { at: event.date, ratio })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An answer in the vendor's format with two days; the second has a null.
    pub const SAMPLE: &str = r#"{"chart":{"result":[{"meta":{"currency":"CNY","symbol":"600000.SS","exchangeName":"SHH","fullExchangeName":"Shanghai","instrumentType":"EQUITY","firstTradeDate":942197400,"regularMarketTime":1711695600,"gmtoffset":28800,"timezone":"CST","exchangeTimezoneName":"Asia/Shanghai","priceHint":2,"dataGranularity":"1d","range":"","validRanges":["1d","5d","max"]},"timestamp":[1704159000,1704245400],"events":{"dividends":{"1721611800":{"amount":0.321,"date":1721611800}},"splits":{"1496021400":{"date":1496021400,"numerator":13.0,"denominator":10.0,"splitRatio":"13:10"}}},"indicators":{"quote":[{"low":[6.579999923706055,6.539999961853027],"volume":[22364413,null],"high":[6.670000076293945,6.630000114440918],"open":[6.630000114440918,6.579999923706055],"close":[6.599999904632568,6.619999885559082]}],"adjclose":[{"adjclose":[6.05,6.07]}]}}],"error":null}}"#;

    fn value(text: &str) -> Field<Decimal> {
        Field::Value(text.parse().unwrap())
    }

    fn refusal(body: &str) -> String {
        parse(body, "600000.SS", "1d").unwrap_err().to_string()
    }

    #[test]
    fn candles_and_splits_are_read_digit_by_digit() {
        let Chart { candles, splits } = parse(SAMPLE, "600000.SS", "1d").unwrap();
        assert_eq!(candles.len(), 2);
        assert_eq!(candles[0].start, Field::Value(1_704_159_000));
        let expected =
            ["6.630000114440918", "6.670000076293945", "6.579999923706055", "6.599999904632568", "22364413"].map(value);
        assert_eq!(candles[0].values, expected);
        assert_eq!(candles[1].values[4], Field::Missing);
        assert_eq!(splits, [Split { at: 1_496_021_400, ratio: Decimal::new(13, 1) }]);
    }

    #[test]
    fn an_answer_without_timestamps_has_no_candles() {
        let body = r#"{"chart":{"result":[{"meta":{"symbol":"600000.SS"},"indicators":{"quote":[{}]}}],"error":null}}"#;
        assert_eq!(parse(body, "600000.SS", "1d"), Ok(Chart::default()));
    }

    #[test]
    fn reports_a_refusal_with_the_vendors_text() {
        let body = r#"{"chart":{"result":null,"error":{"code":"Not Found","description":"No data found, symbol may be delisted"}}}"#;
        assert_eq!(refusal(body), "Not Found: No data found, symbol may be delisted");
    }

    #[test]
    fn what_is_no_answer_is_refused_with_its_beginning() {
        let of = |from: &str, to: &str| refusal(&SAMPLE.replacen(from, to, 1));
        assert!(
            refusal("<html>").contains("no chart: expected value at line 1 column 1; the body begins with `<html>`")
        );
        assert!(refusal("Edge: Too Many Requests").contains("no chart"));
        assert!(refusal(r#"{"chart":{"result":null,"error":null}}"#).contains("no result"));
        assert!(refusal(r#"{"chart":{"result":[],"error":null}}"#).contains("no result"));
        assert!(of("600000.SS", "000001.SZ").contains("it is about 000001.SZ, but 600000.SS was requested"));
        assert!(of(r#""dataGranularity":"1d""#, r#""dataGranularity":"3mo""#).contains("its interval is 3mo"));
        assert!(of("[22364413,null]", "[22364413]").contains("1 values for 2 timestamps"));
        assert!(of(r#""volume":[22364413,null],"#, "").contains("0 values for 2 timestamps"));
        assert!(of(r#""denominator":10.0"#, r#""denominator":0"#).contains("a split has no valid ratio"));
        assert!(of("[22364413,null]", "7").contains("no chart"));
    }

    #[test]
    fn cells_of_another_kind_stay_as_they_are() {
        let body = SAMPLE.replace("1704159000", "null").replace("1704245400", "\"soon\"").replace("22364413", "[1]");
        let candles = parse(&body, "600000.SS", "1d").unwrap().candles;
        assert_eq!(candles[0].start, Field::Missing);
        assert_eq!(candles[1].start, Field::unreadable("\"soon\""));
        assert_eq!(candles[0].values[4], Field::unreadable("[1]"));
    }

    #[test]
    fn mutated_answers_give_a_chart_or_error() {
        kit::fuzz::mutate_text(&[SAMPLE], |text| parse(text, "600000.SS", "1d"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12_000))]

        #[test]
        fn truncated_or_mutated_chart_never_panics(cut in 0..SAMPLE.len(), at in 0..SAMPLE.len(), byte: u8) {
            prop_assert!(parse(&SAMPLE[..cut], "600000.SS", "1d").is_err());
            let mut mutated = SAMPLE.as_bytes().to_vec();
            mutated[at] = byte;
            if let Err(error) = parse(&String::from_utf8_lossy(&mutated), "600000.SS", "1d") {
                prop_assert!(!error.to_string().is_empty());
            }
        }

        #[test]
        fn any_text_gives_a_chart_or_a_clear_error(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            near in prop::collection::vec(prop::sample::select(b"[]{}\",:0a".to_vec()), 0..60),
        ) {
            for bytes in [bytes, near] {
                let body = String::from_utf8_lossy(&bytes).into_owned();
                if let Err(error) = parse(&body, "600000.SS", "1d") {
                    prop_assert!(!error.to_string().is_empty());
                }
            }
        }
    }
}
