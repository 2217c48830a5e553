// Upstream: database_sections, sections, source_sections
// Downstream: none
// Role: Writes secrets as `***`.

use secrecy::SecretString;
use serde::{Serialize, Serializer};

/// Stands for a secret wherever settings are shown.
pub const MASK: &str = "***";

/// Writes the mask. Whether a secret is set is no secret.
pub fn masked<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|_| MASK).serialize(serializer)
}
