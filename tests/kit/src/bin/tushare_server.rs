// Upstream: operator
// Downstream: kit::tushare_data, kit::tushare_server
// Role: The Tushare server as a program, for the vendor's own client and for trials by hand.

//! `tushare_server --port 8001 --codes 3 --days 58 --last-day 2024-03-29`: the token is `tok-ok`; `tok-limited` always meets the
//! limit; `--calls-per-minute N` sets a limit for all.

use std::collections::HashMap;

use kit::tushare_server::{Dataset, Options, TushareServer, codes, last_trading_days};

const USAGE: &str =
    "usage: tushare_server [--port N] [--codes N] [--days N] [--last-day YYYY-MM-DD] [--calls-per-minute N]";

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
    let calls_per_minute = given.get("--calls-per-minute").map(|value| value.parse()).transpose()?;
    let dataset =
        Dataset::generated(&codes(number("--codes", 3)?), &last_trading_days(last_day, number("--days", 58)?));
    let options = Options { port: u16::try_from(number("--port", 8001)?)?, calls_per_minute, ..Options::default() };
    let server = TushareServer::start_with(dataset, options)?;
    println!("{}", server.url());
    loop {
        std::thread::park();
    }
}
