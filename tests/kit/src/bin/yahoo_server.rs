// Upstream: operator
// Downstream: kit::tushare_data, kit::yahoo_server
// Role: The Yahoo server as a program, for the usual client of the vendor's and for trials by hand.

//! `yahoo_server --port 8003 --codes 3 --days 58 --last-day 2024-03-29`; `429.SS` always meets the rate limit.

use std::collections::HashMap;

use kit::tushare_data::{Dataset, codes, last_trading_days};
use kit::yahoo_server::YahooServer;

const USAGE: &str = "usage: yahoo_server [--port N] [--codes N] [--days N] [--last-day YYYY-MM-DD]";

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
    let server = YahooServer::start_at(dataset, u16::try_from(number("--port", 8_003)?)?)?;
    println!("{}", server.url());
    loop {
        std::thread::park();
    }
}
