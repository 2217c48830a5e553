// Upstream: many
// Downstream: data_kind
// Role: Errors of a source, and whether a retry makes sense.

use crate::ports::DataKind;
use std::time::Duration;

/// An error of a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("source {source_name}: {request}: {kind}")]
pub struct SourceError {
    /// The source's name.
    pub source_name: &'static str,
    /// A short description of the request, without the token.
    pub request: String,
    /// The kind of error.
    pub kind: SourceErrorKind,
}

/// The kind of a source error; decides whether a retry makes sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceErrorKind {
    /// The connection failed or was interrupted.
    #[error("not reachable: {0}")]
    Unreachable(String),
    /// The answer was not complete within the timeout.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The server failed (HTTP 5xx or similar).
    #[error("server error: {0}")]
    Server(String),
    /// The vendor's rate limit is exceeded. `retry_after` is the vendor's own value or the window that its message
    /// names.
    #[error("rate limit: {message} (next attempt in {retry_after:?})")]
    RateLimited {
        /// The vendor's text.
        message: String,
        /// How long to wait before the next request.
        retry_after: Duration,
    },
    /// The token is invalid. An operator must act.
    #[error("login refused: {0}; check the source's token or password in the configuration")]
    Unauthorized(String),
    /// The account may not use this interface. An operator must act.
    #[error("no permission: {0}; the account needs more points or rights, or configure another source")]
    Forbidden(String),
    /// The source does not know the requested item.
    #[error("request refused: {0}")]
    BadRequest(String),
    /// The answer violates the protocol: a page of a proxy, a cut body. The next one may be right.
    #[error("unreadable answer: {0}")]
    BadAnswer(String),
    /// A reload replaced the source while the request waited to be sent.
    #[error("not sent: a reload replaced the source")]
    Replaced,
    /// The source has no securities of this kind, such as those of another exchange; contains what it has. Nothing was
    /// requested, and no later attempt would help.
    #[error("{0}")]
    NotCovered(String),
    /// The source does not provide this kind of data.
    #[error("the source has no {0}; configure another source in sources.{key}", key = .0.key())]
    NotOffered(DataKind),
}

impl SourceErrorKind {
    /// The kind's name in metrics.
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
            Self::NotCovered(_) | Self::NotOffered(_) => "not_offered",
        }
    }

    /// Whether the source refuses the login, and with it every request.
    pub fn is_refused_login(&self) -> bool {
        matches!(self, Self::Unauthorized(_))
    }

    /// Whether the same request may succeed later without intervention.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Timeout(_)
            | Self::Server(_)
            | Self::RateLimited { .. }
            | Self::BadAnswer(_)
            | Self::Replaced => true,
            Self::Unauthorized(_)
            | Self::Forbidden(_)
            | Self::BadRequest(_)
            | Self::NotCovered(_)
            | Self::NotOffered(_) => false,
        }
    }
}
