// Upstream: cli::coverage, gaps
// Downstream: actors, app, config
// Role: Leaves out the days on which a security was suspended, as the sources of daily bars report.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actors::domain::{Code, DateRange};
use actors::fetcher::suspensions::{SharedBy, Suspensions};
use actors::ports::{DataKind, MarketSource, SourceError, SourceErrorKind};
use chrono::NaiveDate;

use crate::app::service_hub::ServiceHub;
use crate::config::Settings;

/// Longest rate limit that the command waits for: one per minute. An hourly or daily limit is an error.
const LONGEST_LIMIT: Duration = Duration::from_secs(60);

/// Number of securities from which on the suspensions of whole years are requested for all of them together.
const MIN_SHARING: usize = 20;

const NO_SUSPENSION_SOURCE: &str = "no source in sources.bars reports suspensions: baostock and tdx do, and tushare if the \
     account may call suspend_d";

/// Suspensions as reported by the sources.
pub struct Suspended {
    sources: Vec<Arc<dyn MarketSource>>,
    reported: Suspensions,
    shared: SharedBy,
}

impl Suspended {
    /// Connects to the configured sources of daily bars, for so many securities and these days. On failure prints the
    /// problem.
    pub fn of(settings: &Settings, num_codes: usize, range: DateRange) -> Result<Self, ExitCode> {
        let shared = if num_codes < MIN_SHARING { SharedBy::Days } else { SharedBy::ManyTasks(range) };
        match ServiceHub::market_sources(settings) {
            Ok(sources) => Ok(Self { sources: sources.of(DataKind::Bars), reported: Suspensions::default(), shared }),
            Err(error) => {
                eprintln!("{error}");
                Err(ExitCode::FAILURE)
            }
        }
    }

    /// Removes suspended days from the missing days, which are in ascending order. Waits for rate limits of up to
    /// [`LONGEST_LIMIT`].
    pub async fn leave_out(&self, code: Code, missing: &mut Vec<NaiveDate>) -> Result<(), ExitCode> {
        if missing.is_empty() {
            return Ok(());
        }
        loop {
            let failed = match self.reported.among(&self.sources, code, missing, self.shared).await {
                Ok(Some(suspended)) => {
                    missing.retain(|day| suspended.binary_search(day).is_err());
                    return Ok(());
                }
                Err(SourceError { kind: SourceErrorKind::RateLimited { retry_after, message }, .. })
                    if retry_after <= LONGEST_LIMIT =>
                {
                    eprintln!("{message}; retrying in {retry_after:?}");
                    tokio::time::sleep(retry_after).await;
                    continue;
                }
                Err(error) => error.to_string(),
                Ok(None) => NO_SUSPENSION_SOURCE.to_owned(),
            };
            eprintln!("{failed}");
            return Err(ExitCode::FAILURE);
        }
    }
}
