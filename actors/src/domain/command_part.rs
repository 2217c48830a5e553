// Upstream: many
// Downstream: none
// Role: A part of a split command, for some of its codes.

/// A command for some of the codes of another command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandPart {
    /// The Kafka record key: the first code of the part, so that parts are spread over the partitions.
    pub key: String,
    /// The Kafka record value.
    pub payload: String,
}
