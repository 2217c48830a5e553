// Upstream: tests::it
// Downstream: own_thread
// Role: A second address of a server: forwards TCP connections unchanged and counts them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::own_thread::ServerThread;

/// A running forwarder. Dropping it stops it and closes its connections.
pub struct Forwarder {
    num_connections: Arc<AtomicU64>,
    server: ServerThread,
}

impl Forwarder {
    /// Listens on a free port and forwards connections to `target`, a `host:port`.
    pub fn to(target: String) -> Self {
        let num_connections = Arc::new(AtomicU64::new(0));
        let counter = num_connections.clone();
        let serve = async move |listener: TcpListener| {
            while let Ok((mut client, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let target = target.clone();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(target).await.expect("a connection to the server");
                    // An error means that one side closed its connection.
                    let _ended = copy_bidirectional(&mut client, &mut server).await;
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
