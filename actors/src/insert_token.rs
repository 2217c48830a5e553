// Upstream: actors::factor_flush, actors::flush, actors::tick_write
// Downstream: actors::domain::bar
// Role: The token of an INSERT: the same rows always have the same one.

use uuid::Uuid;

use crate::domain::SourceId;

/// A name-based uuid of the rows' identities and sources, which are functions of the rows' content.
pub fn insert_token(rows: impl ExactSizeIterator<Item = (impl AsRef<str>, SourceId)>) -> String {
    // An identity has 36 characters at most, a source one byte.
    let mut content = Vec::with_capacity(rows.len() * 37);
    for (uuid, source) in rows {
        content.extend_from_slice(uuid.as_ref().as_bytes());
        content.extend_from_slice(&source.0.to_le_bytes());
    }
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &content).simple().to_string()
}
