// Upstream: cli::coverage, gaps
// Downstream: actors, app, config
// Role: Leaves out the days on which a security was suspended, as the sources of daily bars report.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actors::domain::Code;
use actors::fetcher::suspensions::Suspensions;
use actors::ports::{DataKind, MarketSource, SourceError, SourceErrorKind};
use chrono::NaiveDate;

use crate::app::service_hub::ServiceHub;
use crate::config::Settings;

/// Longest rate limit that the command waits for: one per minute. An hourly or daily limit is an error.
const LONGEST_LIMIT: Duration = Duration::from_secs(60);

const NO_SUSPENSION_SOURCE: &str = "no source in sources.bars reports suspensions: baostock and tdx do, and tushare if the \
     account may call suspend_d";

/// Suspensions as reported by the sources.
pub struct Suspended {
    sources: Vec<Arc<dyn MarketSource>>,
    reported: Suspensions,
}

impl Suspended {
    /// Connects to the configured sources of daily bars. On failure prints the problem.
    pub fn of(settings: &Settings) -> Result<Self, ExitCode> {
        match ServiceHub::market_sources(settings) {
            Ok(sources) => Ok(Self { sources: sources.of(DataKind::Bars), reported: Suspensions::default() }),
            Err(error) => {
                eprintln!("{error}");
                Err(ExitCode::FAILURE)
            }
        }
    }

    /// Removes suspended days from the missing days, which are in ascending order. Waits for rate limits of up to [`LONGEST_LIMIT`].
    pub async fn leave_out(&self, code: Code, missing: &mut Vec<NaiveDate>) -> Result<(), ExitCode> {
        if missing.is_empty() {
            return Ok(());
        }
        loop {
            let failed = match self.reported.among(&self.sources, code, missing, None).await {
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
