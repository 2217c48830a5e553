// Upstream: operator
// Downstream: kit
// Role: Runs the EastMoney server as a program, for the vendor's own client and for manual tests.

//! `eastmoney_server --port 8002 --codes 3 --days 58 --last-day 2024-03-29 --page-size 2`.

use kit::arguments::Arguments;
use kit::eastmoney_server::{EastMoneyServer, Options};

const USAGE: &str = "usage: eastmoney_server [--port N] [--codes N] [--days N] [--last-day YYYY-MM-DD] [--page-size N]";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given = Arguments::of_process(USAGE)?;
    let dataset = given.dataset()?;
    let port = given.or("--port", 8_002)?;
    let options = Options { port, page_size: given.or("--page-size", 100)?, ..Options::default() };
    let server = EastMoneyServer::start_with(dataset, options)?;
    println!("{}", server.url());
    loop {
        std::thread::park();
    }
}
