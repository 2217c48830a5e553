// Upstream: operator
// Downstream: kit
// Role: Runs the Tushare server as a program, for the vendor's own client and for manual tests.

//! `tushare_server --port 8001 --codes 3 --days 58 --last-day 2024-03-29`. It accepts the token `tok-ok`; the token
//! `tok-limited` always gets the rate-limit error. `--calls-per-minute N` limits the calls of
//! each interface with `tok-ok`.

use kit::arguments::Arguments;
use kit::tushare_server::{INTERFACES, InterfaceLimit, Options, TushareServer, Window};

const USAGE: &str =
    "usage: tushare_server [--port N] [--codes N] [--days N] [--last-day YYYY-MM-DD] [--calls-per-minute N]";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given = Arguments::of_process(USAGE)?;
    let calls: Option<u32> = given.get("--calls-per-minute")?;
    let minute = |interface| calls.map(|calls| InterfaceLimit::new(interface, Window::Minute, calls));
    let limits = INTERFACES.into_iter().filter_map(minute).collect();
    let dataset = given.dataset()?;
    let options = Options { port: given.or("--port", 8001)?, limits, ..Options::default() };
    let server = TushareServer::start_with(dataset, options)?;
    println!("{}", server.url());
    loop {
        std::thread::park();
    }
}
