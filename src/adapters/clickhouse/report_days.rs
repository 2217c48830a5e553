// Upstream: app, cli::coverage
// Downstream: actors, config, errors, schema, table
// Role: Sums the stored quality reports by day, for a picture of quality over time.

use ::clickhouse::Row;
use actors::domain::DateRange;
use actors::ports::StoreError;
use serde::{Deserialize, Serialize};

use crate::adapters::clickhouse::errors::Effect;
use crate::adapters::clickhouse::schema::DATA_QUALITY_REPORT;
use crate::adapters::clickhouse::table::Table;
use crate::config::ClickHouseSection;

/// The most days that are read, the newest ones: ten years, about 1 MB.
const MAX_DAYS: usize = 3_660;

/// The quality reports in one ClickHouse database, summed by day.
pub struct ClickHouseReportDays {
    table: Table,
}

/// The interval reports of all workers that ended on a day, added up.
#[derive(Debug, Clone, Default, PartialEq, Row, Serialize, Deserialize)]
pub struct ReportDay {
    /// The day in Shanghai, such as 2024-01-31.
    pub day: String,
    /// The number of reports.
    pub reports: u64,
    /// Tasks that were done.
    pub tasks_done: u64,
    /// Tasks that failed. Their commands are dead letters.
    pub tasks_failed: u64,
    /// Commands that were refused. They are dead letters, too.
    pub commands_refused: u64,
    /// Rows that the sources should have returned.
    pub expected: u64,
    /// Expected rows that did not come.
    pub missing: u64,
    /// Rows that were written.
    pub written: u64,
    /// Rows that broke a rule and were not written.
    pub skipped: u64,
}

impl ClickHouseReportDays {
    /// Creates the client; the first query connects.
    pub fn new(config: &ClickHouseSection) -> Self {
        Self { table: Table::new(config, DATA_QUALITY_REPORT) }
    }

    /// The days with reports, oldest first. Of more than 3,660 days the newest.
    pub async fn of(&self, range: DateRange) -> Result<Vec<ReportDay>, StoreError> {
        let operation = "sum the quality reports by day";
        if self.table.facts(operation).is_err() {
            self.table.check().await?;
        }
        let statement = format!(
            "SELECT toString(toDate(timestamp)) AS day, count(), sum(tasks_done), sum(tasks_failed), sum(commands_refused), \
             sum(records_expected), sum(records_missing), sum(records_written), sum(records_skipped) FROM {} FINAL \
             WHERE kind = 'interval' AND toDate(timestamp) BETWEEN '{}' AND '{}' GROUP BY day ORDER BY day DESC LIMIT {MAX_DAYS}",
            self.table.full_name(),
            range.start,
            range.end
        );
        let reading = self.table.client.query_raw(&statement).fetch_all::<ReportDay>();
        let mut days = self.table.bounded(operation, Effect::None, reading).await?;
        days.reverse();
        Ok(days)
    }
}
