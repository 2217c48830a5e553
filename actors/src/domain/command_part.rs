// Upstream: command_router, data_worker, domain, ports
// Downstream: none
// Role: A command for some of the codes of another command.

/// A command for some of the codes of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandPart {
    /// The record's key: its first code, so that parts spread over the partitions.
    pub key: String,
    /// The record's value.
    pub payload: String,
}
