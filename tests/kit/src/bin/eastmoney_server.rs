// Upstream: operator
// Downstream: kit::eastmoney_server, kit::tushare_data
// Role: The EastMoney server as a program, for the vendor's own client and for trials by hand.

//! `eastmoney_server --port 8002 --codes 3 --days 58 --last-day 2024-03-29 --page-size 2`.

use std::collections::HashMap;

use kit::eastmoney_server::{EastMoneyServer, Options};
use kit::tushare_data::{Dataset, codes, last_trading_days};

const USAGE: &str = "usage: eastmoney_server [--port N] [--codes N] [--days N] [--last-day YYYY-MM-DD] [--page-size N]";

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
    let dataset =
        Dataset::generated(&codes(number("--codes", 3)?), &last_trading_days(last_day, number("--days", 58)?));
    let port = u16::try_from(number("--port", 8_002)?)?;
    let options = Options { port, page_size: number("--page-size", 100)?, ..Options::default() };
    let server = EastMoneyServer::start_with(dataset, options)?;
    println!("{}", server.url());
    loop {
        std::thread::park();
    }
}
