// Upstream: service_hub, sources::baostock, sources::databases, sources::eastmoney, sources::files, sources::http, sources::tdx, sources::tushare, sources::tushare::transport, sources::yahoo, tests::it::databases_types, tests::it::sources_databases, tests::it::sources_eastmoney, tests::it::sources_tdx, tests::it::sources_tushare
// Downstream: actors::ports::market_source, config::source_name, config::source_sections, probe, sources::baostock, sources::budget, sources::databases::clickhouse, sources::databases::mongodb, sources::databases::mysql, sources::databases::redis, sources::eastmoney, sources::files, sources::tdx, sources::tushare, sources::yahoo
// Role: Builds the configured market sources.

//! Vendors and folders of market data. Each converts to Ginkgo's units and zone and leaves the checking to others.

use std::collections::BTreeMap;
use std::sync::Arc;

use actors::ports::{DataKind, MarketSource, MarketSources};

use crate::config::{SourceName, SourcesSection};
use crate::probe::Answer;
use crate::sources::budget::Ledger;

/// BaoStock.
pub mod baostock;
/// Limits, and what is spent of them.
pub mod budget;
/// Cells of a vendor's JSON table.
mod cells;
/// ClickHouse, MongoDB, MySQL and Redis.
pub mod databases;
/// Notes of days.
mod day_note;
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
    /// Tables or columns of a database that cannot be.
    #[error("sources.{section}.{reason}")]
    Shape {
        /// The database's section.
        section: &'static str,
        /// The setting and what is wrong with it.
        reason: String,
    },
    /// No folder, or none that can be read.
    #[error("sources.files.folder is `{folder}`: {reason}")]
    BadFolder {
        /// As configured.
        folder: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Builds the source of a name and does something with it: the one list of what stands behind the names.
macro_rules! with_source {
    ($section:expr, $ledger:expr, $name:expr, $source:ident => $work:expr) => {{
        let (section, ledger): (&SourcesSection, &Ledger) = ($section, $ledger);
        match $name {
            SourceName::BaoStock => {
                let $source =
                    BaoStockSource::new(&section.baostock, ledger.budget($name, section.baostock.limits(section)));
                $work
            }
            SourceName::ClickHouse => {
                let $source = databases::clickhouse(section, ledger);
                $work
            }
            SourceName::EastMoney => {
                let $source =
                    EastMoneySource::new(&section.eastmoney, ledger.budget($name, section.eastmoney.limits(section)));
                $work
            }
            SourceName::Files => {
                let $source = FilesSource::new(&section.files);
                $work
            }
            SourceName::MongoDb => {
                let $source = databases::mongodb(section, ledger);
                $work
            }
            SourceName::MySql => {
                let $source = databases::mysql(section, ledger);
                $work
            }
            SourceName::Redis => {
                let $source = databases::redis(section, ledger);
                $work
            }
            SourceName::Tdx => {
                let $source = TdxSource::new(&section.tdx, ledger.budget($name, section.tdx.limits(section)));
                $work
            }
            SourceName::Tushare => {
                let $source =
                    TushareSource::new(&section.tushare, ledger.budget($name, section.tushare.limits(section)));
                $work
            }
            SourceName::Yahoo => {
                let $source = YahooSource::new(&section.yahoo, ledger.budget($name, section.yahoo.limits(section)));
                $work
            }
        }
    }};
}

/// Tries a source.
pub async fn probe(section: &SourcesSection, name: SourceName) -> Result<Answer, String> {
    with_source!(section, &Ledger::default(), name, source => match source {
        Ok(source) => source.probe().await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    })
}

fn build(
    section: &SourcesSection,
    ledger: &Ledger,
    name: SourceName,
) -> Result<Arc<dyn MarketSource>, SourceSetupError> {
    Ok(with_source!(section, ledger, name, source => Arc::new(source?) as Arc<dyn MarketSource>))
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
        SourceName::ClickHouse => {
            let section = &section.clickhouse;
            format!("source ClickHouse {}:{} database {}", section.host, section.port, section.database)
        }
        SourceName::MongoDb => {
            let section = &section.mongodb;
            format!("source MongoDB {}:{} database {}", section.host, section.port, section.database)
        }
        SourceName::MySql => {
            let section = &section.mysql;
            format!("source MySQL {}:{} database {}", section.host, section.port, section.database)
        }
        SourceName::Redis => {
            let section = &section.redis;
            format!("source Redis {}:{}/{}", section.host, section.port, section.database)
        }
    }
}

/// The configured sources of each kind of data. A source that has several kinds is one: its limits hold for all of them.
pub struct ConfiguredSources {
    of: Sources,
    to_compare: Sources,
}

type Sources = BTreeMap<DataKind, Vec<Arc<dyn MarketSource>>>;

impl ConfiguredSources {
    /// Builds every source that is used for anything; what was spent of a vendor's limits before is in the ledger.
    pub fn build(section: &SourcesSection, ledger: &Ledger) -> Result<Self, SourceSetupError> {
        let mut built = BTreeMap::new();
        for name in section.used() {
            built.insert(name, build(section, ledger, name)?);
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

    fn retire(&self) {
        self.of.values().chain(self.to_compare.values()).flatten().for_each(|source| source.retire());
    }
}
