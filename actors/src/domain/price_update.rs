// Upstream: batch_writer::bars, data_worker, domain, ports
// Downstream: bar, frequency
// Role: What strategies and risk managers hear of a new bar: Ginkgo's PriceUpdateDTO.

use chrono::NaiveDateTime;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Value, json};

use crate::domain::{Bar, Hundredths};

/// The name that events of this worker carry as their source.
const SOURCE: &str = "data_worker";

/// A new bar for those who follow prices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceUpdate {
    /// The record's key: the code.
    pub key: String,
    /// The record's value.
    pub payload: String,
}

impl PriceUpdate {
    /// Of a bar that is stored. The fields are those of `PriceUpdateDTO`; what a bar does not know (bid and ask) is null.
    /// Prices in yuan, volume in lots, amount in thousand yuan, as the bar is stored.
    pub fn of(bar: &Bar) -> Self {
        let payload = json!({
            "symbol": bar.code.as_str(),
            "timestamp": time(bar.timestamp),
            "price": number(bar.close),
            "bid_price": Value::Null,
            "ask_price": Value::Null,
            "open_price": number(bar.open),
            "high_price": number(bar.high),
            "low_price": number(bar.low),
            "volume": bar.volume,
            "amount": number(bar.amount),
            "bid_volume": Value::Null,
            "ask_volume": Value::Null,
            "source": SOURCE,
            "trace_id": Value::Null,
            "span_id": Value::Null,
        });
        Self { key: bar.code.to_string(), payload: payload.to_string() }
    }
}

/// As Python writes and reads a naive time.
fn time(timestamp: NaiveDateTime) -> String {
    timestamp.format("%Y-%m-%dT%H:%M:%S").to_string()
}

/// The readers' type is a float; two decimals of up to 15 digits come through it unchanged.
fn number(value: Hundredths) -> Option<f64> {
    value.to_decimal().to_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Frequency, SourceId};

    #[test]
    fn it_has_the_fields_of_ginkgos_dto_and_the_bars_values() {
        let bar = Bar {
            code: "000001.SZ".parse().unwrap(),
            frequency: Frequency::Day,
            timestamp: "2026-01-05T00:00:00".parse().unwrap(),
            open: Hundredths(1150),
            high: Hundredths(1171),
            low: Hundredths(1149),
            close: Hundredths(1160),
            volume: 987_654,
            amount: Hundredths(114_512_345),
            source: SourceId::TUSHARE,
        };
        let update = PriceUpdate::of(&bar);
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
