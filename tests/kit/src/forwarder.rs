// Upstream: tests::it
// Downstream: own_thread
// Role: Another address of a server: hands connections on to it, byte by byte, and counts them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::own_thread::OwnThread;

/// A running forwarder; it ends when it is dropped, and its connections with it.
pub struct Forwarder {
    num_connections: Arc<AtomicU64>,
    server: OwnThread,
}

impl Forwarder {
    /// Listens on a free port for connections to `host:port`.
    pub fn to(target: String) -> Self {
        let num_connections = Arc::new(AtomicU64::new(0));
        let counter = num_connections.clone();
        let serve = async move |listener: TcpListener| {
            while let Ok((mut client, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let target = target.clone();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(target).await.expect("the server");
                    // An error is a side that left.
                    let _ended = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        };
        Self { num_connections, server: OwnThread::serve("forwarder", 0, serve).expect("a free port") }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Connections that came in.
    pub fn num_connections(&self) -> u64 {
        self.num_connections.load(Ordering::SeqCst)
    }
}
