// Upstream: ranges, settings
// Downstream: none
// Role: A setting that cannot work.

/// A setting that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found}, but {must}")]
pub struct SettingsError {
    /// The setting's path.
    pub field: String,
    /// Its value.
    pub found: String,
    /// What it must be.
    pub must: String,
}
