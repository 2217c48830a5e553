// Upstream: prometheus, tests::it
// Downstream: services
// Role: Sends HTTP requests to a worker over a plain socket, so that tests see the raw request and response.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::services::host_and_port;

/// Timeout of one read.
const DEADLINE: Duration = Duration::from_secs(20);

/// A response.
#[derive(Debug, Clone)]
pub struct Response {
    /// The HTTP status; 0 if the connection was closed without a response.
    pub status: u16,
    /// The status line and headers.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Response {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Sends a GET request for a path to `http://host:port`.
pub fn get(address: &str, path: &str) -> Response {
    send(address, &format!("GET {path} HTTP/1.1\r\nHost: worker\r\n\r\n"))
}

/// Sends raw text and reads until the server closes the connection.
pub fn send(address: &str, text: &str) -> Response {
    let mut stream = connect(address);
    stream.write_all(text.as_bytes()).expect("the request is sent");
    let mut bytes = Vec::new();
    // A server that closes with unread data in its receive buffer resets the connection.
    let _end = stream.read_to_end(&mut bytes);
    let answer = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    Response { status, head: head.to_owned(), body: body.to_owned() }
}

/// Opens a connection and sends nothing.
pub fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(host_and_port(address)).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a read timeout");
    stream
}
