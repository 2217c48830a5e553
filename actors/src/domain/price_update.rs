// Upstream: many
// Downstream: bar, frequency, price, trace_ids
// Role: The event for strategies and risk managers about a new bar: Ginkgo's PriceUpdateDTO.

use chrono::NaiveDateTime;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Value, json};

use crate::domain::{Bar, TraceIds};

/// The value of `source` in events of this worker.
const SOURCE: &str = "data_worker";

/// A price update event for one stored bar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceUpdate {
    /// The Kafka record key: the code.
    pub key: String,
    /// The Kafka record value: JSON.
    pub payload: String,
}

impl PriceUpdate {
    /// Creates the event for a stored bar. The fields are those of `PriceUpdateDTO`; fields that a bar does not have
    /// (bid and ask) are null. Units are those of the stored bar: prices in yuan, volume in lots, amount in thousand
    /// yuan. `ids` are those of the command that brought the bar.
    pub fn of(bar: &Bar, ids: &TraceIds) -> Self {
        let payload = json!({
            "symbol": bar.code.as_str(),
            "timestamp": time(bar.timestamp),
            "price": number(bar.close.to_decimal()),
            "bid_price": Value::Null,
            "ask_price": Value::Null,
            "open_price": number(bar.open.to_decimal()),
            "high_price": number(bar.high.to_decimal()),
            "low_price": number(bar.low.to_decimal()),
            "volume": bar.volume,
            "amount": number(bar.amount.to_decimal()),
            "bid_volume": Value::Null,
            "ask_volume": Value::Null,
            "source": SOURCE,
            "trace_id": ids.trace.as_deref(),
            "span_id": ids.span.as_deref(),
        });
        Self { key: bar.code.to_string(), payload: payload.to_string() }
    }
}

/// Formats a naive time as Python does.
fn time(timestamp: NaiveDateTime) -> String {
    timestamp.format("%Y-%m-%dT%H:%M:%S").to_string()
}

/// The readers use a float. A number of up to 15 digits passes through a float unchanged.
fn number(value: Decimal) -> Option<f64> {
    value.to_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Frequency, Hundredths, Price, SourceId};

    #[test]
    fn has_dto_fields_and_bar_values() {
        let bar = Bar {
            code: "000001.SZ".parse().unwrap(),
            frequency: Frequency::Day,
            timestamp: "2026-01-05T00:00:00".parse().unwrap(),
            open: Price::fen(1150),
            high: Price::fen(1171),
            low: Price::fen(1149),
            close: Price::fen(1160),
            volume: 987_654,
            amount: Hundredths(114_512_345),
            source: SourceId::TUSHARE,
        };
        let update = PriceUpdate::of(&bar, &TraceIds::default());
        let expected = r#"{"symbol":"000001.SZ","timestamp":"2026-01-05T00:00:00","price":11.6,"bid_price":null,
            "ask_price":null,"open_price":11.5,"high_price":11.71,"low_price":11.49,"volume":987654,"amount":1145123.45,
            "bid_volume":null,"ask_volume":null,"source":"data_worker","trace_id":null,"span_id":null}"#;
        assert_eq!(
            serde_json::from_str::<Value>(&update.payload).unwrap(),
            serde_json::from_str::<Value>(expected).unwrap()
        );
        assert_eq!(update.key, "000001.SZ");
    }
}
