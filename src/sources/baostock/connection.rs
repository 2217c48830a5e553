// Upstream: source
// Downstream: actors, frame
// Role: One TCP connection to BaoStock: sends a request and reads its answer.

use actors::ports::SourceErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::frame::{FrameError, Incoming, Message};

/// A connection. The protocol has no request IDs, so only one request is in flight at a time. After an error the
/// connection is not reused, because its next bytes may belong to another answer.
pub struct Connection {
    stream: TcpStream,
    /// When the last answer arrived.
    pub used_at: Instant,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The server closed the connection before the first byte of an answer.
    #[error("the server closed the connection ({0})")]
    Closed(String),
    /// The connection ended in the middle of an answer.
    #[error("the connection broke after {received} bytes of an answer: {reason}")]
    Broken {
        /// The number of bytes received.
        received: usize,
        /// The cause.
        reason: String,
    },
    /// The received bytes are no valid answer.
    #[error("{0}")]
    Frame(#[from] FrameError),
}

impl From<ExchangeError> for SourceErrorKind {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Frame(error) => Self::BadAnswer(error.to_string()),
            other => Self::Unreachable(other.to_string()),
        }
    }
}

impl Connection {
    /// Connects to `host:port`.
    pub async fn open(address: &str) -> Result<Self, SourceErrorKind> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| SourceErrorKind::Unreachable(error.to_string()))?;
        let _slower_at_worst = stream.set_nodelay(true);
        Ok(Self { stream, used_at: Instant::now() })
    }

    /// Sends a request and reads its answer. The caller limits the time.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Message, ExchangeError> {
        let sent = self.stream.write_all(request).await;
        sent.map_err(|error| ExchangeError::Closed(error.to_string()))?;
        let mut incoming = Incoming::default();
        let mut piece = vec![0; 16 << 10];
        loop {
            let received = incoming.received();
            let reason = match self.stream.read(&mut piece).await {
                Ok(0) => "end of stream".to_owned(),
                Err(error) => error.to_string(),
                Ok(count) => match incoming.push(piece.get(..count).unwrap_or_default())? {
                    None => continue,
                    Some(message) => {
                        self.used_at = Instant::now();
                        return Ok(message);
                    }
                },
            };
            return Err(match received {
                0 => ExchangeError::Closed(reason),
                _ => ExchangeError::Broken { received, reason },
            });
        }
    }
}
