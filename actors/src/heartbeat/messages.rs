// Upstream: actor, heartbeat, supervisor
// Downstream: none
// Role: Messages to the Heartbeat.

use actix::prelude::*;

/// Beat now, not at the next interval: the lifecycle changed.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct BeatNow;

/// The worker stops: beat no more and remove the heartbeat.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct RemoveHeartbeat;
