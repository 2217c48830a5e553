// Upstream: none
// Downstream: heartbeat
// Role: What the worker keeps in Redis.

//! What the worker keeps in Redis.

/// All workers' heartbeats, read.
pub mod fleet;
/// Heartbeats.
pub mod heartbeat;

pub use heartbeat::RedisHeartbeats;
