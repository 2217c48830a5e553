// Upstream: actor, heartbeat, supervisor
// Downstream: none
// Role: Messages to the Heartbeat.

use actix::prelude::*;

/// Sends a heartbeat now instead of at the next interval, because the lifecycle changed.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct SendHeartbeatNow;

/// Stops the heartbeats and removes the current one, because the worker stops.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct RemoveHeartbeat;
