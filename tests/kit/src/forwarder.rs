// Upstream: tests::it
// Downstream: own_thread
// Role: A second address of a server: forwards TCP connections unchanged, with a delay if wanted, and counts them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::own_thread::ServerThread;

/// Forwards one direction until one side closes its connection.
async fn forward(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, delay: Duration) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

/// A running forwarder. Dropping it stops it and closes its connections.
pub struct Forwarder {
    num_connections: Arc<AtomicU64>,
    server: ServerThread,
}

impl Forwarder {
    /// Listens on a free port and forwards connections to `target`, a `host:port`.
    pub fn to(target: String) -> Self {
        Self::delaying(target, Duration::ZERO)
    }

    /// Like [`Self::to`], but what a client sends arrives after `delay`: each of its statements takes at least so long.
    pub fn delaying(target: String, delay: Duration) -> Self {
        let num_connections = Arc::new(AtomicU64::new(0));
        let counter = num_connections.clone();
        let serve = async move |listener: TcpListener| {
            while let Ok((mut client, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let target = target.clone();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(target).await.expect("a connection to the server");
                    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
                    tokio::select! {
                        () = forward(from_client, to_server, delay) => {}
                        () = forward(from_server, to_client, Duration::ZERO) => {}
                    }
                });
            }
        };
        Self { num_connections, server: ServerThread::serve("forwarder", 0, serve).expect("a free port") }
    }

    /// The listening address.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Number of connections accepted.
    pub fn num_connections(&self) -> u64 {
        self.num_connections.load(Ordering::SeqCst)
    }
}
