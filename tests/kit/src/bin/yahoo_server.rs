// Upstream: operator
// Downstream: kit
// Role: The Yahoo server as a program, for the usual client of the vendor's and for trials by hand.

//! `yahoo_server --port 8003 --codes 3 --days 58 --last-day 2024-03-29`; `429.SS` always meets the rate limit.

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
