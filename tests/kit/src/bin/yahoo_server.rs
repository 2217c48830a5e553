// Upstream: operator
// Downstream: kit
// Role: Runs the Yahoo server as a program, for the common Yahoo client and for manual tests.

//! `yahoo_server --port 8003 --codes 3 --days 58 --last-day 2024-03-29`; the symbol
//! `429.SS` always gets HTTP 429.

use kit::arguments::Arguments;
use kit::yahoo_server::YahooServer;

const USAGE: &str = "usage: yahoo_server [--port N] [--codes N] [--days N] [--last-day YYYY-MM-DD]";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given = Arguments::of_process(USAGE)?;
    let dataset = given.dataset()?;
    let server = YahooServer::start_at(dataset, given.or("--port", 8_003)?)?;
    println!("{}", server.url());
    loop {
        std::thread::park();
    }
}
