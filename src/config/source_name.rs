// Upstream: many
// Downstream: actors
// Role: Names of the sources in the configuration, and the kinds of data that each offers.

use actors::ports::DataKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A source's name in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceName {
    /// BaoStock.
    BaoStock,
    /// A ClickHouse server with market data.
    ClickHouse,
    /// EastMoney's web quotation service.
    EastMoney,
    /// A folder of CSV and Parquet files.
    Files,
    /// A MongoDB server with market data.
    MongoDb,
    /// A MySQL or MariaDB server with market data.
    MySql,
    /// A Redis server with market data.
    Redis,
    /// TDX's quotation servers.
    Tdx,
    /// Tushare Pro.
    Tushare,
    /// Yahoo Finance.
    Yahoo,
}

impl SourceName {
    /// All sources.
    pub const ALL: [Self; 10] = [
        Self::BaoStock,
        Self::ClickHouse,
        Self::EastMoney,
        Self::Files,
        Self::MongoDb,
        Self::MySql,
        Self::Redis,
        Self::Tdx,
        Self::Tushare,
        Self::Yahoo,
    ];

    /// The name as the configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BaoStock => "baostock",
            Self::ClickHouse => "clickhouse",
            Self::EastMoney => "eastmoney",
            Self::Files => "files",
            Self::MongoDb => "mongodb",
            Self::MySql => "mysql",
            Self::Redis => "redis",
            Self::Tdx => "tdx",
            Self::Tushare => "tushare",
            Self::Yahoo => "yahoo",
        }
    }

    /// Whether the source offers this kind of data.
    pub fn offers(self, kind: DataKind) -> bool {
        use DataKind::{Bars, Factors, MinuteBars, Stocks, Ticks, TradeDays};
        match self {
            Self::BaoStock | Self::Tushare => matches!(kind, Bars | MinuteBars | Factors | Stocks | TradeDays),
            Self::Files | Self::ClickHouse | Self::MongoDb | Self::MySql | Self::Redis => true,
            Self::EastMoney => matches!(kind, Bars | MinuteBars | Stocks),
            Self::Tdx => matches!(kind, Bars | MinuteBars | Ticks | Factors | Stocks),
            Self::Yahoo => matches!(kind, Bars | MinuteBars),
        }
    }
}
