// Upstream: kit::bin::baostock_server, scene, tests::it
// Downstream: fault, http_serving, own_thread, tushare_data, tushare_other, tushare_protocol
// Role: A server that speaks Tushare's protocol on a free local port, with data and faults a test sets.

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

use crate::fault::Faults;
pub use crate::fault::Lasting;
use crate::http_serving::{html, serve_connection};
use crate::own_thread::OwnThread;
pub use crate::tushare_data::{DailyRow, Dataset, codes, last_trading_days, trading_days};
use crate::tushare_other;
pub use crate::tushare_protocol::LabelForm;
use crate::tushare_protocol::{BAD_TOKEN_TEXT, Call, DailyAnswers, minute_limit_text, refusal};

/// How a server behaves all the time.
#[derive(Debug, Clone)]
pub struct Options {
    /// 0: a free one.
    pub port: u16,
    /// The one token that is accepted.
    pub token: String,
    /// A token that always meets the rate limit.
    pub limited_token: Option<String>,
    /// Calls it answers in a minute; further ones are refused with the vendor's text until the minute is over.
    pub calls_per_minute: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            token: TushareServer::TOKEN.to_owned(),
            limited_token: Some("tok-limited".to_owned()),
            calls_per_minute: None,
        }
    }
}

/// What a server does wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Connections are closed without an answer.
    Down,
    /// An HTTP status, with a page of text and perhaps a `Retry-After` in seconds.
    Status(u16, Option<u64>),
    /// A refusal in the vendor's way: HTTP 200 with a code and a text.
    Refused(i64, String),
    /// Right answers, but late.
    Slow(Duration),
    /// HTTP 200 with a page of HTML.
    Html,
    /// Half of the right answer, as if that were all.
    Truncated,
    /// Right answers whose days are written in another way.
    Labels(LabelForm),
    /// HTTP 200 with this body.
    Body(String),
    /// No answer at all until the fault is cleared; then the connection is closed.
    Hang,
}

impl Fault {
    /// The vendor's rate limit by the minute.
    pub fn rate_limited() -> Self {
        Self::Refused(40203, minute_limit_text(500))
    }
}

/// The last call as it came in.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// The path of its address.
    pub path: String,
    /// The header `User-Agent`.
    pub user_agent: String,
    /// Its body.
    pub body: String,
}

#[derive(Debug, Default)]
struct Counters {
    requests: u64,
    rejected: u64,
    by_code: HashMap<String, u64>,
    last_arrival: HashMap<String, Instant>,
    last: Received,
}

struct State {
    options: Options,
    data: Mutex<(Dataset, DailyAnswers)>,
    faults: Faults<Fault>,
    counters: Mutex<Counters>,
    minute: Mutex<(Instant, u32)>,
}

/// A running server; it ends when it is dropped.
pub struct TushareServer {
    state: Arc<State>,
    server: OwnThread,
}

impl TushareServer {
    /// The token the server accepts unless told otherwise.
    pub const TOKEN: &str = "tok-ok";

    /// A server for `dataset` on a free port.
    pub fn start(dataset: Dataset) -> io::Result<Self> {
        Self::start_with(dataset, Options::default())
    }

    /// A server for `dataset`; it listens when this returns.
    pub fn start_with(dataset: Dataset, options: Options) -> io::Result<Self> {
        let port = options.port;
        let state = Arc::new(State {
            options,
            data: Mutex::new((dataset, DailyAnswers::default())),
            faults: Faults::default(),
            counters: Mutex::default(),
            minute: Mutex::new((Instant::now(), 0)),
        });
        let of_thread = Arc::clone(&state);
        let server = OwnThread::serve("tushare-server", port, move |listener| accept(listener, of_thread))?;
        Ok(Self { state, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The base address in the form of the vendor's client.
    pub fn url(&self) -> String {
        format!("http://{}/dataapi", self.server.address())
    }

    /// The base address in the documented form.
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

    /// From `day` on a security's adjustment factor is this one.
    pub fn set_factor(&self, code: &str, day: NaiveDate, factor: f64) {
        lock(&self.state.data).0.set_factor(code, day, factor);
    }

    /// On this day a security was suspended: see [`Dataset::suspend`].
    pub fn suspend(&self, code: &str, day: NaiveDate, timing: &str) {
        lock(&self.state.data).0.suspend(code, day, timing);
    }

    /// A security's rows, oldest first.
    pub fn rows(&self, code: &str) -> Vec<DailyRow> {
        lock(&self.state.data).0.rows(code).to_vec()
    }

    /// From now on requests meet this fault.
    pub fn set_fault(&self, fault: Fault, lasting: Lasting) {
        self.state.faults.set(fault, lasting);
    }

    /// Right answers again; hanging requests are cut off.
    pub fn clear_fault(&self) {
        self.state.faults.clear();
    }

    /// Requests that came in.
    pub fn requests(&self) -> u64 {
        lock(&self.state.counters).requests
    }

    /// Requests for one security alone.
    pub fn requests_of(&self, code: &str) -> u64 {
        lock(&self.state.counters).by_code.get(code).copied().unwrap_or(0)
    }

    /// When the last request for one security alone came in.
    pub fn last_arrival(&self, code: &str) -> Option<Instant> {
        lock(&self.state.counters).last_arrival.get(code).copied()
    }

    /// Requests that got no rows, because of a fault, the token or the limit.
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
            // Counted as rejected: the client meant to send a request.
            state.reject(());
            continue;
        }
        let state = Arc::clone(&state);
        serve_connection(stream, move |request| serve(Arc::clone(&state), request));
    }
}

/// An error closes the connection without an answer.
async fn serve(state: Arc<State>, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    // From here on, so that no clearing falls between looking at the fault and waiting.
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
            return self.refuse(40203, &minute_limit_text(500));
        }
        if token != self.options.token {
            return self.refuse(40101, BAD_TOKEN_TEXT);
        }
        if let Some(calls) = self.options.calls_per_minute
            && !self.within_limit(calls)
        {
            return self.refuse(40203, &minute_limit_text(calls));
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

    fn within_limit(&self, calls: u32) -> bool {
        let mut minute = lock(&self.minute);
        if minute.0.elapsed() >= Duration::from_secs(60) {
            *minute = (Instant::now(), 0);
        }
        minute.1 = minute.1.saturating_add(1);
        minute.1 <= calls
    }
}

fn json(body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(CONTENT_TYPE, "application/json; charset=utf-8".parse().expect("a header value"));
    response
}
