// Upstream: prometheus, tests::it
// Downstream: services
// Role: Asks a worker over HTTP, with sockets alone: what is sent and what comes back is seen as it is.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::services::host_and_port;

/// Longest wait for one piece of an answer.
const DEADLINE: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status, or 0 where the connection was closed without an answer.
    pub status: u16,
    /// Everything before the body.
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

/// GET of a path at `http://host:port`.
pub fn get(address: &str, path: &str) -> Response {
    send(address, &format!("GET {path} HTTP/1.1\r\nHost: worker\r\n\r\n"))
}

/// Sends any text and reads until the other side closes.
pub fn send(address: &str, text: &str) -> Response {
    let mut stream = connect(address);
    stream.write_all(text.as_bytes()).expect("the request is sent");
    let mut bytes = Vec::new();
    // A server that closes while something is still on its way to it resets the connection.
    let _end = stream.read_to_end(&mut bytes);
    let answer = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    Response { status, head: head.to_owned(), body: body.to_owned() }
}

/// A connection on which nothing is sent yet.
pub fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(host_and_port(address)).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    stream
}
