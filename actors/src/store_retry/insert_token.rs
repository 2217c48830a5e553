// Upstream: batch_writer, store_retry
// Downstream: domain
// Role: Creates deduplication tokens, by which a store recognizes a retried INSERT.

use crate::domain::random_id::random_uuid;

/// A new random token. It is created once for each batch and sent with each retry of that batch. It is not derived from
/// the rows: a store keeps tokens longer than rows, so it would drop rows that were deleted or replaced and are
/// inserted again later.
pub fn insert_token() -> String {
    random_uuid().simple().to_string()
}
