// Upstream: many
// Downstream: replay_mark, trace_ids
// Role: The bytes of a command and its position in Kafka.

use std::fmt;
use std::sync::Arc;

use crate::domain::{ReplayMark, TraceIds};

/// The bytes of a command and its position in Kafka.
#[derive(Clone, PartialEq, Eq)]
pub struct RawCommand {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
    /// The record key, if any.
    pub key: Option<Vec<u8>>,
    /// The record value.
    pub payload: Vec<u8>,
    /// The record timestamp set by the broker or the producer, in Unix milliseconds.
    pub timestamp_ms: Option<i64>,
    /// Whether it was sent again from a dead letter, and which.
    pub replay: Option<ReplayMark>,
    /// The trace ids in its headers.
    pub trace: TraceIds,
}

impl RawCommand {
    /// The name of the record, the same for each delivery of it. `None` without a timestamp, which tells apart the
    /// records at one offset of a topic that was created again.
    pub fn record_name(&self) -> Option<String> {
        Some(format!("{self}:{}", self.timestamp_ms?))
    }
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
