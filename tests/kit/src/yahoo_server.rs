// Upstream: kit::bin::baostock_server, tests::it
// Downstream: fault, http_serving, own_thread, tushare_data, yahoo_data
// Role: A local server that speaks Yahoo's chart protocol; tests set its data and inject faults.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::NaiveDate;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, SET_COOKIE};
use hyper::{Request, Response};
use serde_json::json;
use tokio::net::TcpListener;

use crate::fault::{FaultDuration, Faults};
use crate::http_serving::serve_connection;
use crate::own_thread::ServerThread;
use crate::tushare_data::{DailyRow, Dataset};
use crate::yahoo_data::{Ask, Splits, chart};

/// A symbol that always gets HTTP 429.
pub const LIMITED_SYMBOL: &str = "429.SS";

/// An injected fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Closes connections without an answer.
    Down,
    /// Sends no answer until the fault is cleared, then closes the connection.
    Hang,
    /// Sends the correct answer after a delay.
    Slow(Duration),
    /// Sends this HTTP status with this body and an optional `Retry-After` in seconds.
    Status(u16, String, Option<u64>),
    /// Sends HTTP 200 with this body.
    Body(String),
    /// Sends the first half of the correct body as a complete answer.
    Truncated,
    /// Sends HTTP 200 with a small gzip body that decompresses to this many MB.
    Bomb(usize),
    /// Sends the correct answer with the first text replaced by the second.
    Replaced(String, String),
}

/// A received request.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// The path of the URL.
    pub path: String,
    /// The query parameters of the URL.
    pub params: HashMap<String, String>,
    /// The `User-Agent` header.
    pub user_agent: String,
}

struct State {
    data: Mutex<(Dataset, Splits)>,
    faults: Faults<Fault>,
    received: Mutex<Vec<Received>>,
}

/// A running server; it stops when it is dropped.
pub struct YahooServer {
    state: Arc<State>,
    server: ServerThread,
}

impl YahooServer {
    /// Starts a server for `dataset` on a free port.
    pub fn start(dataset: Dataset) -> io::Result<Self> {
        Self::start_at(dataset, 0)
    }

    /// Starts a server for `dataset` on this port; it accepts connections when this returns.
    pub fn start_at(dataset: Dataset, port: u16) -> io::Result<Self> {
        let data = Mutex::new((dataset, Splits::new()));
        let state = Arc::new(State { data, faults: Faults::default(), received: Mutex::default() });
        let of_thread = Arc::clone(&state);
        let server = ServerThread::serve("yahoo-server", port, move |listener| accept(listener, of_thread))?;
        Ok(Self { state, server })
    }

    /// The base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Injects a fault into the next requests.
    pub fn set_fault(&self, fault: Fault, lasting: FaultDuration) {
        self.state.faults.set(fault, lasting);
    }

    /// Clears the fault; hanging requests are closed.
    pub fn clear_fault(&self) {
        self.state.faults.clear();
    }

    /// Adds a split: from `day` on, `denominator` old shares are `numerator` new ones.
    pub fn set_split(&self, code: &str, day: NaiveDate, numerator: u32, denominator: u32) {
        lock(&self.state.data).1.entry(code.to_owned()).or_default().insert(day, (numerator, denominator));
    }

    /// Replaces a security's rows while the server runs; the cell `null` is sent as JSON null.
    pub fn set_rows(&self, code: &str, rows: Vec<DailyRow>) {
        lock(&self.state.data).0.set_rows(code, rows);
    }

    /// A security's unadjusted rows, oldest first.
    pub fn rows(&self, code: &str) -> Vec<DailyRow> {
        lock(&self.state.data).0.rows(code).to_vec()
    }

    /// The requests received.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.state.received).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let state = Arc::clone(&state);
        serve_connection(stream, move |request| serve(Arc::clone(&state), request));
    }
}

/// An error closes the connection without an answer.
async fn serve(state: Arc<State>, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    let mut clearings = state.faults.clearings();
    let user_agent = request.headers().get("user-agent").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let received = Received {
        path: request.uri().path().to_owned(),
        params: params(request.uri().query().unwrap_or_default()),
        user_agent: user_agent.to_owned(),
    };
    lock(&state.received).push(received.clone());
    match state.faults.take() {
        None => Ok(state.answer(&received)),
        Some(Fault::Slow(delay)) => {
            tokio::time::sleep(delay).await;
            Ok(state.answer(&received))
        }
        Some(Fault::Down) => Err(io::ErrorKind::ConnectionReset.into()),
        Some(Fault::Hang) => {
            let _cleared_or_stopped = clearings.changed().await;
            Err(io::ErrorKind::ConnectionReset.into())
        }
        Some(Fault::Status(status, body, retry_after)) => {
            let mut response = text(status, body);
            if let Some(seconds) = retry_after {
                response.headers_mut().insert(RETRY_AFTER, seconds.into());
            }
            Ok(response)
        }
        Some(Fault::Body(body)) => Ok(text(200, body)),
        Some(Fault::Truncated) => {
            let whole = state.chart(&received).1;
            Ok(text(200, whole.chars().take(whole.chars().count() / 2).collect()))
        }
        Some(Fault::Bomb(megabytes)) => Ok(bomb(megabytes)),
        Some(Fault::Replaced(from, to)) => Ok(text(200, state.chart(&received).1.replace(&from, &to))),
    }
}

/// Parses a query string. Values are numbers, names and comma-separated words, so `%2C` is the only escape in use.
fn params(query: &str) -> HashMap<String, String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.replace("%2C", ","))).collect()
}

impl State {
    fn answer(&self, received: &Received) -> Response<Full<Bytes>> {
        if received.path.starts_with("/v8/finance/chart/") {
            let (status, body) = self.chart(received);
            return text(status, body);
        }
        if received.path.ends_with("/getcrumb") {
            return text(200, "crumb-1".to_owned());
        }
        // The page that sets the cookie answers 404, as the vendor's does.
        let mut response = text(404, String::new());
        response.headers_mut().insert(SET_COOKIE, "A3=d=x; Path=/".parse().expect("a header value"));
        response
    }

    fn chart(&self, received: &Received) -> (u16, String) {
        let symbol = received.path.trim_start_matches("/v8/finance/chart/");
        if symbol == LIMITED_SYMBOL {
            return (429, "Too Many Requests".to_owned());
        }
        let code = symbol.replace(".SS", ".SH");
        let data = lock(&self.data);
        if !data.0.codes().any(|known| known == code) {
            let error = json!({"code": "Not Found", "description": "No data found, symbol may be delisted"});
            return (404, json!({"chart": {"result": null, "error": error}}).to_string());
        }
        let number =
            |name: &str, default| received.params.get(name).and_then(|text| text.parse().ok()).unwrap_or(default);
        let interval = received.params.get("interval").map_or("1d", String::as_str);
        let period = (number("period1", 0), number("period2", i64::MAX));
        let last_alone = received.params.get("range").is_some_and(|range| range == "1d");
        let ask = Ask { symbol, code: &code, interval, period, last_alone };
        (200, chart(&data.0, &data.1, &ask).to_string())
    }
}

fn text(status: u16, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status.try_into().expect("an HTTP status");
    response.headers_mut().insert(CONTENT_TYPE, "application/json;charset=utf-8".parse().expect("a header value"));
    response
}

fn bomb(megabytes: usize) -> Response<Full<Bytes>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..megabytes {
        encoder.write_all(&[b' '; 1 << 20]).expect("a Vec accepts every write");
    }
    let mut response = Response::new(Full::from(encoder.finish().expect("a Vec accepts every write")));
    response.headers_mut().insert(CONTENT_ENCODING, "gzip".parse().expect("a header value"));
    response
}
