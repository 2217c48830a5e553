// Upstream: many
// Downstream: actors, database_sections, masked, source_name, units
// Role: The settings of market data: which source of what, in which order, and each source's own.

use std::path::PathBuf;

use actors::ports::DataKind;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::database_sections::{ClickHouseSourceSection, MongoDbSourceSection, MySqlSourceSection, RedisSourceSection};
use super::source_name::SourceName;
use crate::config::masked::masked;
use crate::config::{AmountUnit, VolumeUnit};

/// Market data.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SourcesSection {
    /// Where daily bars come from: the preferred source first, the next one is asked when one fails for good.
    pub bars: Vec<SourceName>,
    /// Where minute bars come from; empty: from those of `bars` that have them.
    pub minute_bars: Vec<SourceName>,
    /// Where ticks come from; empty: from those of `bars` that have them, else from `tdx`, which needs no account.
    pub ticks: Vec<SourceName>,
    /// Where adjustment factors come from; empty: from those of `bars` that have them.
    pub factors: Vec<SourceName>,
    /// Where the list of securities comes from; empty: from those of `bars` that have it.
    pub stocks: Vec<SourceName>,
    /// Where the calendar comes from; empty: from those of `bars` that have it.
    pub trade_days: Vec<SourceName>,
    /// Comparisons of what one source gives with what another has.
    pub cross_check: CrossCheckSection,
    /// Failures in a row (not reachable, no answer, a server's error) after which a source is left alone for a while.
    #[schemars(range(min = 1, max = 1_000))]
    pub pause_after_failures: u32,
    /// How long a source is left alone then; one call tries it afterwards.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub pause_ms: u64,
    /// BaoStock.
    pub baostock: BaoStockSection,
    /// A ClickHouse that holds market data, such as another Ginkgo's.
    pub clickhouse: ClickHouseSourceSection,
    /// EastMoney's quotation pages.
    pub eastmoney: EastMoneySection,
    /// A folder of CSV and Parquet files, one per code.
    pub files: FilesSection,
    /// A MongoDB that holds market data.
    pub mongodb: MongoDbSourceSection,
    /// A MySQL or MariaDB that holds market data, such as another Ginkgo's.
    pub mysql: MySqlSourceSection,
    /// A Redis that holds market data as JSON.
    pub redis: RedisSourceSection,
    /// TDX's quotation servers.
    pub tdx: TdxSection,
    /// Tushare Pro.
    pub tushare: TushareSection,
    /// Yahoo Finance.
    pub yahoo: YahooSection,
}

impl Default for SourcesSection {
    fn default() -> Self {
        Self {
            bars: vec![SourceName::Tushare],
            minute_bars: Vec::new(),
            ticks: Vec::new(),
            factors: Vec::new(),
            stocks: Vec::new(),
            trade_days: Vec::new(),
            cross_check: CrossCheckSection::default(),
            // As many as a batch of fetches under way makes at once; a single lost answer stops nothing.
            pause_after_failures: 20,
            pause_ms: 5_000,
            baostock: BaoStockSection::default(),
            clickhouse: ClickHouseSourceSection::default(),
            eastmoney: EastMoneySection::default(),
            files: FilesSection::default(),
            mongodb: MongoDbSourceSection::default(),
            mysql: MySqlSourceSection::default(),
            redis: RedisSourceSection::default(),
            tdx: TdxSection::default(),
            tushare: TushareSection::default(),
            yahoo: YahooSection::default(),
        }
    }
}

impl SourcesSection {
    /// The sources that the configuration names for a kind of data.
    pub fn named(&self, kind: DataKind) -> &[SourceName] {
        match kind {
            DataKind::Bars => &self.bars,
            DataKind::MinuteBars => &self.minute_bars,
            DataKind::Ticks => &self.ticks,
            DataKind::Factors => &self.factors,
            DataKind::Stocks => &self.stocks,
            DataKind::TradeDays => &self.trade_days,
        }
    }

    /// The sources of a kind of data, the preferred one first.
    pub fn of(&self, kind: DataKind) -> Vec<SourceName> {
        match (kind, self.configured(kind)) {
            (DataKind::Ticks, configured) if configured.is_empty() => vec![SourceName::Tdx],
            (_, configured) => configured,
        }
    }

    fn configured(&self, kind: DataKind) -> Vec<SourceName> {
        match self.named(kind) {
            [] => self.bars.iter().copied().filter(|name| name.offers(kind)).collect(),
            named => named.to_vec(),
        }
    }

    /// Every source that is used for anything.
    pub fn used(&self) -> Vec<SourceName> {
        self.all(Self::of)
    }

    /// Those that have to answer before a configuration is put in force: without the one for ticks that nobody has named,
    /// which a network may well be closed to.
    pub fn required(&self) -> Vec<SourceName> {
        self.all(Self::configured)
    }

    fn all(&self, of: fn(&Self, DataKind) -> Vec<SourceName>) -> Vec<SourceName> {
        let names_of = |kind: &DataKind| [of(self, *kind).as_slice(), self.cross_check.of(*kind)].concat();
        let mut names: Vec<SourceName> = DataKind::ALL.iter().flat_map(names_of).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The kinds of data that a source is used for.
    pub fn kinds_of(&self, name: SourceName) -> Vec<DataKind> {
        let is_asked = |kind: &DataKind| self.of(*kind).contains(&name) || self.cross_check.of(*kind).contains(&name);
        DataKind::ALL.into_iter().filter(is_asked).collect()
    }
}

/// Comparisons of what one source gives with what another has. Differences are warnings in the quality report
/// (`source_disagreement`) and change no row; how large they may be is set in `quality.cross_check`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CrossCheckSection {
    /// The sources daily bars are compared with: the first of them that did not give the rows is asked once. Empty: none.
    pub bars: Vec<SourceName>,
    /// The same for minute bars.
    pub minute_bars: Vec<SourceName>,
}

impl CrossCheckSection {
    /// The sources that a kind of data is compared with. Factors begin at another day with each vendor, and ticks are cut
    /// and ordered in each one's own way: they cannot be compared row by row.
    pub fn of(&self, kind: DataKind) -> &[SourceName] {
        match kind {
            DataKind::Bars => &self.bars,
            DataKind::MinuteBars => &self.minute_bars,
            DataKind::Ticks | DataKind::Factors | DataKind::Stocks | DataKind::TradeDays => &[],
        }
    }
}

/// What a vendor may be asked for at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// In any minute; 0: no limit of ours.
    pub per_minute: u32,
    /// On a Shanghai day; 0: no limit of ours.
    pub per_day: u32,
    /// At the same time.
    pub max_concurrent: u32,
    /// Failures in a row after which nothing is sent for `pause_ms`.
    pub pause_after_failures: u32,
    /// Milliseconds.
    pub pause_ms: u64,
}

/// Each vendor's section has the same three settings; the pauses are the same for all.
macro_rules! limits {
    ($($section:ident),*) => {$(
        impl $section {
            /// What the vendor may be asked for at most.
            pub fn limits(&self, sources: &SourcesSection) -> RequestLimits {
                RequestLimits {
                    per_minute: self.requests_per_minute,
                    per_day: self.requests_per_day,
                    max_concurrent: self.max_concurrent,
                    pause_after_failures: sources.pause_after_failures,
                    pause_ms: sources.pause_ms,
                }
            }
        }
    )*};
}

limits!(
    BaoStockSection,
    ClickHouseSourceSection,
    EastMoneySection,
    MongoDbSourceSection,
    MySqlSourceSection,
    RedisSourceSection,
    TdxSection,
    TushareSection,
    YahooSection
);

/// BaoStock.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BaoStockSection {
    /// Host and port of the vendor's server.
    pub address: String,
    /// The account; `anonymous` is everybody's.
    pub user: String,
    /// The account's password; not set: that of `anonymous`.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// Longest wait for one answer, connecting included.
    #[schemars(range(min = 100, max = 600_000))]
    pub timeout_ms: u64,
    /// Requests and logins in any minute; 0: no limit of ours.
    pub requests_per_minute: u32,
    /// Requests and logins on a Shanghai day; 0: no limit of ours.
    pub requests_per_day: u32,
    /// Connections at the same time, each with one request under way; the vendor counts an account's logins.
    #[schemars(range(min = 1, max = 100))]
    pub max_concurrent: u32,
}

impl Default for BaoStockSection {
    fn default() -> Self {
        Self {
            address: "public-api.baostock.com:10030".into(),
            user: "anonymous".into(),
            password: None,
            timeout_ms: 30_000,
            requests_per_minute: 0,
            requests_per_day: 0,
            max_concurrent: 2,
        }
    }
}

/// EastMoney's quotation pages.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EastMoneySection {
    /// Base address of the bars.
    pub url: String,
    /// Base address of the list of securities.
    pub list_url: String,
    /// Longest wait for one answer.
    #[schemars(range(min = 100, max = 600_000))]
    pub timeout_ms: u64,
    /// Calls in any minute; 0: no limit of ours. The vendor closes its door for hours when called too often.
    pub requests_per_minute: u32,
    /// Calls on a Shanghai day; 0: no limit of ours.
    pub requests_per_day: u32,
    /// Calls at the same time.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_concurrent: u32,
}

impl Default for EastMoneySection {
    fn default() -> Self {
        Self {
            url: "https://push2his.eastmoney.com".into(),
            list_url: "https://82.push2.eastmoney.com".into(),
            timeout_ms: 15_000,
            // Reports speak of a closed door after some 200 calls in a row.
            requests_per_minute: 60,
            requests_per_day: 0,
            max_concurrent: 2,
        }
    }
}

/// TDX's quotation servers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TdxSection {
    /// Servers as `host:port`, the preferred one first; the next one is asked when one fails.
    pub hosts: Vec<String>,
    /// Longest wait for one answer, connecting included.
    #[schemars(range(min = 100, max = 600_000))]
    pub timeout_ms: u64,
    /// Requests in any minute; 0: no limit of ours.
    pub requests_per_minute: u32,
    /// Requests on a Shanghai day; 0: no limit of ours.
    pub requests_per_day: u32,
    /// Requests at the same time, each on a connection of its own.
    #[schemars(range(min = 1, max = 100))]
    pub max_concurrent: u32,
}

impl Default for TdxSection {
    fn default() -> Self {
        // Servers of the vendor's that public clients name, in three cities.
        let hosts = ["110.41.147.114:7709", "124.70.176.52:7709", "121.36.54.217:7709", "8.129.13.54:7709"];
        Self {
            hosts: hosts.map(str::to_owned).to_vec(),
            timeout_ms: 15_000,
            // The vendor names no limit; this one is ours, so that nobody has a reason to make one.
            requests_per_minute: 1_200,
            requests_per_day: 0,
            max_concurrent: 4,
        }
    }
}

impl TdxSection {
    /// Whether there is a server, and every one is a host and a port.
    pub fn names_servers(&self) -> bool {
        let is_server = |text: &String| {
            text.trim().rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty()
                    && !host.contains(char::is_whitespace)
                    && port.parse::<u16>().is_ok_and(|port| port > 0)
            })
        };
        !self.hosts.is_empty() && self.hosts.iter().all(is_server)
    }
}

/// Tushare Pro.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TushareSection {
    /// Base address; the interface's name is appended as in the vendor's own client.
    pub url: String,
    /// The account's token; without it Tushare refuses every call.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "Option<String>")]
    pub token: Option<SecretString>,
    /// Longest wait for one answer.
    #[schemars(range(min = 100, max = 600_000))]
    pub timeout_ms: u64,
    /// Calls in any minute; 0: no limit of ours, only the vendor's own. An account of 5,000 points has 500.
    pub requests_per_minute: u32,
    /// Calls on a Shanghai day; 0: no limit of ours.
    pub requests_per_day: u32,
    /// Calls at the same time.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_concurrent: u32,
}

impl Default for TushareSection {
    fn default() -> Self {
        Self {
            url: "http://api.waditu.com/dataapi".into(),
            token: None,
            timeout_ms: 30_000,
            requests_per_minute: 480,
            requests_per_day: 0,
            max_concurrent: 32,
        }
    }
}

/// A folder of CSV and Parquet files, one per code.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FilesSection {
    /// The folder, needed where `files` is a source of anything; files are named `000001.SZ.daily.csv` or
    /// `000001.SZ.daily.parquet`; what is there in both forms is read from Parquet.
    pub folder: PathBuf,
    /// What the column `volume` counts.
    pub volume_unit: VolumeUnit,
    /// What the column `amount` counts.
    pub amount_unit: AmountUnit,
}

/// Yahoo Finance.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct YahooSection {
    /// Base address of the chart interface.
    pub url: String,
    /// What the worker calls itself; Yahoo refuses names it takes for none of a browser.
    pub user_agent: String,
    /// Longest wait for one answer.
    #[schemars(range(min = 100, max = 600_000))]
    pub timeout_ms: u64,
    /// Requests in any minute; 0: no limit of ours. Yahoo names no limit and refuses whoever asks too often.
    pub requests_per_minute: u32,
    /// Requests on a Shanghai day; 0: no limit of ours.
    pub requests_per_day: u32,
    /// Requests at the same time.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_concurrent: u32,
}

impl Default for YahooSection {
    fn default() -> Self {
        Self {
            url: "https://query2.finance.yahoo.com".into(),
            user_agent: "Mozilla/5.0".into(),
            timeout_ms: 30_000,
            requests_per_minute: 60,
            requests_per_day: 0,
            max_concurrent: 2,
        }
    }
}
