// Upstream: many
// Downstream: none
// Role: Declares the units of volumes and amounts in files and databases.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Unit of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VolumeUnit {
    /// Single shares.
    #[default]
    Shares,
    /// Lots of 100 shares.
    Lots,
}

/// Unit of an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AmountUnit {
    /// Yuan.
    #[default]
    Yuan,
    /// Thousand yuan.
    ThousandYuan,
}
