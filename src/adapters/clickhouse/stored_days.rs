// Upstream: app, clickhouse
// Downstream: many
// Role: Counts the stored bars of each day, for many securities per query.

use std::collections::HashMap;

use ::clickhouse::Row;
use actors::domain::gaps::StoredDay;
use actors::domain::{Code, DateRange, Frequency};
use actors::ports::{StoreError, StoreErrorClass};
use chrono::{Days, NaiveDate};
use serde::Deserialize;

use crate::adapters::clickhouse::errors::Effect;
use crate::adapters::clickhouse::schema::BAR;
use crate::adapters::clickhouse::statements::quoted;
use crate::adapters::clickhouse::table::Table;
use crate::config::ClickHouseSection;

/// Counts of stored bars by day in one ClickHouse database.
pub struct ClickHouseDays {
    table: Table,
}

#[derive(Row, Deserialize)]
struct DaysRow {
    code: String,
    /// Days since 1970-01-01.
    days: Vec<u16>,
    times: Vec<u32>,
    rows: Vec<u32>,
}

impl ClickHouseDays {
    /// Creates the client; the first query connects.
    pub fn new(config: &ClickHouseSection) -> Self {
        Self { table: Table::new(config, BAR) }
    }

    /// The days with bars of these securities, in ascending order. One query; the answer has about 10 bytes per day and
    /// security.
    pub async fn of(
        &self,
        frequency: Frequency,
        codes: &[Code],
        range: DateRange,
    ) -> Result<HashMap<Code, Vec<StoredDay>>, StoreError> {
        let operation = format!("count the stored bars of {} codes by day", codes.len());
        if self.table.facts(&operation).is_err() {
            self.table.check().await?;
        }
        let clock = self.table.facts(&operation)?.clock;
        let epoch = |time| {
            let failed = |error: crate::adapters::clickhouse::clock::ClockError| {
                self.table.error(&operation, StoreErrorClass::Refused, error.to_string())
            };
            clock.to_epoch(time).map_err(failed)
        };
        let (from, to) = range.timestamps();
        // Grouped in the order of the sorting key, so that the server holds few groups at a time.
        let statement = format!(
            "SELECT code, groupArray(day), groupArray(times), groupArray(rows) FROM (SELECT code, toUInt16(toDate(time)) AS day, \
             toUInt32(count()) AS times, toUInt32(sum(copies)) AS rows FROM (SELECT code, timestamp AS time, count() AS copies \
             FROM {} WHERE frequency = {} AND code IN ({}) AND timestamp >= toDateTime({}) AND timestamp <= toDateTime({}) \
             GROUP BY code, timestamp) GROUP BY code, day ORDER BY code, day) GROUP BY code \
             SETTINGS optimize_aggregation_in_order = 1",
            self.table.full_name(),
            frequency.as_ginkgo(),
            quoted(codes.iter().map(Code::as_str)),
            epoch(from)?,
            epoch(to)?,
        );
        let reading = self.table.client.query_raw(&statement).fetch_all::<DaysRow>();
        let rows = self.table.bounded(&operation, Effect::None, reading).await?;
        Ok(rows.into_iter().filter_map(|row| Some((row.code.parse().ok()?, stored_days(&row)))).collect())
    }
}

fn stored_days(row: &DaysRow) -> Vec<StoredDay> {
    let counts = row.times.iter().zip(&row.rows);
    let day = |(day, (times, rows)): (&u16, (&u32, &u32))| {
        let day = NaiveDate::default().checked_add_days(Days::new(u64::from(*day)))?;
        Some(StoredDay { day, times: *times, rows: *rows })
    };
    let mut days: Vec<StoredDay> = row.days.iter().zip(counts).filter_map(day).collect();
    // With several threads the server may return them in another order.
    days.sort_unstable_by_key(|stored| stored.day);
    days
}
