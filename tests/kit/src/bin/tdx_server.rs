// Upstream: operator
// Downstream: kit
// Role: Runs the TDX server as a program, for the vendor's own clients and for manual tests.

//! `tdx_server --port 7709 --codes 3 --days 58 --last-day 2024-03-29`; every security has an ex-right event on
//! 1 March 2024.

use kit::arguments::Arguments;
use kit::tdx_server::TdxServer;

const USAGE: &str = "usage: tdx_server [--port N] [--codes N] [--days N] [--last-day YYYY-MM-DD]";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given = Arguments::of_process(USAGE)?;
    let dataset = given.dataset()?;
    let server = TdxServer::start_on(given.or("--port", 7_709)?, dataset)?;
    for code in &given.codes()? {
        server.set_events(code, vec![("2024-03-01".parse()?, 1, [3.0, 0.0, 0.0, 0.0])]);
    }
    println!("{}", server.address());
    loop {
        std::thread::park();
    }
}
