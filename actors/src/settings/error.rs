// Upstream: ranges, settings
// Downstream: none
// Role: The error for an invalid setting.

/// An invalid setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found}, but {must}")]
pub struct SettingsError {
    /// The path of the setting.
    pub field: String,
    /// The value found.
    pub found: String,
    /// The requirement, such as `it must be 1 to 3`.
    pub must: String,
}
