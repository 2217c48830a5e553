// Upstream: many
// Downstream: actors
// Role: Reads fields of TDX's answers within bounds: integers, varints and 4-byte floats. Pure.

//! All numbers are little endian. Prices are signed varints: the first byte has a continuation bit (0x80), the sign
//! (0x40) and six bits; every further byte has a continuation bit and seven bits, the lowest first (as the public
//! clients read them).

use actors::domain::Field;
use rust_decimal::Decimal;

/// A body violates the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

/// Every float from this number on is a whole number (24 bits of mantissa).
const FIRST_WHOLE: f32 = 16_777_216.0;

/// Maximum length of a varint. Five bytes hold 34 bits; the highest price has 30.
const MAX_VARINT_BYTES: usize = 5;

/// A body and the position up to which it has been read.
pub struct Cursor<'b> {
    rest: &'b [u8],
    read: usize,
}

impl<'b> Cursor<'b> {
    /// Starts at the beginning of a body.
    pub fn new(body: &'b [u8]) -> Self {
        Self { rest: body, read: 0 }
    }

    /// The number of bytes not read yet.
    pub fn rest(&self) -> usize {
        self.rest.len()
    }

    /// The next `N` bytes.
    pub fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let Some((bytes, rest)) = self.rest.split_first_chunk::<N>() else {
            let (left, at) = (self.rest.len(), self.read);
            return Err(Malformed(format!(
                "the answer ends at byte {}, but {N} bytes are required at byte {at}",
                at + left
            )));
        };
        (self.rest, self.read) = (rest, self.read + N);
        Ok(*bytes)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_le_bytes(self.bytes()?))
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.bytes()?))
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    /// Four bytes of IEEE 754.
    pub fn f32(&mut self) -> Result<f32, Malformed> {
        Ok(f32::from_le_bytes(self.bytes()?))
    }

    /// A signed number of one to five bytes.
    pub fn varint(&mut self) -> Result<i64, Malformed> {
        let begin = self.read;
        let first = self.u8()?;
        let (mut value, mut shift, mut more) = (i64::from(first & 0x3f), 6, first & 0x80 != 0);
        while more {
            if self.read - begin == MAX_VARINT_BYTES {
                return Err(Malformed(format!("the number at byte {begin} is longer than {MAX_VARINT_BYTES} bytes")));
            }
            let byte = self.u8()?;
            value |= i64::from(byte & 0x7f) << shift;
            (shift, more) = (shift + 7, byte & 0x80 != 0);
        }
        Ok(if first & 0x40 != 0 { -value } else { value })
    }

    /// Reads the number of records that follow, each of at least `least` bytes. A number that exceeds the remaining
    /// bytes is rejected before any record is read.
    pub fn count(&mut self, least: usize) -> Result<usize, Malformed> {
        let count = usize::from(self.u16()?);
        if count * least > self.rest.len() {
            let text = format!("{count} records are announced, but only {} bytes follow", self.rest.len());
            return Err(Malformed(text));
        }
        Ok(count)
    }
}

/// Converts a float to the decimal that was meant: the shortest one that reads as this float. Whole numbers are exact.
pub fn decimal(value: f32) -> Field<Decimal> {
    let exact = if value.abs() >= FIRST_WHOLE { Decimal::try_from(f64::from(value)).ok() } else { None };
    match exact.or_else(|| value.to_string().parse().ok()) {
        Some(decimal) => Field::Value(decimal),
        None => Field::unreadable(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_read_in_the_vendors_forms() {
        let read = |bytes: &[u8]| Cursor::new(bytes).varint();
        assert_eq!(read(&[0x00]), Ok(0));
        assert_eq!(read(&[0x3f]), Ok(63));
        assert_eq!(read(&[0x41]), Ok(-1));
        assert_eq!(read(&[0x80, 0x01]), Ok(64));
        assert_eq!(read(&[0xc0, 0x01]), Ok(-64));
        assert_eq!(read(&[0xa6, 0x8d, 0x01]), Ok(0x26 | (0x0d << 6) | (1 << 13)));
        assert!(read(&[0x80]).unwrap_err().to_string().contains("ends at byte 1"));
        assert!(read(&[0xff; 6]).unwrap_err().to_string().contains("longer than 5"));
        assert!(read(&[]).is_err());
        let mut cursor = Cursor::new(&[5, 0, 1, 2]);
        assert!(cursor.count(1).unwrap_err().to_string().contains("5 records"));
    }

    #[test]
    fn floats_are_the_decimals_that_were_meant() {
        let read = |value: f32| match decimal(value) {
            Field::Value(value) => value.to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!(read(446_000_768.0), "446000768");
        assert_eq!(read(16_777_217.0), "16777216");
        assert_eq!(read(489_704.0), "489704");
        assert_eq!(read(3.2), "3.2");
        assert_eq!(read(0.0), "0");
        assert_eq!(read(-1.5), "-1.5");
        assert_eq!(decimal(f32::NAN), Field::unreadable("NaN"));
        assert_eq!(decimal(f32::INFINITY), Field::unreadable("inf"));
        assert!(matches!(decimal(f32::MAX), Field::Unreadable(_)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn any_bytes_are_numbers_or_errors(bytes in prop::collection::vec(any::<u8>(), 0..12), bits: u32) {
            let mut cursor = Cursor::new(&bytes);
            while cursor.varint().is_ok() {}
            let _field = decimal(f32::from_bits(bits));
        }
    }
}
