// Upstream: bars, factors, reports, ticks
// Downstream: actors, clock, table
// Role: Encodes bars, factors and ticks as RowBinary, in the column order of the schema.

use actors::domain::{AdjustFactor, Tick};
use actors::ports::IdentifiedBar;
use bytes::Bytes;

use crate::adapters::clickhouse::clock::{ClockError, TableClock};
use crate::adapters::clickhouse::table::TableFacts;

/// The default values of Ginkgo's models for the unused columns `meta` and `desc`.
const META: &str = "{}";
const DESC: &str = "This man is lazy, there is no description.";

/// Typical size of a row in bytes; used to allocate the buffer once.
const ROW_BYTES: usize = 160;

/// Encodes bars. RowBinary: little-endian numbers, decimals as integers in units of their last place, strings with a LEB128 length.
pub fn encode(rows: &[IdentifiedBar], facts: &TableFacts) -> Result<Bytes, ClockError> {
    let TableFacts { clock, decimals: [open, high, low, close, amount], .. } = *facts;
    let mut bytes = Vec::with_capacity(rows.len() * ROW_BYTES);
    let mut known = None;
    for IdentifiedBar { bar, uuid } in rows {
        // Consecutive rows often share their timestamp, so the last conversion is cached.
        let epoch = match known {
            Some((time, epoch)) if time == bar.timestamp => epoch,
            _ => clock.to_epoch(bar.timestamp)?,
        };
        known = Some((bar.timestamp, epoch));
        put_text(&mut bytes, bar.code.as_str());
        for (column, price) in [(open, bar.open), (high, bar.high), (low, bar.low), (close, bar.close)] {
            column.put_price(&mut bytes, price);
        }
        bytes.extend_from_slice(&bar.volume.to_le_bytes());
        amount.put_amount(&mut bytes, bar.amount);
        bytes.extend_from_slice(&bar.frequency.as_ginkgo().to_le_bytes());
        put_text(&mut bytes, uuid);
        put_text(&mut bytes, META);
        put_text(&mut bytes, DESC);
        bytes.extend_from_slice(&epoch.to_le_bytes());
        bytes.extend_from_slice(&bar.source.number().to_le_bytes());
    }
    Ok(bytes.into())
}

/// Encodes factors. `Decimal(16, 6)` as 64-bit millionths.
pub fn encode_factors(rows: &[AdjustFactor], clock: TableClock) -> Result<Bytes, ClockError> {
    let mut bytes = Vec::with_capacity(rows.len() * ROW_BYTES);
    for row in rows {
        put_text(&mut bytes, row.code.as_str());
        for factor in [row.fore, row.back, row.raw.factor] {
            bytes.extend_from_slice(&factor.0.to_le_bytes());
        }
        put_text(&mut bytes, &row.uuid());
        put_text(&mut bytes, META);
        put_text(&mut bytes, DESC);
        bytes.extend_from_slice(&clock.to_epoch(row.raw.timestamp)?.to_le_bytes());
        bytes.extend_from_slice(&row.raw.source.number().to_le_bytes());
    }
    Ok(bytes.into())
}

/// Encodes ticks.
pub fn encode_ticks(rows: &[Tick], facts: &TableFacts) -> Result<Bytes, ClockError> {
    let TableFacts { clock, decimals: [price, ..], .. } = *facts;
    let mut bytes = Vec::with_capacity(rows.len() * ROW_BYTES);
    for row in rows {
        put_text(&mut bytes, row.code.as_str());
        price.put_price(&mut bytes, row.price);
        bytes.extend_from_slice(&row.volume.to_le_bytes());
        bytes.extend_from_slice(&row.direction.to_le_bytes());
        put_text(&mut bytes, &row.uuid());
        put_text(&mut bytes, META);
        put_text(&mut bytes, DESC);
        bytes.extend_from_slice(&clock.to_epoch(row.timestamp)?.to_le_bytes());
        bytes.extend_from_slice(&row.source.number().to_le_bytes());
    }
    Ok(bytes.into())
}

/// Appends a string: its length and its bytes.
pub fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_length(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

/// Appends a length as LEB128; used for strings, arrays and maps.
pub fn put_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_carries_its_length_in_groups_of_seven_bits() {
        let mut bytes = Vec::new();
        put_text(&mut bytes, &"x".repeat(300));
        assert_eq!(bytes[..2], [0xac, 0x02]);
        assert_eq!(bytes.len(), 302);
    }
}
