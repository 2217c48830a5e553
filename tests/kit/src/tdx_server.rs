// Upstream: kit::bin::baostock_server, tests::it
// Downstream: own_thread, tdx_data, tushare_data
// Role: A server that speaks TDX's protocol on a free local port, with data and faults a test sets.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::NaiveDate;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::own_thread::OwnThread;
use crate::tdx_data::TdxData;
pub use crate::tdx_data::{Event, TickRow, ticks};
use crate::tushare_data::{DailyRow, Dataset};

/// What a server does wrong. But for [`Fault::Down`] and [`Fault::Deaf`] the greeting is answered as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Connections are closed at once.
    Down,
    /// Nothing is ever answered, not even a greeting.
    Deaf,
    /// No answer.
    Hang,
    /// The connection is closed instead of an answer.
    Close,
    /// The connection is closed after half of the answer.
    Half,
    /// HTML.
    Html,
    /// The answer to another request.
    WrongId,
    /// The answer to another kind of request.
    WrongKind,
    /// The body ends early, and the header says so.
    CutBody,
    /// The body announces this many records.
    Count(u16),
    /// A packed body of 8 MB whose header says 1000 bytes.
    Bomb,
    /// A packed body that is none.
    BrokenZip,
    /// Each answer comes twice.
    Twice,
    /// The first page whatever was asked for.
    SamePage,
    /// The right answer without any body.
    NoBody,
}

struct State {
    data: Mutex<TdxData>,
    fault: Mutex<Option<Fault>>,
    requests: Mutex<Vec<u16>>,
    connections: Mutex<u64>,
}

/// A running server; it ends when it is dropped.
pub struct TdxServer {
    state: Arc<State>,
    server: OwnThread,
}

impl TdxServer {
    /// A server for `dataset` on a free port.
    pub fn start(dataset: Dataset) -> io::Result<Self> {
        Self::start_on(0, dataset)
    }

    /// A server for `dataset`; it listens when this returns.
    pub fn start_on(port: u16, dataset: Dataset) -> io::Result<Self> {
        let state = Arc::new(State {
            data: Mutex::new(TdxData { dataset, ..TdxData::default() }),
            fault: Mutex::default(),
            requests: Mutex::default(),
            connections: Mutex::default(),
        });
        let of_thread = Arc::clone(&state);
        let server = OwnThread::serve("tdx-server", port, move |listener| accept(listener, of_thread))?;
        Ok(Self { state, server })
    }

    /// Where it listens, `host:port`.
    pub fn address(&self) -> String {
        self.server.address().to_string()
    }

    /// Sets a security's events.
    pub fn set_events(&self, code: &str, events: Vec<Event>) {
        lock(&self.state.data).events.insert(code.to_owned(), events);
    }

    /// From now on only so many minute bars of a security are known.
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

    /// From now on requests meet this fault, or none.
    pub fn set_fault(&self, fault: Option<Fault>) {
        *lock(&self.state.fault) = fault;
    }

    /// The kinds of the requests that came in, greetings left out.
    pub fn requests(&self) -> Vec<u16> {
        lock(&self.state.requests).clone()
    }

    /// Connections that were made.
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
        // An error is a client that left, or a fault that closes the connection.
        tokio::spawn(serve(stream, Arc::clone(&state)));
    }
}

/// A request as it came in.
struct Asked {
    /// Echoed, with the unknown byte after it.
    id: [u8; 4],
    kind: u16,
    payload: Vec<u8>,
}

async fn read(stream: &mut TcpStream) -> io::Result<Asked> {
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    let length = u16::from_le_bytes([head[6], head[7]]);
    if head[0] != 0x0c || head[6..8] != head[8..10] || length < 2 {
        return Err(io::Error::other(format!("no request: {head:02x?}")));
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
        let fault = (*lock(&state.fault)).filter(|fault| !is_greeting || *fault == Fault::Deaf);
        if fault == Some(Fault::SamePage) && asked.kind == 0x052d {
            asked.payload[12..14].fill(0);
        }
        let answer = lock(&state.data).answer(asked.kind, &asked.payload);
        let Some((body, is_packed)) = answer else { return Ok(()) };
        match fault {
            Some(Fault::Down | Fault::Close) => return Ok(()),
            Some(Fault::Deaf | Fault::Hang) => std::future::pending().await,
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
    encoder.write_all(body).and_then(|()| encoder.finish()).expect("a vector takes all")
}

/// Equal lengths mean a plain body, so a body that does not change its length is sent as it is.
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
