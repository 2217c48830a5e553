// Upstream: service_hub, sources::files, sources::tushare, sources::tushare::transport, tests::it::sources_tushare
// Downstream: actors::ports, config::sections, probe, sources::files, sources::tushare
// Role: Builds the configured market source.

//! Vendors and folders of market data. Each converts to Ginkgo's units and zone and leaves the checking to others.

use std::sync::Arc;

use actors::ports::MarketSource;

use crate::config::{SourceName, SourcesSection};
use crate::probe::Answer;

/// A folder of CSV files.
pub mod files;
/// Labels of bars.
pub mod labels;
/// Tushare Pro.
pub mod tushare;
/// Numbers in vendors' smaller units.
pub mod units;

use files::FilesSource;
use tushare::TushareSource;

/// A source that cannot work as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceSetupError {
    /// No token is set.
    #[error("sources.tushare.token is not set; Tushare answers nothing without the account's token")]
    TokenMissing,
    /// No time is allowed for an answer.
    #[error("sources.tushare.timeout_ms is 0, but it must be at least 1")]
    TimeoutZero,
    /// The address is none.
    #[error("sources.tushare.url is `{url}`: {reason}")]
    BadUrl {
        /// As configured, without credentials.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The HTTP client could not be made.
    #[error("the HTTP client for sources.tushare could not be made: {0}; does the system have root certificates?")]
    Client(String),
    /// No folder, or none that can be read.
    #[error("sources.files.folder is `{folder}`: {reason}")]
    BadFolder {
        /// As configured.
        folder: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Tries the source that gives the bars.
pub async fn probe(section: &SourcesSection) -> Result<Answer, String> {
    match section.bars {
        SourceName::Tushare => match TushareSource::new(&section.tushare) {
            Ok(source) => source.probe().await.map_err(|kind| kind.to_string()),
            Err(error) => Err(error.to_string()),
        },
        SourceName::Files => match FilesSource::new(&section.files) {
            Ok(source) => source.probe().await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        },
    }
}

/// The source that gives the bars.
pub fn build(section: &SourcesSection) -> Result<Arc<dyn MarketSource>, SourceSetupError> {
    Ok(match section.bars {
        SourceName::Tushare => Arc::new(TushareSource::new(&section.tushare)?),
        SourceName::Files => Arc::new(FilesSource::new(&section.files)?),
    })
}
