// Upstream: app
// Downstream: actors, adapters, advice, config, schema, table
// Role: Checks a ClickHouse server for `config check --connect`: its version and every table that the worker writes.

use actors::domain::Code;
use actors::ports::StoreError;

use crate::adapters::clickhouse::advice::explain;
use crate::adapters::clickhouse::schema::{ADJUSTFACTOR, BAR, DATA_QUALITY_REPORT, TICK_ENDING, engine_problem};
use crate::adapters::clickhouse::table::Table;
use crate::adapters::probe::Answer;
use crate::config::ClickHouseSection;

/// Maximum number of tables of ticks that are named.
const MAX_NAMED: usize = 3;

/// The rights of docs/operations.md.
const RIGHTS: &str = "SELECT, INSERT, ALTER DELETE, CREATE TABLE";

/// Checks the version of the server and the existing tables. Creates nothing. The error names what to change, if that
/// is known.
pub async fn probe(config: &ClickHouseSection) -> Result<Answer, String> {
    check(config).await.map_err(|error| explain(config, error.reason))
}

async fn check(config: &ClickHouseSection) -> Result<Answer, StoreError> {
    let bars = Table::new(config, BAR);
    let mut answer = bars.probe().await?;
    for schema in [ADJUSTFACTOR, DATA_QUALITY_REPORT] {
        answer = bars.beside(schema).probe_table(answer).await?;
    }
    let tables = bars.engines(TICK_ENDING).await?;
    let problems: Vec<String> = tables
        .iter()
        .filter(|(name, _)| name.trim_end_matches(TICK_ENDING).replace('_', ".").parse::<Code>().is_ok())
        .filter_map(|(name, engine)| Some(format!("table of ticks {name}: {}", engine_problem(engine)?)))
        .collect();
    // They keep the worker from nothing else, so they are no fault of the server.
    for problem in problems.iter().take(MAX_NAMED) {
        answer = answer.with(format!("{problem}; commands for its ticks become dead letters"));
    }
    let num_more = problems.len().saturating_sub(MAX_NAMED);
    if num_more > 0 {
        answer = answer.with(format!("{num_more} more tables of ticks cannot be used"));
    }
    Ok(answer.with(format!("needs {RIGHTS} on {}.*", config.database)))
}
