// Upstream: kit::bin::baostock_server, tests::it
// Downstream: eastmoney_data, http_serving, own_thread, tushare_data
// Role: A local server that speaks EastMoney's protocol; tests set its data and inject faults.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::NaiveDate;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Response};
use reqwest::Url;
use tokio::net::TcpListener;

use crate::eastmoney_data;
use crate::http_serving::{html, serve_connection};
use crate::own_thread::ServerThread;
use crate::tushare_data::{DailyRow, Dataset};

/// An injected fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Closes connections without an answer, as the vendor does to frequent callers.
    CloseConnection,
    /// Sends no answer.
    Hang,
    /// Sends this HTTP status with an HTML page and an optional `Retry-After` in seconds.
    Status(u16, Option<u64>),
    /// Sends HTTP 200 with an HTML page.
    Html,
    /// Sends the first half of the correct body as a complete answer.
    Truncated,
    /// Sends HTTP 200 with this body.
    Body(String),
}

/// Fixed options of a server.
#[derive(Debug, Clone)]
pub struct Options {
    /// The port to listen on; 0 picks a free one.
    pub port: u16,
    /// The maximum number of securities per page, whatever the client asks for.
    pub page_size: usize,
    /// The number of trading days that have minute bars.
    pub minute_days: usize,
    /// Whether 1-minute bars of all days but the newest have an open of 0, as the vendor's have.
    pub zero_opens: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { port: 0, page_size: 100, minute_days: 5, zero_opens: false }
    }
}

struct State {
    options: Options,
    data: Mutex<Dataset>,
    fault: Mutex<Option<Fault>>,
    requests: Mutex<Vec<String>>,
}

/// A running server; it stops when it is dropped.
pub struct EastMoneyServer {
    state: Arc<State>,
    server: ServerThread,
}

impl EastMoneyServer {
    /// Starts a server for `dataset` on a free port.
    pub fn start(dataset: Dataset) -> io::Result<Self> {
        Self::start_with(dataset, Options::default())
    }

    /// Starts a server for `dataset`; it accepts connections when this returns.
    pub fn start_with(dataset: Dataset, options: Options) -> io::Result<Self> {
        let port = options.port;
        let (data, fault, requests) = (Mutex::new(dataset), Mutex::default(), Mutex::default());
        let state = Arc::new(State { options, data, fault, requests });
        let of_thread = Arc::clone(&state);
        let server = ServerThread::serve("eastmoney-server", port, move |listener| accept(listener, of_thread))?;
        Ok(Self { state, server })
    }

    /// The base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Injects a fault into all requests; `None` clears it.
    pub fn set_fault(&self, fault: Option<Fault>) {
        *lock(&self.state.fault) = fault;
    }

    /// Adds a bar of `day` to every security.
    pub fn append_day(&self, day: NaiveDate) {
        lock(&self.state.data).append_day(day);
    }

    /// A security's rows, oldest first.
    pub fn rows(&self, code: &str) -> Vec<DailyRow> {
        lock(&self.state.data).rows(code).to_vec()
    }

    /// The received requests, path and query.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.state.requests).clone()
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
    let asked = request.uri().to_string();
    lock(&state.requests).push(asked.clone());
    let fault = lock(&state.fault).clone();
    match fault {
        None => Ok(state.answer(&asked)),
        Some(Fault::CloseConnection) => Err(io::ErrorKind::ConnectionReset.into()),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Status(status, retry_after)) => Ok(html(status, retry_after)),
        Some(Fault::Html) => Ok(html(200, None)),
        Some(Fault::Body(body)) => Ok(json(body)),
        Some(Fault::Truncated) => {
            let whole = state.body(&asked).unwrap_or_default();
            Ok(json(whole.chars().take(whole.chars().count() / 2).collect()))
        }
    }
}

impl State {
    fn answer(&self, asked: &str) -> Response<Full<Bytes>> {
        self.body(asked).map_or_else(|| html(404, None), json)
    }

    fn body(&self, asked: &str) -> Option<String> {
        let url = Url::parse("http://localhost").ok()?.join(asked).ok()?;
        let params: HashMap<String, String> = url.query_pairs().into_owned().collect();
        let data = lock(&self.data);
        match url.path() {
            "/api/qt/stock/kline/get" => Some(eastmoney_data::klines(&data, &params, self.options.minute_days)),
            "/api/qt/stock/trends2/get" => Some({
                let Options { minute_days, zero_opens, .. } = self.options;
                eastmoney_data::trends(&data, &params, minute_days, zero_opens)
            }),
            "/api/qt/clist/get" => Some(eastmoney_data::list(&data, &params, self.options.page_size)),
            _ => None,
        }
    }
}

fn json(body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(CONTENT_TYPE, "application/json; charset=UTF-8".parse().expect("a header value"));
    response
}
