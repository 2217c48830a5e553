// Upstream: operator
// Downstream: kit
// Role: Runs the BaoStock server as a program, for the vendor's own client and for manual tests.

//! `baostock_server --port 10030 --codes 3 --days 58 --last-day 2024-03-29`; `--page-rows N` sets the page size.

use kit::arguments::Arguments;
use kit::baostock_server::{BaoStockServer, Options};

const USAGE: &str = "usage: baostock_server [--port N] [--codes N] [--days N] [--last-day YYYY-MM-DD] [--page-rows N]";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given = Arguments::of_process(USAGE)?;
    let dataset = given.dataset()?;
    let page_rows = given.get("--page-rows")?;
    let options = Options { port: given.or("--port", 10_030)?, page_rows, ..Options::default() };
    let server = BaoStockServer::start_with(dataset, options)?;
    println!("{}", server.address());
    loop {
        std::thread::park();
    }
}
