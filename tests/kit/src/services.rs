// Upstream: many
// Downstream: none
// Role: Addresses of the real servers; a missing one fails the test with a hint.

use std::net::TcpListener;

/// The value of a variable that `tests/services/with_services.sh` sets.
pub fn required(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: `make test` starts the real servers and sets it"))
}

/// Host and port of `host:port` or of a URL.
pub fn host_and_port(address: &str) -> (String, u16) {
    let bare = address.split("://").last().unwrap_or(address);
    let bare = bare.split('/').next().unwrap_or(bare);
    let bare = bare.rsplit('@').next().unwrap_or(bare);
    let (host, port) = bare.rsplit_once(':').unwrap_or_else(|| panic!("no port in {address}"));
    (host.to_owned(), port.parse().unwrap_or_else(|_| panic!("no port in {address}")))
}

/// A port that is currently free.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its local address").port()
}

/// Ports that are free, all different, and given to no other test of this process. They are below the range for
/// outgoing connections, so that a server finds its port again after a restart.
pub fn reserved_ports<const N: usize>() -> [u16; N] {
    use std::sync::atomic::{AtomicU32, Ordering};
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 10_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(97);
    std::array::from_fn(|_| {
        let candidate = || {
            let offset = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
            u16::try_from(FIRST + offset).expect("a port")
        };
        let mut candidates = std::iter::repeat_with(candidate).take(COUNT as usize);
        candidates.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
    })
}

/// A name that no other test of this or an earlier run uses.
pub fn unique(name: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    format!("{name}_{}_{}", nanos % 1_000_000_000_000, COUNT.fetch_add(1, Ordering::Relaxed))
}
