// Upstream: service_hub, sources::baostock, sources::eastmoney, sources::files, sources::http, sources::tdx, sources::tushare, sources::tushare::transport, sources::yahoo, tests::it::sources_eastmoney, tests::it::sources_tdx, tests::it::sources_tushare
// Downstream: actors::ports::market_source, config::source_sections, probe, sources::baostock, sources::eastmoney, sources::files, sources::tdx, sources::tushare, sources::yahoo
// Role: Builds the configured market sources.

//! Vendors and folders of market data. Each converts to Ginkgo's units and zone and leaves the checking to others.

use std::collections::BTreeMap;
use std::sync::Arc;

use actors::ports::{DataKind, MarketSource, MarketSources};

use crate::config::{SourceName, SourcesSection};
use crate::probe::Answer;

/// BaoStock.
pub mod baostock;
/// Cells of a vendor's JSON table.
mod cells;
/// EastMoney.
pub mod eastmoney;
/// The beginning of a vendor's text.
mod excerpt;
/// A folder of CSV and Parquet files.
pub mod files;
/// What stands before every request to a vendor.
pub mod gate;
/// HTTP to a vendor.
mod http;
/// Rows of JSON cells.
mod json_rows;
/// Labels of bars.
pub mod labels;
/// How far back minute bars reach.
mod reach;
/// TDX.
pub mod tdx;
/// Tushare Pro.
pub mod tushare;
/// Numbers in vendors' smaller units.
pub mod units;
/// Yahoo Finance.
pub mod yahoo;

use baostock::BaoStockSource;
use eastmoney::EastMoneySource;
use files::FilesSource;
use tdx::TdxSource;
use tushare::TushareSource;
use yahoo::YahooSource;

/// A source that cannot work as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceSetupError {
    /// No token is set.
    #[error("sources.tushare.token is not set; Tushare answers nothing without the account's token")]
    TokenMissing,
    /// No time is allowed for an answer.
    #[error("sources.{section}.timeout_ms is 0, but it must be at least 1")]
    TimeoutZero {
        /// The vendor's section.
        section: &'static str,
    },
    /// The address is none.
    #[error("sources.{section}.url is `{url}`: {reason}")]
    BadUrl {
        /// The vendor's section.
        section: &'static str,
        /// As configured, without credentials.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The HTTP client could not be made.
    #[error(
        "the HTTP client for sources.{section} could not be made: {reason}; does the system have root certificates?"
    )]
    Client {
        /// The vendor's section.
        section: &'static str,
        /// What failed.
        reason: String,
    },
    /// A login that cannot be sent.
    #[error("sources.baostock.user or password holds a control character, with which BaoStock separates fields")]
    ControlCharacters,
    /// No servers, or something that is none.
    #[error("sources.tdx.hosts is `{0}`: it must name servers as host:port")]
    BadHosts(String),
    /// No folder, or none that can be read.
    #[error("sources.files.folder is `{folder}`: {reason}")]
    BadFolder {
        /// As configured.
        folder: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Tries a source.
pub async fn probe(section: &SourcesSection, name: SourceName) -> Result<Answer, String> {
    match name {
        SourceName::BaoStock => match BaoStockSource::new(&section.baostock, section.baostock.limits(section)) {
            Ok(source) => source.probe().await.map_err(|kind| kind.to_string()),
            Err(error) => Err(error.to_string()),
        },
        SourceName::EastMoney => match EastMoneySource::new(&section.eastmoney, section.eastmoney.limits(section)) {
            Ok(source) => source.probe().await.map_err(|kind| kind.to_string()),
            Err(error) => Err(error.to_string()),
        },
        SourceName::Tushare => match TushareSource::new(&section.tushare, section.tushare.limits(section)) {
            Ok(source) => source.probe().await.map_err(|kind| kind.to_string()),
            Err(error) => Err(error.to_string()),
        },
        SourceName::Files => match FilesSource::new(&section.files) {
            Ok(source) => source.probe().await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        },
        SourceName::Tdx => match TdxSource::new(&section.tdx, section.tdx.limits(section)) {
            Ok(source) => source.probe().await.map_err(|kind| kind.to_string()),
            Err(error) => Err(error.to_string()),
        },
        SourceName::Yahoo => match YahooSource::new(&section.yahoo, section.yahoo.limits(section)) {
            Ok(source) => source.probe().await.map_err(|kind| kind.to_string()),
            Err(error) => Err(error.to_string()),
        },
    }
}

/// A source's name and place, for people.
pub fn place(section: &SourcesSection, name: SourceName) -> String {
    match name {
        SourceName::BaoStock => format!("BaoStock {}", section.baostock.address),
        SourceName::Tushare => format!("Tushare {}", section.tushare.url),
        SourceName::Files => format!("files in {}", section.files.folder.display()),
        SourceName::Yahoo => format!("Yahoo {}", section.yahoo.url),
        SourceName::EastMoney => format!("EastMoney {}", section.eastmoney.url),
        SourceName::Tdx => format!("TDX {}", section.tdx.hosts.join(", ")),
    }
}

fn build(section: &SourcesSection, name: SourceName) -> Result<Arc<dyn MarketSource>, SourceSetupError> {
    Ok(match name {
        SourceName::BaoStock => Arc::new(BaoStockSource::new(&section.baostock, section.baostock.limits(section))?),
        SourceName::Tushare => Arc::new(TushareSource::new(&section.tushare, section.tushare.limits(section))?),
        SourceName::Files => Arc::new(FilesSource::new(&section.files)?),
        SourceName::Yahoo => Arc::new(YahooSource::new(&section.yahoo, section.yahoo.limits(section))?),
        SourceName::EastMoney => Arc::new(EastMoneySource::new(&section.eastmoney, section.eastmoney.limits(section))?),
        SourceName::Tdx => Arc::new(TdxSource::new(&section.tdx, section.tdx.limits(section))?),
    })
}

/// The configured sources of each kind of data. A source that has several kinds is one: its limits hold for all of them.
pub struct ConfiguredSources {
    of: Sources,
    to_compare: Sources,
}

type Sources = BTreeMap<DataKind, Vec<Arc<dyn MarketSource>>>;

impl ConfiguredSources {
    /// Builds every source that is used for anything.
    pub fn build(section: &SourcesSection) -> Result<Self, SourceSetupError> {
        let mut built = BTreeMap::new();
        for name in section.used() {
            built.insert(name, build(section, name)?);
        }
        let find = |names: Vec<SourceName>| names.iter().filter_map(|name| built.get(name).cloned()).collect();
        let all = |names: &dyn Fn(DataKind) -> Vec<SourceName>| {
            DataKind::ALL.into_iter().map(|kind| (kind, find(names(kind)))).collect()
        };
        let to_compare = |kind| section.cross_check.of(kind).to_vec();
        Ok(Self { of: all(&|kind| section.of(kind)), to_compare: all(&to_compare) })
    }
}

impl MarketSources for ConfiguredSources {
    fn of(&self, kind: DataKind) -> Vec<Arc<dyn MarketSource>> {
        self.of.get(&kind).cloned().unwrap_or_default()
    }

    fn to_compare(&self, kind: DataKind) -> Vec<Arc<dyn MarketSource>> {
        self.to_compare.get(&kind).cloned().unwrap_or_default()
    }
}
