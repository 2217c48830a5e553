// Upstream: eastmoney_server, tests::it, tushare_server, yahoo_server
// Downstream: none
// Role: Shared code of the HTTP protocol servers: connections, error pages and raw responses.

use std::io::{self, Read, Write};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Serves a connection in its own task until it ends. An error of `serve` closes it without a response.
pub fn serve_connection<F>(stream: TcpStream, serve: impl Fn(Request<Incoming>) -> F + Send + 'static)
where
    F: Future<Output = io::Result<Response<Full<Bytes>>>> + Send + 'static,
{
    let _slower_at_worst = stream.set_nodelay(true);
    tokio::spawn(async move {
        let service = hyper::service::service_fn(serve);
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // An error means that the client left or that a fault closed the connection.
        let _closed = connection.await;
    });
}

/// An HTML page as a proxy sends it, with an optional `Retry-After` in seconds.
pub fn html(status: u16, retry_after: Option<u64>) -> Response<Full<Bytes>> {
    let body = format!("<html>\r\n<head><title>{status}</title></head>\r\n<body>nginx</body>\r\n</html>\r\n");
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status.try_into().expect("an HTTP status");
    response.headers_mut().insert(CONTENT_TYPE, "text/html".parse().expect("a header value"));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// The URL of a server that accepts one connection, sends `head` and then `count` times `chunk`, and closes it.
pub fn raw_server(head: &'static str, chunk: Vec<u8>, count: usize) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let _request = stream.read(&mut [0; 4096]).expect("a request");
        let mut sent = stream.write_all(head.as_bytes());
        for _ in 0..count {
            // The client may close the connection earlier.
            sent = sent.and_then(|()| stream.write_all(&chunk));
        }
    });
    url
}
