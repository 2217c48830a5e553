// Upstream: data_worker, domain, raw_command
// Downstream: none
// Role: The mark of a command that was sent again from its dead letter.

/// The mark of a command that was sent again from its dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayMark {
    /// The dead letter: partition and offset in its topic, `partition:offset`.
    pub letter: String,
    /// How often the command was sent again, this time included.
    pub number: u32,
}
