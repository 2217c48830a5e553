// Upstream: many
// Downstream: data_kind
// Role: What can go wrong at a source, and whether another attempt makes sense.

use crate::ports::DataKind;
use std::time::Duration;

/// Why a fetch failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("source {source_name}: {request}: {kind}")]
pub struct SourceError {
    /// The source's name.
    pub source_name: &'static str,
    /// The request in short, without the token.
    pub request: String,
    /// What happened.
    pub kind: SourceErrorKind,
}

/// What happened at a source; decides whether another attempt makes sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceErrorKind {
    /// No connection, or it broke.
    #[error("not reachable: {0}")]
    Unreachable(String),
    /// No complete answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The server failed (HTTP 5xx and the like).
    #[error("server error: {0}")]
    Server(String),
    /// The vendor asks to slow down; `retry_after` is its own word or the window its text names.
    #[error("rate limit: {message} (next try in {retry_after:?})")]
    RateLimited {
        /// The vendor's text.
        message: String,
        /// How long to stay away.
        retry_after: Duration,
    },
    /// The token is wrong. An operator must act.
    #[error("login refused: {0}; check the source's token or password in the configuration")]
    Unauthorized(String),
    /// The account may not use this interface. An operator must act.
    #[error("no permission: {0}; the account needs more points or rights, or name another source")]
    Forbidden(String),
    /// The source does not know what was asked for.
    #[error("request refused: {0}")]
    BadRequest(String),
    /// The answer is not what the protocol promises.
    #[error("unreadable answer: {0}")]
    BadAnswer(String),
    /// A reload put another source in this one's place while the request waited to be sent.
    #[error("not sent: another source has taken its place")]
    Replaced,
    /// The source has no such data.
    #[error("it has no {0}; name another source in sources.{key}", key = .0.key())]
    NotOffered(DataKind),
}

impl SourceErrorKind {
    /// The kind's name in figures.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Timeout(_) => "timeout",
            Self::Server(_) => "server_error",
            Self::RateLimited { .. } => "rate_limited",
            Self::Unauthorized(_) => "unauthorized",
            Self::Forbidden(_) => "forbidden",
            Self::BadRequest(_) => "bad_request",
            Self::BadAnswer(_) => "bad_answer",
            Self::Replaced => "replaced",
            Self::NotOffered(_) => "not_offered",
        }
    }

    /// Whether the same request may succeed later without anybody's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Timeout(_) | Self::Server(_) | Self::RateLimited { .. } | Self::Replaced => {
                true
            }
            Self::Unauthorized(_)
            | Self::Forbidden(_)
            | Self::BadRequest(_)
            | Self::BadAnswer(_)
            | Self::NotOffered(_) => false,
        }
    }
}
