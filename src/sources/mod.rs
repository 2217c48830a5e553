// Upstream: app, tests::it
// Downstream: many
// Role: The market data sources, a room each, and the one list of how each is built by its name.

//! Market data sources. Each source has a folder: `source.rs` implements [`actors::ports::MarketSource`], and every
//! other file handles one request, one answer or one part of the protocol. A source converts values to Ginkgo's units
//! and time zone. The Validator checks them.

/// BaoStock.
pub mod baostock;
/// ClickHouse, MongoDB, MySQL and Redis.
pub mod databases;
/// EastMoney.
pub mod eastmoney;
/// Errors of building a source.
mod error;
/// CSV and Parquet files in a folder.
pub mod files;
/// Code shared by several sources.
pub mod shared;
/// TDX.
pub mod tdx;
/// Tushare Pro.
pub mod tushare;
/// Yahoo Finance.
pub mod yahoo;

use std::collections::BTreeMap;
use std::sync::Arc;

use actors::ports::{DataKind, MarketSource, MarketSources};

use crate::adapters::probe::Answer;
use crate::config::{SourceName, SourcesSection};
use crate::sources::shared::budget::{Account, QuotaState};

use self::baostock::BaoStockSource;
use self::eastmoney::EastMoneySource;
pub use self::error::SourceSetupError;
use self::files::FilesSource;
use self::tdx::TdxSource;
use self::tushare::TushareSource;
use self::yahoo::YahooSource;

/// Builds the source with this name and passes it to an expression. This is the only mapping of source names to types.
macro_rules! with_source {
    ($section:expr, $quotas:expr, $name:expr, $source:ident => $work:expr) => {{
        let (section, quotas): (&SourcesSection, &QuotaState) = ($section, $quotas);
        match $name {
            SourceName::BaoStock => {
                let $source = BaoStockSource::new(
                    &section.baostock,
                    quotas.budget_of($name, Account::of(&section.place($name), None), section.baostock.limits(section)),
                );
                $work
            }
            SourceName::ClickHouse => {
                let $source = databases::clickhouse(section, quotas);
                $work
            }
            SourceName::EastMoney => {
                let $source = EastMoneySource::new(
                    &section.eastmoney,
                    quotas.budget_of(
                        $name,
                        Account::of(&section.place($name), None),
                        section.eastmoney.limits(section),
                    ),
                );
                $work
            }
            SourceName::Files => {
                let $source = FilesSource::new(&section.files);
                $work
            }
            SourceName::MongoDb => {
                let $source = databases::mongodb(section, quotas);
                $work
            }
            SourceName::MySql => {
                let $source = databases::mysql(section, quotas);
                $work
            }
            SourceName::Redis => {
                let $source = databases::redis(section, quotas);
                $work
            }
            SourceName::Tdx => {
                let $source = TdxSource::new(
                    &section.tdx,
                    quotas.budget_of($name, Account::of(&section.place($name), None), section.tdx.limits(section)),
                );
                $work
            }
            SourceName::Tushare => {
                let account = Account::of(&section.place($name), section.tushare.token.as_ref());
                let budget = quotas.budget_of($name, account, section.tushare.limits(section));
                let $source = TushareSource::new(&section.tushare, budget);
                $work
            }
            SourceName::Yahoo => {
                let $source = YahooSource::new(
                    &section.yahoo,
                    quotas.budget_of($name, Account::of(&section.place($name), None), section.yahoo.limits(section)),
                );
                $work
            }
        }
    }};
}

/// Probes a source with one small request. The probe starts with unused quotas.
pub async fn probe(section: &SourcesSection, name: SourceName) -> Result<Answer, String> {
    with_source!(section, &QuotaState::default(), name, source => match source {
        Ok(source) => source.probe().await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    })
}

fn build(
    section: &SourcesSection,
    quotas: &QuotaState,
    name: SourceName,
) -> Result<Arc<dyn MarketSource>, SourceSetupError> {
    Ok(with_source!(section, quotas, name, source => Arc::new(source?) as Arc<dyn MarketSource>))
}

/// The configured sources for each kind of data. A source that serves several kinds is built once, so its limits apply
/// to all of them together.
pub struct ConfiguredSources {
    of: Sources,
    to_compare: Sources,
}

type Sources = BTreeMap<DataKind, Vec<Arc<dyn MarketSource>>>;

impl ConfiguredSources {
    /// Builds every source that the configuration uses. `quotas` holds the requests already counted against each
    /// source's limits.
    pub fn build(section: &SourcesSection, quotas: &QuotaState) -> Result<Self, SourceSetupError> {
        let mut built = BTreeMap::new();
        for name in section.used() {
            built.insert(name, build(section, quotas, name)?);
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
