// Upstream: many
// Downstream: none
// Role: Errors of building a source from its settings.

/// The configuration of a source is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceSetupError {
    /// The Tushare token is not set.
    #[error("sources.tushare.token is not set; Tushare rejects every call without the account's token")]
    TokenMissing,
    /// The timeout is zero.
    #[error("sources.{section}.timeout_ms is 0, but it must be at least 1")]
    TimeoutZero {
        /// The source's section of the configuration.
        section: &'static str,
    },
    /// The URL is invalid.
    #[error("sources.{section}.url is `{url}`: {reason}")]
    BadUrl {
        /// The source's section of the configuration.
        section: &'static str,
        /// The configured URL without credentials.
        url: String,
        /// Why it is invalid.
        reason: String,
    },
    /// The client cannot be created.
    #[error(
        "cannot create the client for sources.{section}: {reason}; HTTPS needs root certificates installed on the system"
    )]
    Client {
        /// The source's section of the configuration.
        section: &'static str,
        /// The cause.
        reason: String,
    },
    /// The BaoStock user or password cannot be sent.
    #[error("sources.baostock.user or password contains a control character; BaoStock uses one as field separator")]
    ControlCharacters,
    /// The TDX server list is empty or has an invalid entry.
    #[error("sources.tdx.hosts is `{0}`: it must list servers as host:port")]
    BadHosts(String),
    /// The mapping of a database's tables or columns is invalid.
    #[error("sources.{section}.{reason}")]
    Mapping {
        /// The database's section of the configuration.
        section: &'static str,
        /// The setting and why it is invalid.
        reason: String,
    },
    /// The folder is not set, is not a folder or cannot be read.
    #[error("sources.files.folder is `{folder}`: {reason}")]
    BadFolder {
        /// The configured path.
        folder: String,
        /// Why it is invalid.
        reason: String,
    },
}
