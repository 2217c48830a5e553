// Upstream: none
// Downstream: heartbeat
// Role: Stores and reads worker heartbeats in Redis.

//! Redis.

/// States of alerts, common to all workers.
pub mod alerts;
/// Reads the heartbeats of all workers.
pub mod fleet;
/// Writes the heartbeat of this worker.
pub mod heartbeat;
/// Requests to vendors, counted for all workers together.
pub mod request_counts;
/// Rights of the user.
mod rights;
/// Connections to the server.
pub mod server;

pub use heartbeat::RedisHeartbeats;
