// Upstream: many
// Downstream: none
// Role: Where the real servers are; a missing one fails the test with what to do.

use std::net::TcpListener;

/// The value of a variable that `tests/services/with_services.sh` sets.
pub fn required(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: the real servers are missing, run `make test`"))
}

/// Host and port of a `host:port` or `http://host:port` text.
pub fn host_and_port(address: &str) -> (String, u16) {
    let bare = address.split("://").last().unwrap_or(address);
    let bare = bare.split('/').next().unwrap_or(bare);
    let bare = bare.rsplit('@').next().unwrap_or(bare);
    let (host, port) = bare.rsplit_once(':').unwrap_or_else(|| panic!("no port in {address}"));
    (host.to_owned(), port.parse().unwrap_or_else(|_| panic!("no port in {address}")))
}

/// A port nobody listens on just now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// A name no other test of this or an earlier run has.
pub fn unique(name: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    format!("{name}_{}_{}", nanos % 1_000_000_000_000, COUNT.fetch_add(1, Ordering::Relaxed))
}
