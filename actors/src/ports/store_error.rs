// Upstream: many
// Downstream: none
// Role: Errors of a store, and the reaction to each class.

/// An error of a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{store}: {operation} failed ({class}): {reason}")]
pub struct StoreError {
    /// The store: kind, address and table; contains no credentials.
    pub store: String,
    /// The failed operation, with the number of rows.
    pub operation: String,
    /// The class, which decides the reaction.
    pub class: StoreErrorClass,
    /// The error text of the server or the client.
    pub reason: String,
}

impl StoreError {
    /// A look-up stops, because it found more than `max_rows` rows.
    pub fn too_many_rows(store: impl Into<String>, operation: impl Into<String>, max_rows: usize) -> Self {
        let reason = format!("there are more than {max_rows} rows");
        Self { store: store.into(), operation: operation.into(), class: StoreErrorClass::TooManyRows, reason }
    }
}

/// The class of a store error; decides the reaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreErrorClass {
    /// The server is busy, starting, read-only or out of memory. The same request is retried later.
    Transient,
    /// No answer: the request may or may not have been executed. The same request is retried with the same token.
    OutcomeUnknown,
    /// The rows belong to more partitions than one INSERT may touch. Smaller batches are sent, partition by partition.
    TooManyPartitions,
    /// A look-up found more rows than may be in memory. It is repeated for fewer tasks.
    TooManyRows,
    /// The table does not match the worker's requirements, or the rows do not fit it.
    Schema,
    /// Credentials or rights are missing.
    Access,
    /// Any other rejection by the server.
    Refused,
}

impl std::fmt::Display for StoreErrorClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl StoreErrorClass {
    /// The class's name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::OutcomeUnknown => "outcome unknown",
            Self::TooManyPartitions => "too many partitions",
            Self::TooManyRows => "too many rows",
            Self::Schema => "schema",
            Self::Access => "access",
            Self::Refused => "refused",
        }
    }

    /// Whether waiting alone may help. Otherwise an operator must act, and the worker retries at the maximum delay.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Transient | Self::OutcomeUnknown)
    }
}
