// Upstream: many
// Downstream: actors, database_sections, masked, source_name, units
// Role: Settings of the market data sources: which sources each kind of data has, in which order, and their own.

use std::path::PathBuf;

use actors::ports::DataKind;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::database_sections::{ClickHouseSourceSection, MongoDbSourceSection, MySqlSourceSection, RedisSourceSection};
use super::source_name::SourceName;
use crate::config::masked::masked;
use crate::config::{AmountUnit, VolumeUnit};

/// Sources of market data.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SourcesSection {
    /// Sources of daily bars, the preferred one first; if a source fails permanently, the worker uses the next one.
    pub bars: Vec<SourceName>,
    /// Sources of minute bars. Empty: the sources in `bars` that offer minute bars.
    pub minute_bars: Vec<SourceName>,
    /// Sources of ticks. Empty: the sources in `bars` that offer ticks, otherwise `tdx`, which needs no account.
    pub ticks: Vec<SourceName>,
    /// Sources of adjustment factors. Empty: the sources in `bars` that offer adjustment factors.
    pub factors: Vec<SourceName>,
    /// Sources of the list of securities. Empty: the sources in `bars` that offer it.
    pub stocks: Vec<SourceName>,
    /// Sources of the trading calendar. Empty: the sources in `bars` that offer it.
    pub trade_days: Vec<SourceName>,
    /// Comparison of fetched rows with a second source.
    pub cross_check: CrossCheckSection,
    /// Consecutive failures (unreachable, timeout, server error) after which the worker sends a source no requests for
    /// `pause_ms`.
    #[schemars(range(min = 1, max = 1_000))]
    pub pause_after_failures: u32,
    /// Duration of that pause. One more failure after it starts the next pause.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub pause_ms: u64,
    /// BaoStock.
    pub baostock: BaoStockSection,
    /// A ClickHouse server with market data, such as that of another Ginkgo.
    pub clickhouse: ClickHouseSourceSection,
    /// EastMoney's web quotation service.
    pub eastmoney: EastMoneySection,
    /// A folder of CSV and Parquet files, one per code.
    pub files: FilesSection,
    /// A MongoDB server with market data.
    pub mongodb: MongoDbSourceSection,
    /// A MySQL or MariaDB server with market data, such as that of another Ginkgo.
    pub mysql: MySqlSourceSection,
    /// A Redis server with market data as JSON.
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
            // Concurrent fetches can all fail at once: single lost answers must not pause a source.
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
    /// The URLs of the sources by the path of their setting, for a check of their form.
    pub fn urls(&self) -> [(&'static str, &str); 4] {
        [
            ("sources.eastmoney.url", &self.eastmoney.url),
            ("sources.eastmoney.list_url", &self.eastmoney.list_url),
            ("sources.tushare.url", &self.tushare.url),
            ("sources.yahoo.url", &self.yahoo.url),
        ]
    }

    /// The texts that must not be empty, by the path of their setting.
    pub fn texts(&self) -> [(&'static str, &str); 7] {
        [
            ("sources.baostock.user", &self.baostock.user),
            ("sources.clickhouse.user", &self.clickhouse.user),
            ("sources.clickhouse.database", &self.clickhouse.database),
            ("sources.mongodb.database", &self.mongodb.database),
            ("sources.mysql.user", &self.mysql.user),
            ("sources.mysql.database", &self.mysql.database),
            ("sources.yahoo.user_agent", &self.yahoo.user_agent),
        ]
    }

    /// A source's name and address, for people.
    pub fn place(&self, name: SourceName) -> String {
        match name {
            SourceName::BaoStock => format!("BaoStock {}", self.baostock.address),
            SourceName::Tushare => format!("Tushare {}", self.tushare.url),
            SourceName::Files => format!("files in {}", self.files.folder.display()),
            SourceName::Yahoo => format!("Yahoo {}", self.yahoo.url),
            SourceName::EastMoney => format!("EastMoney {}", self.eastmoney.url),
            SourceName::Tdx => format!("TDX {}", self.tdx.hosts.join(", ")),
            SourceName::ClickHouse => {
                let section = &self.clickhouse;
                format!("source ClickHouse {}:{} database {}", section.host, section.port, section.database)
            }
            SourceName::MongoDb => {
                let section = &self.mongodb;
                format!("source MongoDB {}:{} database {}", section.host, section.port, section.database)
            }
            SourceName::MySql => {
                let section = &self.mysql;
                format!("source MySQL {}:{} database {}", section.host, section.port, section.database)
            }
            SourceName::Redis => {
                let section = &self.redis;
                format!("source Redis {}:{}/{}", section.host, section.port, section.database)
            }
        }
    }

    /// The sources that the configuration lists explicitly for a kind of data.
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

    /// The sources of a kind of data with all defaults applied, the preferred one first.
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

    /// Every source that is used for some kind of data, or for comparisons.
    pub fn used(&self) -> Vec<SourceName> {
        self.all(Self::of)
    }

    /// The sources that are tried before a changed configuration takes effect. They exclude the implicit `tdx` for
    /// ticks, because a firewall may block it.
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

/// Comparison of fetched rows with a second source. Differences are warnings in the quality report
/// (`source_disagreement`) and change no row; `quality.cross_check` sets the tolerances.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CrossCheckSection {
    /// Sources with which daily bars are compared. The worker sends one request to the first of them that did not
    /// supply the rows. Empty: no comparison.
    pub bars: Vec<SourceName>,
    /// The same for minute bars.
    pub minute_bars: Vec<SourceName>,
}

impl CrossCheckSection {
    /// The sources with which a kind of data is compared. Factors start on a different day with each vendor, and each
    /// vendor aggregates and orders ticks in its own way, so neither can be compared row by row.
    pub fn of(&self, kind: DataKind) -> &[SourceName] {
        match kind {
            DataKind::Bars => &self.bars,
            DataKind::MinuteBars => &self.minute_bars,
            DataKind::Ticks | DataKind::Factors | DataKind::Stocks | DataKind::TradeDays => &[],
        }
    }
}

/// The limits of requests to a vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Requests per minute; 0: the worker sets no limit.
    pub per_minute: u32,
    /// Requests per calendar day in Shanghai; 0: the worker sets no limit.
    pub per_day: u32,
    /// Concurrent requests.
    pub max_concurrent: u32,
    /// Consecutive failures after which nothing is sent for `pause_ms`.
    pub pause_after_failures: u32,
    /// Duration of that pause in milliseconds.
    pub pause_ms: u64,
    /// Whether all workers with the same account share these limits.
    pub is_shared: bool,
}

/// Each vendor's section has the same three limits; the pause settings are shared by all vendors. A vendor counts the
/// requests of all workers together; a database does not count.
macro_rules! limits {
    ($($section:ident { shared: |$of:ident| $is_shared:expr }),* $(,)?) => {$(
        impl $section {
            /// The limits of requests to this vendor.
            pub fn limits(&self, sources: &SourcesSection) -> RequestLimits {
                let $of = self;
                RequestLimits {
                    is_shared: $is_shared,
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
    BaoStockSection { shared: |section| section.shared_budget },
    ClickHouseSourceSection { shared: |_section| false },
    EastMoneySection { shared: |section| section.shared_budget },
    MongoDbSourceSection { shared: |_section| false },
    MySqlSourceSection { shared: |_section| false },
    RedisSourceSection { shared: |_section| false },
    TdxSection { shared: |section| section.shared_budget },
    TushareSection { shared: |section| section.shared_budget },
    YahooSection { shared: |section| section.shared_budget },
);

/// BaoStock.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BaoStockSection {
    /// Address of the vendor's server as `host:port`.
    pub address: String,
    /// Account; `anonymous` is the public account.
    pub user: String,
    /// Password of the account; not set: the password of `anonymous`.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// Timeout of one request, including the connection attempt.
    #[schemars(range(min = 100, max = 600_000))]
    pub timeout_ms: u64,
    /// Maximum number of requests and logins per minute; 0: the worker sets no limit.
    pub requests_per_minute: u32,
    /// Maximum number of requests and logins per calendar day in Shanghai; 0: the worker sets no limit.
    pub requests_per_day: u32,
    /// Whether all workers with the same account share these limits. They count their requests together in Redis.
    pub shared_budget: bool,
    /// Maximum number of connections, each with one request at a time. The vendor counts the logins of an account.
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
            shared_budget: true,
            max_concurrent: 2,
        }
    }
}

/// EastMoney's web quotation service.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EastMoneySection {
    /// Base URL of the bars.
    pub url: String,
    /// Base URL of the list of securities.
    pub list_url: String,
    /// Whether 1-minute bars without an open, which are those of all days but the newest, are stored with the close of
    /// the minute before, as far as it lies between low and high. Otherwise they are not stored, and reported as
    /// `not_offered`.
    pub open_from_close: bool,
    /// Timeout of one request.
    #[schemars(range(min = 100, max = 600_000))]
    pub timeout_ms: u64,
    /// Maximum number of requests per minute; 0: the worker sets no limit. The vendor blocks a client with too many
    /// requests for hours.
    pub requests_per_minute: u32,
    /// Maximum number of requests per calendar day in Shanghai; 0: the worker sets no limit.
    pub requests_per_day: u32,
    /// Whether all workers with the same account share these limits. They count their requests together in Redis.
    pub shared_budget: bool,
    /// Maximum number of concurrent requests.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_concurrent: u32,
}

impl Default for EastMoneySection {
    fn default() -> Self {
        Self {
            url: "https://push2his.eastmoney.com".into(),
            list_url: "https://82.push2.eastmoney.com".into(),
            open_from_close: false,
            timeout_ms: 15_000,
            // Users report a block after about 200 consecutive requests.
            requests_per_minute: 60,
            requests_per_day: 0,
            shared_budget: true,
            max_concurrent: 2,
        }
    }
}

/// TDX's quotation servers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TdxSection {
    /// Servers as `host:port`, the preferred one first; if a server fails, the worker uses the next one.
    pub hosts: Vec<String>,
    /// Timeout of one request, including the connection attempt.
    #[schemars(range(min = 100, max = 600_000))]
    pub timeout_ms: u64,
    /// Maximum number of requests per minute; 0: the worker sets no limit.
    pub requests_per_minute: u32,
    /// Maximum number of requests per calendar day in Shanghai; 0: the worker sets no limit.
    pub requests_per_day: u32,
    /// Whether all workers with the same account share these limits. They count their requests together in Redis.
    pub shared_budget: bool,
    /// Maximum number of concurrent requests, each on its own connection.
    #[schemars(range(min = 1, max = 100))]
    pub max_concurrent: u32,
}

impl Default for TdxSection {
    fn default() -> Self {
        // Servers of the vendor in three cities, as listed by public clients.
        let hosts = ["110.41.147.114:7709", "124.70.176.52:7709", "121.36.54.217:7709", "8.129.13.54:7709"];
        Self {
            hosts: hosts.map(str::to_owned).to_vec(),
            timeout_ms: 15_000,
            // The vendor publishes no limit. The worker limits itself so that the vendor has no reason to set one.
            requests_per_minute: 1_200,
            requests_per_day: 0,
            shared_budget: true,
            max_concurrent: 4,
        }
    }
}

impl TdxSection {
    /// Whether the list has at least one server and every entry is a host and a port.
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
    /// Base URL. The worker appends the name of the interface, as the vendor's own client does.
    pub url: String,
    /// Token of the account; without it Tushare rejects every request.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "Option<String>")]
    pub token: Option<SecretString>,
    /// Timeout of one request.
    #[schemars(range(min = 100, max = 600_000))]
    pub timeout_ms: u64,
    /// Maximum number of requests per minute to each interface, which the worker keeps with a margin of 3 %; 0: the
    /// worker sets no limit, only the vendor does. The vendor allows 500 to an account with 5,000 points.
    pub requests_per_minute: u32,
    /// Maximum number of requests per calendar day in Shanghai to each interface; 0: the worker sets no limit.
    pub requests_per_day: u32,
    /// Whether all workers with the same account share these limits. They count their requests together in Redis.
    pub shared_budget: bool,
    /// Maximum number of concurrent requests to all interfaces together.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_concurrent: u32,
}

impl Default for TushareSection {
    fn default() -> Self {
        Self {
            url: "http://api.waditu.com/dataapi".into(),
            token: None,
            timeout_ms: 30_000,
            requests_per_minute: 500,
            requests_per_day: 0,
            shared_budget: true,
            max_concurrent: 32,
        }
    }
}

/// A folder of CSV and Parquet files, one per code.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FilesSection {
    /// Folder of the files; required if `files` is a source of any kind of data. Files have names such as
    /// `000001.SZ.daily.csv` or `000001.SZ.daily.parquet`. If both exist, the worker reads the Parquet file.
    pub folder: PathBuf,
    /// Unit of the column `volume`.
    pub volume_unit: VolumeUnit,
    /// Unit of the column `amount`.
    pub amount_unit: AmountUnit,
}

/// Yahoo Finance.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct YahooSection {
    /// Base URL of the chart interface.
    pub url: String,
    /// `User-Agent` header of the requests; Yahoo rejects names that are not those of a browser.
    pub user_agent: String,
    /// Timeout of one request.
    #[schemars(range(min = 100, max = 600_000))]
    pub timeout_ms: u64,
    /// Maximum number of requests per minute; 0: the worker sets no limit. Yahoo publishes no limit and rejects clients
    /// that send too many requests.
    pub requests_per_minute: u32,
    /// Maximum number of requests per calendar day in Shanghai; 0: the worker sets no limit.
    pub requests_per_day: u32,
    /// Whether all workers with the same account share these limits. They count their requests together in Redis.
    pub shared_budget: bool,
    /// Maximum number of concurrent requests.
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
            shared_budget: true,
            max_concurrent: 2,
        }
    }
}
