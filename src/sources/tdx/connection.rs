// Upstream: pool
// Downstream: actors, cursor, frame, request
// Role: One connection to a TDX server: sends the greeting, then one request after the other.

use std::io;

use actors::ports::SourceErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::cursor::Malformed;
use super::frame::{self, HEADER_BYTES, Header};
use super::request::Request;

/// The messages that every client sends first. Servers answer with texts that are not needed.
const GREETING: [(u16, &[u8]); 3] = [(0x000d, &[1]), (0x000d, &[2]), (0x0fdb, &CLIENT)];

/// The client description that servers expect, as the public clients send it.
const CLIENT: [u8; 30] = [
    0xd5, 0xd0, 0xc9, 0xcc, 0xd6, 0xa4, 0xa8, 0xaf, 0, 0, 0, 0x8f, 0xc2, 0x25, 0x40, 0x13, 0, 0, 0xd5, 0, 0xc9, 0xcc,
    0xbd, 0xf0, 0xd7, 0xea, 0, 0, 0, 2,
];

/// A connection after the greeting.
pub struct Connection {
    stream: TcpStream,
    address: String,
    last_id: u32,
    used_at: Instant,
}

impl Connection {
    /// Connects and sends the greeting.
    pub async fn open(address: &str) -> Result<Self, SourceErrorKind> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| SourceErrorKind::Unreachable(format!("{address}: {error}")))?;
        let _slower_at_worst = stream.set_nodelay(true);
        let mut connection = Self { stream, address: address.to_owned(), last_id: 0, used_at: Instant::now() };
        for (kind, payload) in GREETING {
            let _text = connection.send(kind, payload).await?;
        }
        Ok(connection)
    }

    /// Sends a request and reads its answer. After an error the connection cannot be used any more.
    pub async fn ask<R: Request>(&mut self, request: &R) -> Result<R::Answer, SourceErrorKind> {
        let body = self.send(R::KIND, &request.payload()).await?;
        request.parse(&body).map_err(|error| {
            let begin = frame::excerpt(&body);
            SourceErrorKind::BadAnswer(format!("{}: {error}; the body begins with {begin}", self.address))
        })
    }

    /// When it was last used.
    pub fn used_at(&self) -> Instant {
        self.used_at
    }

    /// Whether it is open and has received no unexpected data.
    pub fn is_quiet(&self) -> bool {
        matches!(self.stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    async fn send(&mut self, kind: u16, payload: &[u8]) -> Result<Vec<u8>, SourceErrorKind> {
        self.last_id = self.last_id.wrapping_add(1);
        let id = self.last_id;
        self.stream.write_all(&frame::request(id, kind, payload)).await.map_err(|error| self.broken(&error))?;
        let mut header = [0; HEADER_BYTES];
        self.stream.read_exact(&mut header).await.map_err(|error| self.broken(&error))?;
        let header = Header::parse(&header, id, kind).map_err(|error| self.malformed(&error))?;
        let mut body = vec![0; header.sent];
        self.stream.read_exact(&mut body).await.map_err(|error| self.broken(&error))?;
        self.used_at = Instant::now();
        header.body(body).map_err(|error| self.malformed(&error))
    }

    fn broken(&self, error: &io::Error) -> SourceErrorKind {
        let text = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the connection was closed before the end of the answer".to_owned(),
            _ => error.to_string(),
        };
        SourceErrorKind::Unreachable(format!("{}: {text}", self.address))
    }

    fn malformed(&self, error: &Malformed) -> SourceErrorKind {
        SourceErrorKind::BadAnswer(format!("{}: {error}", self.address))
    }
}
