// Upstream: tests::it
// Downstream: services
// Role: Damages the file in which the broker keeps a partition, and mends it.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::PathBuf;

use crate::services::required;

/// Length of the header of a batch: base offset (8 bytes), length of what follows (4), and more.
const HEADER: usize = 61;

/// The last batch of a partition, which holds random bytes in place of its records until it is mended. The broker sends
/// batches as they are in the file.
pub struct DamagedBatch {
    file: PathBuf,
    place: Range<usize>,
    records: Vec<u8>,
}

impl DamagedBatch {
    /// Damages the last batch of a partition, which must be compressed: others hold nothing that a reader notices.
    pub fn damage(topic: &str, partition: i32) -> Self {
        let folder = PathBuf::from(required("TEST_KAFKA_DATA")).join(format!("{topic}-{partition}"));
        let file = folder.join("00000000000000000000.log");
        let bytes = std::fs::read(&file).expect("the segment");
        let mut batch = 0..0;
        while batch.end < bytes.len() {
            let length: [u8; 4] = bytes[batch.end + 8..batch.end + 12].try_into().expect("a length");
            batch = batch.end..batch.end + 12 + u32::from_be_bytes(length) as usize;
        }
        assert_ne!(bytes[batch.start + 22] & 7, 0, "the batch is compressed");
        let place = batch.start + HEADER..batch.end;
        let damaged = Self { file, records: bytes[place.clone()].to_vec(), place };
        damaged.write(&vec![0xa5; damaged.records.len()]);
        damaged
    }

    /// Restores the records.
    pub fn mend(self) {
        self.write(&self.records);
    }

    fn write(&self, bytes: &[u8]) {
        let mut file = OpenOptions::new().write(true).open(&self.file).expect("the segment");
        file.seek(SeekFrom::Start(self.place.start as u64)).expect("the place of the records");
        file.write_all(bytes).expect("the records");
    }
}
