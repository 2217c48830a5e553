// Upstream: kit::bin::baostock_server, tests::it
// Downstream: own_thread, tdx_data, tushare_data
// Role: A local server that speaks TDX's protocol; tests set its data and inject faults.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::NaiveDate;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::own_thread::ServerThread;
use crate::tdx_data::TdxData;
pub use crate::tdx_data::{Event, TickRow, ticks};
use crate::tushare_data::{DailyRow, Dataset};

/// An injected fault. Except with [`Fault::Down`] and [`Fault::NoGreeting`], greetings get a correct answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Closes connections at once.
    Down,
    /// Answers nothing, not even a greeting.
    NoGreeting,
    /// Answers no request after the greeting.
    Hang,
    /// Closes the connection instead of answering.
    Close,
    /// Closes the connection after half of the answer.
    Half,
    /// Sends an HTTP error page.
    Html,
    /// Sends an answer with another request id.
    WrongId,
    /// Sends an answer with another message kind.
    WrongKind,
    /// Sends a truncated body with a matching length in the header.
    CutBody,
    /// Sends a body that announces this many records.
    Count(u16),
    /// Sends a compressed body of 8 MB whose header announces 1000 bytes.
    Bomb,
    /// Sends a compressed body that cannot be decompressed.
    BrokenZip,
    /// Sends each answer twice.
    Twice,
    /// Sends the first page of bars for every page.
    SamePage,
    /// Sends the correct header with an empty body.
    NoBody,
}

struct State {
    data: Mutex<TdxData>,
    fault: Mutex<Option<Fault>>,
    requests: Mutex<Vec<u16>>,
    connections: Mutex<u64>,
}

/// A running server; it stops when it is dropped.
pub struct TdxServer {
    state: Arc<State>,
    server: ServerThread,
}

impl TdxServer {
    /// Starts a server for `dataset` on a free port.
    pub fn start(dataset: Dataset) -> io::Result<Self> {
        Self::start_on(0, dataset)
    }

    /// Starts a server for `dataset`; it accepts connections when this returns.
    pub fn start_on(port: u16, dataset: Dataset) -> io::Result<Self> {
        let state = Arc::new(State {
            data: Mutex::new(TdxData { dataset, ..TdxData::default() }),
            fault: Mutex::default(),
            requests: Mutex::default(),
            connections: Mutex::default(),
        });
        let of_thread = Arc::clone(&state);
        let server = ServerThread::serve("tdx-server", port, move |listener| accept(listener, of_thread))?;
        Ok(Self { state, server })
    }

    /// The listening address, `host:port`.
    pub fn address(&self) -> String {
        self.server.address().to_string()
    }

    /// Sets a security's corporate events.
    pub fn set_events(&self, code: &str, events: Vec<Event>) {
        lock(&self.state.data).events.insert(code.to_owned(), events);
    }

    /// Limits the minute bars of each security to the newest `bars`.
    pub fn set_minute_depth(&self, bars: usize) {
        lock(&self.state.data).minute_depth = Some(bars);
    }

    /// Adds a bar of `day` to every security.
    pub fn append_day(&self, day: NaiveDate) {
        lock(&self.state.data).dataset.append_day(day);
    }

    /// A security's rows, oldest first.
    pub fn rows(&self, code: &str) -> Vec<DailyRow> {
        lock(&self.state.data).dataset.rows(code).to_vec()
    }

    /// Injects a fault into all requests; `None` clears it.
    pub fn set_fault(&self, fault: Option<Fault>) {
        *lock(&self.state.fault) = fault;
    }

    /// The kinds of the received requests, without greetings.
    pub fn requests(&self) -> Vec<u16> {
        lock(&self.state.requests).clone()
    }

    /// Number of connections accepted.
    pub fn connections(&self) -> u64 {
        *lock(&self.state.connections)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        *lock(&state.connections) += 1;
        if *lock(&state.fault) == Some(Fault::Down) {
            continue;
        }
        // An error means that the client left or that a fault closed the connection.
        tokio::spawn(serve(stream, Arc::clone(&state)));
    }
}

/// A received request.
struct Asked {
    /// The request id and the unknown byte after it; the answer repeats them.
    id: [u8; 4],
    kind: u16,
    payload: Vec<u8>,
}

async fn read(stream: &mut TcpStream) -> io::Result<Asked> {
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    let length = u16::from_le_bytes([head[6], head[7]]);
    if head[0] != 0x0c || head[6..8] != head[8..10] || length < 2 {
        return Err(io::Error::other(format!("not a request: {head:02x?}")));
    }
    let mut payload = vec![0; usize::from(length) - 2];
    stream.read_exact(&mut payload).await?;
    Ok(Asked { id: [head[1], head[2], head[3], head[4]], kind: u16::from_le_bytes([head[10], head[11]]), payload })
}

async fn serve(mut stream: TcpStream, state: Arc<State>) -> io::Result<()> {
    let _slower_at_worst = stream.set_nodelay(true);
    loop {
        let mut asked = read(&mut stream).await?;
        let is_greeting = matches!(asked.kind, 0x000d | 0x0fdb);
        if !is_greeting {
            lock(&state.requests).push(asked.kind);
        }
        let fault = (*lock(&state.fault)).filter(|fault| !is_greeting || *fault == Fault::NoGreeting);
        if fault == Some(Fault::SamePage) && asked.kind == 0x052d {
            asked.payload[12..14].fill(0);
        }
        let answer = lock(&state.data).answer(asked.kind, &asked.payload);
        let Some((body, is_packed)) = answer else { return Ok(()) };
        match fault {
            Some(Fault::Down | Fault::Close) => return Ok(()),
            Some(Fault::NoGreeting | Fault::Hang) => std::future::pending().await,
            Some(Fault::Half) => {
                let frame = frame(&asked, &body, false);
                stream.write_all(&frame[..16 + body.len() / 2]).await?;
                return Ok(());
            }
            Some(Fault::Twice) => {
                let frame = frame(&asked, &body, is_packed);
                stream.write_all(&[&frame[..], &frame].concat()).await?;
            }
            Some(fault) => stream.write_all(&faulty(&asked, body, fault)).await?,
            None => stream.write_all(&frame(&asked, &body, is_packed)).await?,
        }
    }
}

fn faulty(asked: &Asked, mut body: Vec<u8>, fault: Fault) -> Vec<u8> {
    let whole = |body: &[u8]| frame(asked, body, false);
    match fault {
        Fault::Html => b"HTTP/1.1 400 Bad Request\r\n\r\n<html><body>nginx</body></html>".to_vec(),
        Fault::WrongId => frame(&Asked { id: [9; 4], payload: Vec::new(), ..*asked }, &body, false),
        Fault::WrongKind => frame(&Asked { kind: 0x0777, payload: Vec::new(), ..*asked }, &body, false),
        Fault::CutBody => whole(&body[..body.len() - 3]),
        Fault::NoBody => whole(&[]),
        Fault::Count(count) => {
            body[..2].copy_from_slice(&count.to_le_bytes());
            whole(&body)
        }
        Fault::Bomb => packed_frame(asked, &packed(&vec![0; 8 << 20]), 1_000),
        Fault::BrokenZip => packed_frame(asked, &[0x78, 0x9c, 1, 2, 3, 4], 1_000),
        _ => whole(&body),
    }
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("a Vec accepts every write")
}

/// Equal lengths in the header mark a plain body, so a body whose length compression does not change is sent plain.
fn frame(asked: &Asked, body: &[u8], is_packed: bool) -> Vec<u8> {
    let sent = if is_packed { packed(body) } else { body.to_vec() };
    if is_packed && sent.len() != body.len() {
        return packed_frame(asked, &sent, body.len() as u16);
    }
    [&header(asked, 0x0c, body.len() as u16, body.len() as u16)[..], body].concat()
}

fn packed_frame(asked: &Asked, sent: &[u8], plain: u16) -> Vec<u8> {
    [&header(asked, 0x1c, sent.len() as u16, plain)[..], sent].concat()
}

fn header(asked: &Asked, mark: u8, sent: u16, plain: u16) -> Vec<u8> {
    let (kind, sent, plain) = (asked.kind.to_le_bytes(), sent.to_le_bytes(), plain.to_le_bytes());
    [&[0xb1, 0xcb, 0x74, 0x00, mark][..], &asked.id, &[0], &kind, &sent, &plain].concat()
}
