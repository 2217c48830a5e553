// Upstream: database_sections, sections, security_sections, source_sections
// Downstream: none
// Role: Serializes secrets as `***`.

use secrecy::SecretString;
use serde::{Serialize, Serializer};

/// Replaces a secret wherever settings are shown.
pub const MASK: &str = "***";

/// Serializes the mask in place of the secret. Whether a secret is set stays visible.
pub fn masked<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(|_| MASK).serialize(serializer)
}
