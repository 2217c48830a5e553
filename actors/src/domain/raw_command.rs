// Upstream: command_router, data_worker, domain, ports
// Downstream: none
// Role: A command's bytes and the place they came from.

use std::fmt;
use std::sync::Arc;

/// A command's bytes and the place they came from.
#[derive(Clone, PartialEq, Eq)]
pub struct RawCommand {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
    /// The record's key, if it has one.
    pub key: Option<Vec<u8>>,
    /// The record's value.
    pub payload: Vec<u8>,
    /// When the broker or the producer stamped it, Unix milliseconds.
    pub timestamp_ms: Option<i64>,
}

impl fmt::Display for RawCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]@{}", self.topic, self.partition, self.offset)
    }
}

impl fmt::Debug for RawCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({} bytes)", self.payload.len())
    }
}
