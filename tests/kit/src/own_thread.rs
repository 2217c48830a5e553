// Upstream: baostock_server, eastmoney_server, forwarder, tdx_server, tushare_server, yahoo_server
// Downstream: none
// Role: Serves on a thread and runtime of its own until the handle is dropped, so that it always answers.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A server under way; it ends when it is dropped.
pub struct OwnThread {
    address: SocketAddr,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl OwnThread {
    /// Listens on this port of the loopback address, 0 for a free one, and hands the listener to `serve` on the new thread. It
    /// listens when this returns.
    pub fn serve<F>(name: &str, port: u16, serve: impl FnOnce(TcpListener) -> F + Send + 'static) -> io::Result<Self>
    where
        F: Future<Output = ()>,
    {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener set to non-blocking");
                tokio::select! {
                    _handle_dropped = stopped => {}
                    () = serve(listener) => {}
                }
            });
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for OwnThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}
