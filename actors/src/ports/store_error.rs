// Upstream: many
// Downstream: none
// Role: What can go wrong at a store, and what follows from it.

/// Why the store did not do as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{store}: {operation} failed ({class}): {reason}")]
pub struct StoreError {
    /// Which store: kind, address and table; no credentials.
    pub store: String,
    /// What was tried, with the number of rows.
    pub operation: String,
    /// What follows from it.
    pub class: StoreErrorClass,
    /// The server's or the client's words.
    pub reason: String,
}

/// What follows from a store's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreErrorClass {
    /// The server is busy, starting, read-only or out of memory: the same request later.
    Transient,
    /// No answer: it may have been done or not. The same request with the same token.
    OutcomeUnknown,
    /// The rows lie in more partitions than one INSERT may touch: smaller batches, partition by partition.
    TooManyPartitions,
    /// The table is not what the worker needs, or the rows do not fit it.
    Schema,
    /// Credentials or rights are missing.
    Access,
    /// Anything else the server refuses.
    Refused,
}

impl std::fmt::Display for StoreErrorClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl StoreErrorClass {
    /// The class's name in logs and counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::OutcomeUnknown => "outcome unknown",
            Self::TooManyPartitions => "too many partitions",
            Self::Schema => "schema",
            Self::Access => "access",
            Self::Refused => "refused",
        }
    }

    /// Whether waiting alone may help; otherwise an operator must act, and the worker keeps trying, slowly.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Transient | Self::OutcomeUnknown)
    }
}
