// Upstream: operator
// Downstream: kit::tdx_server, kit::tushare_data
// Role: The TDX server as a program, for the vendor's own clients and for trials by hand.

//! `tdx_server --port 7709 --codes 3 --days 58 --last-day 2024-03-29`: every security has an event on 1 March 2024.

use std::collections::HashMap;

use kit::tdx_server::TdxServer;
use kit::tushare_data::{Dataset, codes, last_trading_days};

const USAGE: &str = "usage: tdx_server [--port N] [--codes N] [--days N] [--last-day YYYY-MM-DD]";

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
    let codes = codes(number("--codes", 3)?);
    let dataset = Dataset::generated(&codes, &last_trading_days(last_day, number("--days", 58)?));
    let server = TdxServer::start_on(u16::try_from(number("--port", 7_709)?)?, dataset)?;
    for code in &codes {
        server.set_events(code, vec![("2024-03-01".parse()?, 1, [3.0, 0.0, 0.0, 0.0])]);
    }
    println!("{}", server.address());
    loop {
        std::thread::park();
    }
}
