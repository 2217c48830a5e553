// Upstream: parquet_table
// Downstream: none
// Role: Reads a Parquet file's footer within size and nesting limits.

//! A file ends with its metadata (Thrift compact protocol), the length of the metadata in four bytes, and `PAR1`. The
//! library reserves memory for the number of children that a schema element claims, and recurses as deep as elements
//! nest. A damaged file must not crash the worker, so this module checks both before the library reads the metadata.

use bytes::Bytes;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::ChunkReader;

/// Maximum size of the metadata. A file with a thousand row groups of ten columns has half of this.
const MAX_BYTES: u64 = 4 << 20;
const TAIL_BYTES: u64 = 8;
const MARK: &[u8] = b"PAR1";
/// Maximum nesting depth of elements. Tables have one level, lists in them three.
const MAX_DEPTH: usize = 32;

/// Reads the file's metadata.
pub fn read<R: ChunkReader>(file: &R) -> Result<ParquetMetaData, String> {
    let length = file.len();
    let tail_at = length.checked_sub(TAIL_BYTES).ok_or("it is too short for a Parquet file")?;
    let tail = bytes_at(file, tail_at, TAIL_BYTES)?;
    let (size, mark) = tail.split_at_checked(4).unwrap_or((&[], &[]));
    if mark != MARK {
        return Err("it does not end like a Parquet file".to_owned());
    }
    let size = u64::from(u32::from_le_bytes(size.try_into().unwrap_or_default()));
    if size > MAX_BYTES {
        return Err(format!("its metadata has {size} bytes, more than {MAX_BYTES}"));
    }
    let start = tail_at.checked_sub(size).ok_or("its metadata is longer than the file")?;
    let metadata = bytes_at(file, start, size)?;
    let children = ThriftReader(&metadata).children_of_schema().ok_or("its metadata cannot be read")?;
    check_nesting(&children)?;
    ParquetMetaDataReader::decode_metadata(&metadata).map_err(|error| format!("its metadata: {error}"))
}

fn bytes_at<R: ChunkReader>(file: &R, start: u64, length: u64) -> Result<Bytes, String> {
    let length = usize::try_from(length).map_err(|error| error.to_string())?;
    file.get_bytes(start, length).map_err(|error| error.to_string())
}

/// Checks the nesting. Elements come depth first, each with the number of its children.
fn check_nesting(children: &[u64]) -> Result<(), String> {
    let mut open: Vec<u64> = Vec::new();
    for (place, num_children) in children.iter().copied().enumerate() {
        if num_children >= children.len() as u64 {
            let num_elements = children.len();
            return Err(format!(
                "schema element {place} has {num_children} children, but there are only {num_elements} elements"
            ));
        }
        if let Some(siblings) = open.last_mut() {
            *siblings = siblings.saturating_sub(1);
        }
        open.push(num_children);
        while open.last() == Some(&0) {
            open.pop();
        }
        if open.len() > MAX_DEPTH {
            return Err(format!("its schema nests deeper than {MAX_DEPTH} levels"));
        }
    }
    Ok(())
}

/// A reader of Thrift's compact protocol that finds fields and skips the others.
struct ThriftReader<'a>(&'a [u8]);

/// Thrift's type numbers.
const STOP: u8 = 0;
const LIST: u8 = 9;
const STRUCT: u8 = 12;
/// Field 2 of the metadata is the schema. Field 5 of a schema element is the number of its children.
const SCHEMA: i64 = 2;
const NUM_CHILDREN: i64 = 5;

impl ThriftReader<'_> {
    /// The number of children of each element of the schema.
    fn children_of_schema(&mut self) -> Option<Vec<u64>> {
        let mut field = 0;
        let mut found = None;
        while let Some(kind) = self.next_field(&mut field)? {
            if field == SCHEMA && kind == LIST {
                let (size, kind) = self.list()?;
                let mut children = Vec::new();
                for _ in 0..size {
                    children.push(if kind == STRUCT { self.num_children()? } else { return None });
                }
                found = Some(children);
            } else {
                self.skip(kind, MAX_DEPTH)?;
            }
        }
        found
    }

    fn num_children(&mut self) -> Option<u64> {
        let mut field = 0;
        let mut found = 0;
        while let Some(kind) = self.next_field(&mut field)? {
            match (field, kind) {
                // Numbers are zigzag-encoded. An odd number is negative and becomes the maximum here.
                (NUM_CHILDREN, 5) => {
                    let number = self.number()?;
                    found = if number % 2 == 0 { number / 2 } else { u64::MAX };
                }
                _ => self.skip(kind, MAX_DEPTH)?,
            }
        }
        Some(found)
    }

    /// The type of the next field; `Some(None)` at the end of the struct.
    fn next_field(&mut self, field: &mut i64) -> Option<Option<u8>> {
        let head = self.byte()?;
        let kind = head & 0xf;
        if kind == STOP {
            return Some(None);
        }
        *field = match head >> 4 {
            0 => {
                let number = self.number()?;
                (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
            }
            delta => field.checked_add(delta.into())?,
        };
        Some(Some(kind))
    }

    fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let size = match head >> 4 {
            15 => self.number()?,
            size => size.into(),
        };
        // Every element has at least one byte.
        (size <= self.0.len() as u64).then_some((size, head & 0xf))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            1 | 2 => Some(()),
            3 => self.pass(1),
            4..=6 => self.number().map(|_| ()),
            7 => self.pass(8),
            8 => {
                let length = self.number()?;
                self.pass(length)
            }
            LIST | 10 => {
                let (size, kind) = self.list()?;
                (0..size).try_for_each(|_| self.skip_element(kind, depth))
            }
            11 => {
                let size = self.number()?;
                if size == 0 {
                    return Some(());
                }
                let kinds = self.byte()?;
                (0..size).try_for_each(|_| {
                    self.skip_element(kinds >> 4, depth)?;
                    self.skip_element(kinds & 0xf, depth)
                })
            }
            STRUCT => {
                let mut field = 0;
                while let Some(kind) = self.next_field(&mut field)? {
                    self.skip(kind, depth)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    /// A boolean field is part of the field header; a boolean list element is one byte.
    fn skip_element(&mut self, kind: u8, depth: usize) -> Option<()> {
        if matches!(kind, 1 | 2) { self.pass(1) } else { self.skip(kind, depth) }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn pass(&mut self, length: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(length).ok()?..)?;
        Some(())
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(metadata: &[u8]) -> Bytes {
        let size = u32::try_from(metadata.len()).unwrap().to_le_bytes();
        Bytes::from([b"PAR1", metadata, &size, MARK].concat())
    }

    fn refusal(metadata: &[u8]) -> String {
        read(&file(metadata)).unwrap_err()
    }

    /// Metadata whose schema has elements with these numbers of children (below 64) and nothing else.
    fn schema(children: &[u8]) -> Vec<u8> {
        // Version 1, then a list of structs with a name of one letter (field 4) and the number (field 5).
        let mut bytes = vec![0x15, 2, 0x19, 0xfc];
        bytes.extend([u8::try_from(children.len() & 0x7f).unwrap() | 0x80, u8::try_from(children.len() >> 7).unwrap()]);
        for number in children {
            bytes.extend([0x48, 1, b'a', 0x15, number * 2, 0]);
        }
        bytes.push(0);
        bytes
    }

    #[test]
    fn rejects_bad_metadata_before_allocating() {
        assert!(read(&Bytes::from_static(b"PAR1")).unwrap_err().contains("too short"));
        assert!(read(&Bytes::from_static(b"<html><body></body></html>")).unwrap_err().contains("does not end"));
        let long = Bytes::from_static(b"PAR1\xff\xff\xff\x7fPAR1");
        assert!(read(&long).unwrap_err().contains("2147483647 bytes, more than"));
        assert!(read(&Bytes::from_static(b"PAR1\xff\x00\x00\x00PAR1")).unwrap_err().contains("longer than the file"));
        assert!(refusal(&[0x19]).contains("cannot be read"));
        assert!(refusal(&schema(&[3, 0])).contains("has 3 children, but there are only 2 elements"));
        // 2^31 children, for which the library would reserve 16 GB.
        let billions = [0x15, 2, 0x19, 0x1c, 0x48, 1, b'a', 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0];
        assert!(refusal(&billions).contains("2147483647 children"), "{}", refusal(&billions));
        let deep = schema(&[1; 2_000]);
        assert!(refusal(&deep).contains("nests deeper"), "{}", refusal(&deep));
    }
}
