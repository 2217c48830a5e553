// Upstream: many
// Downstream: none
// Role: Why a source cannot be built from its settings.

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
    Mapping {
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
