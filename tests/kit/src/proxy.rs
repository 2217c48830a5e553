// Upstream: tests::it
// Downstream: own_thread
// Role: A TCP proxy in front of a real server; tests make it reset, stall, cut and refuse connections.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::own_thread::ServerThread;

/// A direction through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What clients send.
    ToServer,
    /// What the server sends.
    ToClient,
}

/// Connections that are to be closed in the middle of a stream.
#[derive(Debug, Clone, Copy)]
struct Cut {
    direction: Direction,
    /// The bytes that pass between two cuts, on all connections together.
    after: usize,
    /// The bytes that still pass before the next one.
    left: usize,
    /// The connections still to close.
    times: usize,
}

#[derive(Debug)]
struct State {
    target: String,
    cut: Mutex<Option<Cut>>,
    num_resets: watch::Sender<u64>,
    is_stalled: watch::Sender<bool>,
    is_refusing: watch::Sender<bool>,
    num_broken: AtomicU64,
}

/// A running proxy. Dropping it stops it and closes its connections.
pub struct Proxy {
    state: Arc<State>,
    server: ServerThread,
}

impl Proxy {
    /// Listens on a port (0 picks a free one) and forwards connections to `target`, a `host:port`.
    pub fn on(port: u16, target: &str) -> Self {
        let state = Arc::new(State {
            target: target.to_owned(),
            cut: Mutex::default(),
            num_resets: watch::Sender::new(0),
            is_stalled: watch::Sender::new(false),
            is_refusing: watch::Sender::new(false),
            num_broken: AtomicU64::new(0),
        });
        let of_thread = Arc::clone(&state);
        let serve = move |listener| accept(listener, of_thread);
        Self { state, server: ServerThread::serve("proxy", port, serve).unwrap_or_else(|e| panic!("port {port}: {e}")) }
    }

    /// The listening address.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Resets every connection: both sides get a RST, and what was under way is lost.
    pub fn reset(&self) {
        self.state.num_resets.send_modify(|count| *count += 1);
    }

    /// Forwards nothing while `is_stalled`: connections stay open, and new ones are accepted.
    pub fn stall(&self, is_stalled: bool) {
        self.state.is_stalled.send_replace(is_stalled);
    }

    /// Resets every new connection while `is_refusing`; the present ones are reset at once.
    pub fn refuse(&self, is_refusing: bool) {
        self.state.is_refusing.send_replace(is_refusing);
        if is_refusing {
            self.reset();
        }
    }

    /// Lets `after` more bytes pass in this direction, then closes the connection that has the next one in both
    /// directions; so `times` in all.
    pub fn cut(&self, direction: Direction, after: usize, times: usize) {
        *self.cut_state() = Some(Cut { direction, after, left: after, times });
    }

    /// Ends every fault.
    pub fn heal(&self) {
        *self.cut_state() = None;
        self.stall(false);
        self.refuse(false);
    }

    /// Number of connections that were reset, refused or cut.
    pub fn num_broken(&self) -> u64 {
        self.state.num_broken.load(Ordering::SeqCst)
    }

    fn cut_state(&self) -> std::sync::MutexGuard<'_, Option<Cut>> {
        self.state.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How many of these bytes may pass, and whether the connection is cut after them.
    fn allowed(&self, direction: Direction, bytes: usize) -> (usize, bool) {
        let mut current = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(cut) = current.as_mut().filter(|cut| cut.direction == direction && cut.times > 0) else {
            return (bytes, false);
        };
        if bytes <= cut.left {
            cut.left -= bytes;
            return (bytes, false);
        }
        let passed = std::mem::replace(&mut cut.left, cut.after);
        cut.times -= 1;
        self.count_broken();
        (passed, true)
    }

    fn count_broken(&self) {
        self.num_broken.fetch_add(1, Ordering::SeqCst);
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        if *state.is_refusing.borrow() {
            // Without this the client would see an orderly end.
            let _closed_already = client.set_zero_linger();
            state.count_broken();
            continue;
        }
        tokio::spawn(connect(client, Arc::clone(&state)));
    }
}

async fn connect(mut client: TcpStream, state: Arc<State>) {
    let mut resets = state.num_resets.subscribe();
    let Ok(mut server) = TcpStream::connect(&state.target).await else { return };
    let is_reset = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        tokio::select! {
            () = forward(from_client, to_server, Direction::ToServer, &state) => false,
            () = forward(from_server, to_client, Direction::ToClient, &state) => false,
            _proxy_dropped = resets.changed() => true,
        }
    };
    if is_reset {
        state.count_broken();
        for side in [&client, &server] {
            let _closed_already = side.set_zero_linger();
        }
    }
}

/// Forwards one direction until a side closes its connection or the connection is cut.
async fn forward(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, direction: Direction, state: &State) {
    let mut stalled = state.is_stalled.subscribe();
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let _proxy_dropped = stalled.wait_for(|stalled| !stalled).await.is_err();
        let (passed, is_cut) = state.allowed(direction, read);
        if to.write_all(&bytes[..passed]).await.is_err() || is_cut {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    /// A server that returns what it gets.
    fn echo() -> ServerThread {
        let serve = async |listener: TcpListener| {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = client.split();
                    let _ended = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        };
        ServerThread::serve("echo", 0, serve).unwrap()
    }

    fn client(proxy: &Proxy) -> TcpStream {
        let client = TcpStream::connect(proxy.address()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client
    }

    fn answer(client: &mut TcpStream, text: &[u8]) -> Result<Vec<u8>, ErrorKind> {
        client.write_all(text).map_err(|error| error.kind())?;
        let mut bytes = vec![0; text.len()];
        client.read_exact(&mut bytes).map_err(|error| error.kind())?;
        Ok(bytes)
    }

    #[test]
    fn connections_are_reset_refused_and_cut() {
        let server = echo();
        let proxy = Proxy::on(0, &server.address().to_string());
        let mut first = client(&proxy);
        assert_eq!(answer(&mut first, b"hello").unwrap(), b"hello");
        proxy.reset();
        assert_eq!(first.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);

        proxy.refuse(true);
        assert!(answer(&mut client(&proxy), b"hello").is_err());
        proxy.refuse(false);

        proxy.cut(Direction::ToClient, 7, 1);
        let mut second = client(&proxy);
        assert_eq!(answer(&mut second, b"hello").unwrap(), b"hello");
        second.write_all(b"again").unwrap();
        let mut rest = Vec::new();
        second.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"ag", "the eighth byte does not pass");
        assert_eq!(answer(&mut client(&proxy), b"a long text").unwrap(), b"a long text", "one cut alone");
        assert_eq!(proxy.num_broken(), 3);
    }

    #[test]
    fn a_stalled_connection_goes_on_afterwards() {
        let server = echo();
        let proxy = Proxy::on(0, &server.address().to_string());
        let mut client = client(&proxy);
        proxy.stall(true);
        client.write_all(b"hello").unwrap();
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert!(client.read(&mut [0; 8]).is_err(), "nothing arrives");
        proxy.stall(false);
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut bytes = [0; 5];
        client.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"hello");
    }
}
