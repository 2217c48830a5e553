// Upstream: batch_writer::bars, batch_writer::factors, batch_writer::ticks, store_retry
// Downstream: none
// Role: The token by which a store knows the retry of an INSERT.

use uuid::Uuid;

/// A new token, drawn once for each batch and sent with each of its retries. It says nothing of the rows: a store remembers
/// tokens longer than rows, and would take rows that were replaced or deleted and come again for a retry.
pub fn insert_token() -> String {
    Uuid::new_v4().simple().to_string()
}
