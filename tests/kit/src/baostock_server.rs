// Upstream: kit::bin::baostock_server, tests::it
// Downstream: baostock_data, fault, own_thread, tushare_data
// Role: A local server that speaks BaoStock's protocol; tests set its data and inject faults.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};

use crate::baostock_data::{self, Found};
use crate::fault::{FaultDuration, Faults};
use crate::own_thread::ServerThread;
use crate::tushare_data::{DailyRow, Dataset};

const SEPARATOR: &str = "\u{1}";

/// Fixed options of a server.
#[derive(Debug, Clone)]
pub struct Options {
    /// The port to listen on; 0 picks a free one.
    pub port: u16,
    /// The accepted user name.
    pub user: String,
    /// The accepted password.
    pub password: String,
    /// Rows per page; `None` uses the page size that the client asks for.
    pub page_rows: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self { port: 0, user: "anonymous".to_owned(), password: "123456".to_owned(), page_rows: None }
    }
}

/// An injected fault. It applies to queries unless its comment names logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Closes connections without an answer, also at login.
    Down,
    /// Sends no answer until the fault is cleared, also at login.
    Hang,
    /// Sends the correct answer after a delay.
    Slow(Duration),
    /// Sends the vendor's error message with this code and text.
    Refused(String, String),
    /// Refuses the login with this code and text.
    LoginRefused(String, String),
    /// Sends half of the correct answer, then closes the connection.
    Truncated,
    /// Sends these bytes instead of the answer and keeps the connection open.
    Raw(Vec<u8>),
    /// Sends a correct frame with this text instead of the rows' JSON.
    Json(String),
    /// Sends the rows of the first page for every page.
    FirstPageAlways,
    /// Sends bytes without end.
    Endless,
    /// Refuses the query for all shares of a day; answers everything else.
    NoWholeDays,
}

#[derive(Default)]
struct Counters {
    requests: AtomicU64,
    logins: AtomicU64,
    connections: AtomicU64,
    /// Sessions of an earlier generation have expired.
    generation: AtomicU64,
}

struct State {
    options: Options,
    data: Mutex<Dataset>,
    faults: Faults<Fault>,
    counters: Counters,
}

/// A running server; it stops when it is dropped.
pub struct BaoStockServer {
    state: Arc<State>,
    server: ServerThread,
}

impl BaoStockServer {
    /// Starts a server for `dataset` on a free port.
    pub fn start(dataset: Dataset) -> io::Result<Self> {
        Self::start_with(dataset, Options::default())
    }

    /// Starts a server for `dataset`; it accepts connections when this returns.
    pub fn start_with(dataset: Dataset, options: Options) -> io::Result<Self> {
        let port = options.port;
        let (data, faults, counters) = (Mutex::new(dataset), Faults::default(), Counters::default());
        let state = Arc::new(State { options, data, faults, counters });
        let of_thread = Arc::clone(&state);
        let server = ServerThread::serve("baostock-server", port, move |listener| accept(listener, of_thread))?;
        Ok(Self { state, server })
    }

    /// The listening address, `host:port`.
    pub fn address(&self) -> String {
        self.server.address().to_string()
    }

    /// Injects a fault into the next requests.
    pub fn set_fault(&self, fault: Fault, lasting: FaultDuration) {
        self.state.faults.set(fault, lasting);
    }

    /// Clears the fault; hanging requests are closed.
    pub fn clear_fault(&self) {
        self.state.faults.clear();
    }

    /// Expires all sessions: their next query gets the error "you don't login.".
    pub fn end_sessions(&self) {
        self.state.counters.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Replaces a security's rows while the server runs. A volume of `0` marks a suspended day.
    pub fn set_rows(&self, code: &str, rows: Vec<DailyRow>) {
        self.lock().set_rows(code, rows);
    }

    /// Sets a security's adjustment factor from `day` on.
    pub fn set_factor(&self, code: &str, day: chrono::NaiveDate, factor: f64) {
        self.lock().set_factor(code, day, factor);
    }

    /// Adds a bar of `day` to every security.
    pub fn append_day(&self, day: chrono::NaiveDate) {
        self.lock().append_day(day);
    }

    /// A security's rows, oldest first.
    pub fn rows(&self, code: &str) -> Vec<DailyRow> {
        self.lock().rows(code).to_vec()
    }

    /// Number of queries received.
    pub fn requests(&self) -> u64 {
        self.state.counters.requests.load(Ordering::SeqCst)
    }

    /// Number of logins received.
    pub fn logins(&self) -> u64 {
        self.state.counters.logins.load(Ordering::SeqCst)
    }

    /// Number of connections accepted.
    pub fn connections(&self) -> u64 {
        self.state.counters.connections.load(Ordering::SeqCst)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Dataset> {
        self.state.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An uncompressed message; its length field counts characters.
pub fn plain_message(kind: &str, body: &str) -> Vec<u8> {
    let text = format!("00.9.00{SEPARATOR}{kind}{SEPARATOR}{:010}{body}", body.chars().count());
    format!("{text}{SEPARATOR}{}<![CDATA[]]>\n", crc32fast::hash(text.as_bytes())).into_bytes()
}

/// A compressed message; its length field counts bytes.
pub fn compressed_message(kind: &str, body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("a Vec accepts every write");
    let body = encoder.finish().expect("a Vec accepts every write");
    let mut bytes = format!("00.9.00{SEPARATOR}{kind}{SEPARATOR}{:010}", body.len()).into_bytes();
    bytes.extend_from_slice(&body);
    // The vendor's own checksum matches neither the compressed nor the plain body.
    bytes.extend_from_slice(format!("{SEPARATOR}{}\n<![CDATA[]]>\n", crc32fast::hash(&body)).as_bytes());
    bytes
}

fn message(kind: &str, fields: &[&str]) -> Vec<u8> {
    let body = fields.join(SEPARATOR);
    if matches!(kind, "96" | "99") { compressed_message(kind, body.as_bytes()) } else { plain_message(kind, &body) }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        state.counters.connections.fetch_add(1, Ordering::SeqCst);
        let _slower_at_worst = stream.set_nodelay(true);
        let state = Arc::clone(&state);
        // An error means that the client left or that a fault closed the connection.
        tokio::spawn(async move {
            let _closed = serve(stream, &state).await;
        });
    }
}

async fn serve(stream: TcpStream, state: &State) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut session = None;
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line);
        let Some((kind, body)) = request(text.trim_end_matches('\n')) else {
            writer.write_all(&message("04", &["10004019", "消息格式不正确"])).await?;
            continue;
        };
        let fields: Vec<&str> = body.split(SEPARATOR).collect();
        let generation = state.counters.generation.load(Ordering::SeqCst);
        match kind {
            "00" => {
                let answer = state.log_in(&fields).await?;
                session = answer.is_ok().then_some(generation);
                let (Ok(bytes) | Err(bytes)) = answer;
                writer.write_all(&bytes).await?;
            }
            "02" => return writer.write_all(&message("03", &["0", "success", "logout", fields[1], "20240102"])).await,
            _ if session != Some(generation) => {
                writer.write_all(&message("04", &["10001001", "you don't login.", fields[0], ""])).await?;
            }
            _ => state.answer(kind, &fields, &mut writer).await?,
        }
    }
}

/// Kind and body of a request; `None` if its length or checksum is wrong.
fn request(text: &str) -> Option<(&str, &str)> {
    let (message, crc) = text.rsplit_once(SEPARATOR)?;
    let (header, body) = message.split_at_checked(21)?;
    let mut fields = header.split(SEPARATOR);
    let (_version, kind, length) = (fields.next()?, fields.next()?, fields.next()?);
    let is_right = length.parse() == Ok(body.chars().count()) && crc.parse() == Ok(crc32fast::hash(message.as_bytes()));
    is_right.then_some((kind, body))
}

impl State {
    /// The answer to a login: `Ok` if it is accepted, `Err` if not. Takes a fault only if it applies to logins.
    async fn log_in(&self, fields: &[&str]) -> io::Result<Result<Vec<u8>, Vec<u8>>> {
        self.counters.logins.fetch_add(1, Ordering::SeqCst);
        let mut clearings = self.faults.clearings();
        match self.faults.take_if(|fault| matches!(fault, Fault::Down | Fault::Hang | Fault::LoginRefused(..))) {
            Some(Fault::LoginRefused(code, text)) => return Ok(Err(message("01", &[&code, &text]))),
            Some(Fault::Hang) => {
                let _cleared_or_stopped = clearings.changed().await;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            Some(_) => return Err(io::ErrorKind::ConnectionReset.into()),
            None => {}
        }
        match fields {
            ["login", user, password, _options] if *user == self.options.user && *password == self.options.password => {
                Ok(Ok(message("01", &["0", "success", "login", user, "20240102093000000"])))
            }
            _ => Ok(Err(message("01", &["10001002", "用户名或密码错误"]))),
        }
    }

    async fn answer(&self, kind: &str, fields: &[&str], writer: &mut OwnedWriteHalf) -> io::Result<()> {
        self.counters.requests.fetch_add(1, Ordering::SeqCst);
        let mut clearings = self.faults.clearings();
        let fault = self.faults.take_if(|fault| match fault {
            Fault::LoginRefused(..) => false,
            Fault::NoWholeDays => kind == "98",
            _ => true,
        });
        match fault {
            Some(Fault::Down) => Err(io::ErrorKind::ConnectionReset.into()),
            Some(Fault::Hang) => {
                let _cleared_or_stopped = clearings.changed().await;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Some(Fault::Refused(code, text)) => writer.write_all(&message("04", &[&code, &text, fields[0]])).await,
            Some(Fault::NoWholeDays) => writer.write_all(&message("99", &["10004020", "错误的消息类型"])).await,
            Some(Fault::Raw(bytes)) => writer.write_all(&bytes).await,
            Some(Fault::Endless) => {
                writer.write_all(b"00.9.00\x0196\x010000000010").await?;
                loop {
                    writer.write_all(&[b'7'; 1 << 16]).await?;
                }
            }
            Some(Fault::Truncated) => {
                let whole = self.right_answer(kind, fields, None, false);
                writer.write_all(&whole[..whole.len() / 2]).await?;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Some(Fault::Json(json)) => writer.write_all(&self.right_answer(kind, fields, Some(json), false)).await,
            Some(Fault::FirstPageAlways) => writer.write_all(&self.right_answer(kind, fields, None, true)).await,
            Some(Fault::Slow(delay)) => {
                tokio::time::sleep(delay).await;
                writer.write_all(&self.right_answer(kind, fields, None, false)).await
            }
            Some(Fault::LoginRefused(..)) | None => {
                writer.write_all(&self.right_answer(kind, fields, None, false)).await
            }
        }
    }

    fn right_answer(&self, kind: &str, fields: &[&str], json: Option<String>, first_page: bool) -> Vec<u8> {
        let is_paged = kind != "98";
        let (head, params) = fields.split_at(if is_paged { 4 } else { 2 }.min(fields.len()));
        let found = baostock_data::answer(&self.data.lock().unwrap_or_else(PoisonError::into_inner), kind, params);
        let answer_kind = match kind {
            "95" => "96",
            "98" => "99",
            "33" => "34",
            "35" => "36",
            "15" => "16",
            "45" => "46",
            _ => "04",
        };
        let Found { columns, rows } = match found {
            Ok(found) => found,
            Err((code, text)) => return message(answer_kind, &[code, text]),
        };
        let number = |at: usize| head.get(at).and_then(|text| text.parse::<usize>().ok()).unwrap_or(1).max(1);
        let (page, size) =
            if is_paged { (number(2), self.options.page_rows.unwrap_or(number(3))) } else { (1, 20_000) };
        let page = if first_page { 1 } else { page };
        let rows: Vec<&Vec<String>> = rows.iter().skip((page - 1) * size).take(size).collect();
        let records = if rows.is_empty() { String::new() } else { serde_json::json!({"record": rows}).to_string() };
        let json = json.unwrap_or(records);
        let mut fields = vec!["0", "success"];
        fields.extend(head);
        fields.push(&json);
        match kind {
            // The parameters already contain the columns.
            "95" => fields.extend(params),
            "98" => fields.push(&columns),
            _ => {
                fields.extend(params);
                fields.push(&columns);
            }
        }
        message(answer_kind, &fields)
    }
}
