// Upstream: none
// Downstream: actor, messages
// Role: The Validator: validates fetched rows.

//! The Validator: validates fetched rows.

/// The actor.
mod actor;
/// Validates the bars of one answer.
pub(crate) mod check_bars;
/// Messages to the Validator.
mod messages;
/// Validation rules.
pub mod rules;

pub use actor::Validator;
pub use messages::{ValidateBars, ValidateFactors, ValidateList, ValidateTicks};
