// Upstream: benches::pipeline, kit::bin::baostock_server, scene, tests::it
// Downstream: many
// Role: A local server that speaks Tushare's protocol; tests set its data and inject faults.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::NaiveDate;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Response};
use tokio::net::TcpListener;

pub use crate::fault::FaultDuration;
use crate::fault::Faults;
use crate::http_serving::{html, serve_connection};
use crate::own_thread::ServerThread;
pub use crate::tushare_data::{DailyRow, Dataset, ListedStock, codes, last_trading_days, trading_days};
use crate::tushare_limits::limit_text;
pub use crate::tushare_limits::{InterfaceLimit, Window};
use crate::tushare_other;
pub use crate::tushare_protocol::LabelForm;
use crate::tushare_protocol::{BAD_TOKEN_TEXT, Call, DailyAnswers, refusal};

/// The interfaces that the server offers.
pub const INTERFACES: [&str; 6] = ["daily", "adj_factor", "trade_cal", "stock_basic", "suspend_d", "stk_mins"];

/// Fixed options of a server.
#[derive(Debug, Clone)]
pub struct Options {
    /// The port to listen on; 0 picks a free one.
    pub port: u16,
    /// The only accepted token.
    pub token: String,
    /// A token that always gets the rate-limit error.
    pub limited_token: Option<String>,
    /// Limits of interfaces; further calls get the vendor's rate-limit error until the window ends.
    pub limits: Vec<InterfaceLimit>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            token: TushareServer::TOKEN.to_owned(),
            limited_token: Some("tok-limited".to_owned()),
            limits: Vec::new(),
        }
    }
}

/// An injected fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Closes connections without an answer.
    Down,
    /// Sends this HTTP status with an HTML page and an optional `Retry-After` in seconds.
    Status(u16, Option<u64>),
    /// Sends the vendor's error response: HTTP 200 with this code and text.
    Refused(i64, String),
    /// Sends the correct answer after a delay.
    Slow(Duration),
    /// Sends HTTP 200 with an HTML page.
    Html,
    /// Sends the first half of the correct body as a complete answer.
    Truncated,
    /// Sends correct answers with another date format.
    Labels(LabelForm),
    /// Sends HTTP 200 with this body.
    Body(String),
    /// Sends no answer until the fault is cleared, then closes the connection.
    Hang,
    /// Refuses calls for all securities of a day; the account may only ask for single ones.
    NoWholeDays,
    /// Refuses calls that name several securities.
    NoSeveralCodes,
    /// Answers for the first security that a call names, as if it were the only one.
    OnlyFirstCode,
}

impl Fault {
    /// The vendor's error for too many calls per minute.
    pub fn rate_limited() -> Self {
        Self::Refused(40203, limit_text(Window::Minute, 500))
    }
}

/// A received call.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// The path of the URL.
    pub path: String,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// The request body.
    pub body: String,
}

#[derive(Debug, Default)]
struct Counters {
    requests: u64,
    rejected: u64,
    by_code: HashMap<String, u64>,
    by_interface: HashMap<String, u64>,
    last_arrival: HashMap<String, Instant>,
    last: Received,
}

struct State {
    options: Options,
    data: Mutex<(Dataset, DailyAnswers)>,
    faults: Faults<Fault>,
    counters: Mutex<Counters>,
    /// The start of each limit's window and the calls in it, in the order of the options.
    windows: Mutex<Vec<(Instant, u32)>>,
}

/// A running server; it stops when it is dropped.
pub struct TushareServer {
    state: Arc<State>,
    server: ServerThread,
}

impl TushareServer {
    /// The token that the server accepts by default.
    pub const TOKEN: &str = "tok-ok";

    /// Starts a server for `dataset` on a free port.
    pub fn start(dataset: Dataset) -> io::Result<Self> {
        Self::start_with(dataset, Options::default())
    }

    /// Starts a server for `dataset`; it accepts connections when this returns.
    pub fn start_with(dataset: Dataset, options: Options) -> io::Result<Self> {
        let port = options.port;
        let windows = Mutex::new(vec![(Instant::now(), 0); options.limits.len()]);
        let state = Arc::new(State {
            options,
            data: Mutex::new((dataset, DailyAnswers::default())),
            faults: Faults::default(),
            counters: Mutex::default(),
            windows,
        });
        let of_thread = Arc::clone(&state);
        let server = ServerThread::serve("tushare-server", port, move |listener| accept(listener, of_thread))?;
        Ok(Self { state, server })
    }

    /// The listening address.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The base URL as the vendor's client uses it.
    pub fn url(&self) -> String {
        format!("http://{}/dataapi", self.server.address())
    }

    /// The base URL as the vendor documents it.
    pub fn root_url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Replaces a security's rows while the server runs.
    pub fn set_rows(&self, code: &str, rows: Vec<DailyRow>) {
        let mut data = lock(&self.state.data);
        data.0.set_rows(code, rows);
        data.1.forget(Some(code));
    }

    /// Adds a bar of `day` to every security.
    pub fn append_day(&self, day: NaiveDate) {
        let mut data = lock(&self.state.data);
        data.0.append_day(day);
        data.1.forget(None);
    }

    /// Sets a security's adjustment factor from `day` on.
    pub fn set_factor(&self, code: &str, day: NaiveDate, factor: f64) {
        lock(&self.state.data).0.set_factor(code, day, factor);
    }

    /// Replaces a security's row of the stock list; see [`Dataset::set_listing`].
    pub fn set_listing(&self, code: &str, row: ListedStock) {
        lock(&self.state.data).0.set_listing(code, row);
    }

    /// Marks a security as suspended on `day`; see [`Dataset::suspend`].
    pub fn suspend(&self, code: &str, day: NaiveDate, timing: &str) {
        lock(&self.state.data).0.suspend(code, day, timing);
    }

    /// A security's rows, oldest first.
    pub fn rows(&self, code: &str) -> Vec<DailyRow> {
        lock(&self.state.data).0.rows(code).to_vec()
    }

    /// Injects a fault into the next requests.
    pub fn set_fault(&self, fault: Fault, lasting: FaultDuration) {
        self.state.faults.set(fault, lasting);
    }

    /// Clears the fault; hanging requests are closed.
    pub fn clear_fault(&self) {
        self.state.faults.clear();
    }

    /// Number of requests received.
    pub fn requests(&self) -> u64 {
        lock(&self.state.counters).requests
    }

    /// Number of requests for exactly this security.
    pub fn requests_of(&self, code: &str) -> u64 {
        lock(&self.state.counters).by_code.get(code).copied().unwrap_or(0)
    }

    /// Number of requests to this interface.
    pub fn requests_to(&self, interface: &str) -> u64 {
        lock(&self.state.counters).by_interface.get(interface).copied().unwrap_or(0)
    }

    /// The time of the last request for exactly this security.
    pub fn last_arrival(&self, code: &str) -> Option<Instant> {
        lock(&self.state.counters).last_arrival.get(code).copied()
    }

    /// Number of requests that got no rows because of a fault, the token or the rate limit.
    pub fn rejected(&self) -> u64 {
        lock(&self.state.counters).rejected
    }

    /// The last request.
    pub fn last_request(&self) -> Received {
        lock(&self.state.counters).last.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        if state.faults.take_if(|fault| *fault == Fault::Down).is_some() {
            // Counts as rejected: the client intended to send a request.
            state.reject(());
            continue;
        }
        let state = Arc::clone(&state);
        serve_connection(stream, move |request| serve(Arc::clone(&state), request));
    }
}

/// An error closes the connection without an answer.
async fn serve(state: Arc<State>, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    // Subscribe before the fault is taken, so that a clearing in between is not missed.
    let mut clearings = state.faults.clearings();
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let user_agent = head.headers.get("user-agent").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let call: Result<Call, _> = serde_json::from_slice(&body);
    state.count(
        &call,
        Received {
            path: head.uri.path().to_owned(),
            user_agent: user_agent.to_owned(),
            body: String::from_utf8_lossy(&body).into_owned(),
        },
    );
    let fault = state.faults.take();
    let Ok(call) = call else { return Ok(state.refuse(-2001, "必填参数")) };
    match fault {
        None => Ok(state.answer(&call, LabelForm::Text)),
        Some(Fault::Labels(form)) => Ok(state.answer(&call, form)),
        Some(Fault::Slow(delay)) => {
            tokio::time::sleep(delay).await;
            Ok(state.answer(&call, LabelForm::Text))
        }
        Some(Fault::Truncated) => {
            let whole = state.daily(&call, LabelForm::Text);
            let half: String = whole.chars().take(whole.chars().count() / 2).collect();
            Ok(state.reject(json(half)))
        }
        Some(Fault::NoWholeDays) if call.api_name == "daily" && call.codes().is_empty() => Ok(state.refuse(
            40203,
            "抱歉，您没有接口访问权限，权限的具体详情访问：https://tushare.pro/document/1?doc_id=108。",
        )),
        Some(Fault::NoSeveralCodes) if call.codes().len() > 1 => Ok(state.refuse(-2001, "参数错误")),
        Some(Fault::NoWholeDays | Fault::NoSeveralCodes) => Ok(state.answer(&call, LabelForm::Text)),
        Some(Fault::OnlyFirstCode) => Ok(state.answer(&call.of_first_code(), LabelForm::Text)),
        Some(Fault::Refused(code, text)) => Ok(state.refuse(code, &text)),
        Some(Fault::Body(body)) => Ok(state.reject(json(body))),
        Some(Fault::Html) => Ok(state.reject(html(200, None))),
        Some(Fault::Status(status, retry_after)) => Ok(state.reject(html(status, retry_after))),
        Some(Fault::Down) => Err(state.reject(io::ErrorKind::ConnectionReset.into())),
        Some(Fault::Hang) => {
            let _cleared_or_stopped = clearings.changed().await;
            Err(state.reject(io::ErrorKind::ConnectionReset.into()))
        }
    }
}

impl State {
    fn count(&self, call: &Result<Call, serde_json::Error>, received: Received) {
        let mut counters = lock(&self.counters);
        counters.requests += 1;
        counters.last = received;
        if let Ok(call) = call {
            *counters.by_interface.entry(call.api_name.clone()).or_default() += 1;
        }
        if let Ok(call) = call
            && let [code] = call.codes().as_slice()
        {
            *counters.by_code.entry(code.clone()).or_default() += 1;
            counters.last_arrival.insert(code.clone(), Instant::now());
        }
    }

    fn reject<T>(&self, answer: T) -> T {
        lock(&self.counters).rejected += 1;
        answer
    }

    fn refuse(&self, code: i64, text: &str) -> Response<Full<Bytes>> {
        self.reject(json(refusal(code, text)))
    }

    fn answer(&self, call: &Call, form: LabelForm) -> Response<Full<Bytes>> {
        let token = call.token.as_deref().unwrap_or_default();
        if self.options.limited_token.as_deref() == Some(token) {
            return self.refuse(40203, &limit_text(Window::Minute, 500));
        }
        if token != self.options.token {
            return self.refuse(40101, BAD_TOKEN_TEXT);
        }
        if let Some(text) = self.exceeded_limit(&call.api_name) {
            return self.refuse(40203, &text);
        }
        if call.api_name == "daily" {
            return json(self.daily(call, form));
        }
        match tushare_other::answer_to(&lock(&self.data).0, call) {
            Ok(body) => json(body),
            Err((code, text)) => self.refuse(code, text),
        }
    }

    fn daily(&self, call: &Call, form: LabelForm) -> String {
        let mut data = lock(&self.data);
        let (dataset, answers) = &mut *data;
        answers.answer(dataset, call, form)
    }

    /// Counts a call of this interface. The vendor's text if a limit of the interface is exceeded.
    fn exceeded_limit(&self, interface: &str) -> Option<String> {
        let mut windows = lock(&self.windows);
        let limits = self.options.limits.iter().zip(windows.iter_mut());
        for (limit, (begun, calls)) in limits.filter(|(limit, _)| limit.interface == interface) {
            if begun.elapsed() >= limit.window.duration() {
                (*begun, *calls) = (Instant::now(), 0);
            }
            *calls = calls.saturating_add(1);
            if *calls > limit.calls {
                return Some(limit.text());
            }
        }
        None
    }
}

fn json(body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(CONTENT_TYPE, "application/json; charset=utf-8".parse().expect("a header value"));
    response
}
