// Upstream: many
// Downstream: none
// Role: Units of volumes and amounts in files and databases.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a volume counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VolumeUnit {
    /// Single shares.
    #[default]
    Shares,
    /// Lots of 100 shares.
    Lots,
}

/// What an amount counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AmountUnit {
    /// Yuan.
    #[default]
    Yuan,
    /// Thousand yuan.
    ThousandYuan,
}
