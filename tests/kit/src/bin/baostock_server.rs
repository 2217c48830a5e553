// Upstream: operator
// Downstream: kit::baostock_server, kit::tushare_data
// Role: The BaoStock server as a program, for the vendor's own client and for trials by hand.

//! `baostock_server --port 10030 --codes 3 --days 58 --last-day 2024-03-29`; `--page-rows N` sets the size of its pages.

use std::collections::HashMap;

use kit::baostock_server::{BaoStockServer, Options};
use kit::tushare_data::{Dataset, codes, last_trading_days};

const USAGE: &str = "usage: baostock_server [--port N] [--codes N] [--days N] [--last-day YYYY-MM-DD] [--page-rows N]";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given: HashMap<&str, &str> = arguments
        .chunks(2)
        .map(|pair| match pair {
            [name, value] if name.starts_with("--") => Ok((name.as_str(), value.as_str())),
            _ => Err(USAGE),
        })
        .collect::<Result<_, _>>()?;
    let number = |name: &str, default: usize| given.get(name).map_or(Ok(default), |value| value.parse());
    let last_day = given.get("--last-day").copied().unwrap_or("2024-03-29").parse()?;
    let days = last_trading_days(last_day, number("--days", 58)?);
    let dataset = Dataset::generated(&codes(number("--codes", 3)?), &days);
    let page_rows = given.get("--page-rows").map(|value| value.parse()).transpose()?;
    let options = Options { port: u16::try_from(number("--port", 10_030)?)?, page_rows, ..Options::default() };
    let server = BaoStockServer::start_with(dataset, options)?;
    println!("{}", server.address());
    loop {
        std::thread::park();
    }
}
