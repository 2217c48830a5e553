// Upstream: kit::bin::baostock_server
// Downstream: tushare_data
// Role: Parses `--name value` arguments of the server programs and builds the data set that they describe.

use std::collections::HashMap;
use std::error::Error;
use std::str::FromStr;

use crate::tushare_data::{Dataset, codes, last_trading_days};

/// Parsed arguments, by name.
pub struct Arguments(HashMap<String, String>);

impl Arguments {
    /// Parses the arguments of this process. The error is `usage` if they are not pairs of `--name value`.
    pub fn of_process(usage: &'static str) -> Result<Self, Box<dyn Error>> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let given = arguments.chunks(2).map(|pair| match pair {
            [name, value] if name.starts_with("--") => Ok((name.clone(), value.clone())),
            _ => Err(usage),
        });
        Ok(Self(given.collect::<Result<_, _>>()?))
    }

    /// The value of an argument, if it was given.
    pub fn get<T: FromStr<Err: Error + 'static>>(&self, name: &str) -> Result<Option<T>, Box<dyn Error>> {
        Ok(self.0.get(name).map(|value| value.parse()).transpose()?)
    }

    /// The value of an argument, or its default.
    pub fn or<T: FromStr<Err: Error + 'static>>(&self, name: &str, default: T) -> Result<T, Box<dyn Error>> {
        Ok(self.get(name)?.unwrap_or(default))
    }

    /// The stock codes; `--codes` gives their number.
    pub fn codes(&self) -> Result<Vec<String>, Box<dyn Error>> {
        Ok(codes(self.or("--codes", 3)?))
    }

    /// The data that `--codes`, `--days` and `--last-day` describe.
    pub fn dataset(&self) -> Result<Dataset, Box<dyn Error>> {
        let last_day = self.or("--last-day", "2024-03-29".parse()?)?;
        Ok(Dataset::generated(&self.codes()?, &last_trading_days(last_day, self.or("--days", 58)?)))
    }
}
