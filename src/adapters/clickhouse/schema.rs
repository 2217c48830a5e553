// Upstream: many
// Downstream: decimals
// Role: Defines the tables as Ginkgo's readers expect them: CREATE statements and checks of existing tables.

use std::borrow::Cow;

use ::clickhouse::Row;
use serde::Deserialize;

use crate::adapters::clickhouse::decimals::{DecimalColumn, MAX_COLUMNS};

/// The type of Ginkgo's prices and amounts. More decimals fit as well.
const GINKGO_DECIMAL: &str = "Decimal(16, 2)";

/// A table: its columns, in the order and with the types of Ginkgo's models, and the clauses for its creation.
#[derive(Debug, Clone)]
pub struct TableSchema {
    /// The name of the table.
    pub name: Cow<'static, str>,
    /// Name and type of each column.
    pub columns: &'static [(&'static str, &'static str)],
    /// The engine of a table that the worker creates.
    engine: &'static str,
    /// Partition and sorting key.
    keys: &'static str,
}

/// Bars. The sorting key starts with Ginkgo's own key (code, timestamp), so queries of Ginkgo stay fast. Partitioned by
/// year, because the history of one code in one INSERT would touch more than 100 monthly partitions.
pub const BAR: TableSchema = TableSchema {
    name: Cow::Borrowed("bar"),
    columns: &[
        ("code", "String"),
        ("open", "Decimal(16, 2)"),
        ("high", "Decimal(16, 2)"),
        ("low", "Decimal(16, 2)"),
        ("close", "Decimal(16, 2)"),
        ("volume", "Int32"),
        ("amount", "Decimal(16, 2)"),
        ("frequency", "Int8"),
        ("uuid", "String"),
        ("meta", "String"),
        ("desc", "String"),
        ("timestamp", "DateTime"),
        ("source", "Int8"),
    ],
    engine: "ReplacingMergeTree",
    keys: "PARTITION BY toYear(timestamp) ORDER BY (code, timestamp, frequency)",
};

/// Adjustment factors, with Ginkgo's own sorting key.
pub const ADJUSTFACTOR: TableSchema = TableSchema {
    name: Cow::Borrowed("adjustfactor"),
    columns: &[
        ("code", "String"),
        ("foreadjustfactor", "Decimal(16, 6)"),
        ("backadjustfactor", "Decimal(16, 6)"),
        ("adjustfactor", "Decimal(16, 6)"),
        ("uuid", "String"),
        ("meta", "String"),
        ("desc", "String"),
        ("timestamp", "DateTime"),
        ("source", "Int8"),
    ],
    engine: "ReplacingMergeTree",
    keys: "ORDER BY (code, timestamp)",
};

/// Quality reports, one row per report; issues of single codes are in parallel arrays. Partitioned by month, so that
/// old reports can be dropped at once.
pub const DATA_QUALITY_REPORT: TableSchema = TableSchema {
    name: Cow::Borrowed("data_quality_report"),
    columns: &[
        ("report_id", "String"),
        ("kind", "String"),
        ("node_id", "String"),
        ("job", "String"),
        ("sender", "String"),
        ("task_type", "String"),
        ("timestamp", "DateTime"),
        ("begun_at", "DateTime"),
        ("duration_seconds", "Float64"),
        ("tasks_done", "UInt64"),
        ("tasks_failed", "UInt64"),
        ("commands_refused", "UInt64"),
        ("records_expected", "UInt64"),
        ("records_missing", "UInt64"),
        ("records_fetched", "UInt64"),
        ("records_actual", "UInt64"),
        ("records_written", "UInt64"),
        ("records_unchanged", "UInt64"),
        ("records_replaced", "UInt64"),
        ("records_skipped", "UInt64"),
        ("success_rate", "Float64"),
        ("delay_seconds_p50", "Nullable(Float64)"),
        ("delay_seconds_p95", "Nullable(Float64)"),
        ("delay_seconds_max", "Nullable(Float64)"),
        ("skipped_by_rule", "Map(String, UInt64)"),
        ("warned_by_rule", "Map(String, UInt64)"),
        ("rows_by_source", "Map(String, UInt64)"),
        ("calls_by_source", "Map(String, UInt64)"),
        ("failures_by_source", "Map(String, UInt64)"),
        ("troubles.code", "Array(String)"),
        ("troubles.what", "Array(String)"),
        ("troubles.rule", "Array(String)"),
        ("troubles.number", "Array(UInt64)"),
        ("troubles.detail", "Array(String)"),
    ],
    engine: "ReplacingMergeTree",
    keys: "PARTITION BY toYYYYMM(timestamp) ORDER BY (timestamp, report_id)",
};

/// The ending of the names of tables of ticks.
pub const TICK_ENDING: &str = "_Tick";

impl TableSchema {
    /// The ticks of a security: `000001_SZ_Tick`, with name and sorting key of Ginkgo's models. Several trades of a
    /// minute have the same timestamp and keep the order of their INSERT. So the engine must not merge rows with equal
    /// keys.
    pub fn tick(code: &str) -> Self {
        Self {
            name: Cow::Owned(format!("{}{TICK_ENDING}", code.replace('.', "_"))),
            columns: &[
                ("code", "String"),
                ("price", "Decimal(16, 2)"),
                ("volume", "Int32"),
                ("direction", "Int8"),
                ("uuid", "String"),
                ("meta", "String"),
                ("desc", "String"),
                ("timestamp", "DateTime"),
                ("source", "Int8"),
            ],
            engine: "MergeTree",
            keys: "ORDER BY timestamp",
        }
    }

    /// The CREATE statement. The deduplication window is required: without it, ClickHouse ignores the deduplication
    /// token of a repeated INSERT.
    pub fn create(&self, database: &str) -> String {
        let columns: Vec<String> = self.columns.iter().map(|(name, kind)| format!("`{name}` {kind}")).collect();
        format!(
            "CREATE TABLE IF NOT EXISTS {} ({}) ENGINE = {} {} SETTINGS non_replicated_deduplication_window = 1000",
            self.full_name(database),
            columns.join(", "),
            self.engine,
            self.keys
        )
    }

    /// The INSERT statement for all columns as RowBinary.
    pub fn insert(&self, database: &str) -> String {
        let columns: Vec<String> = self.columns.iter().map(|(name, _)| identifier(name)).collect();
        format!("INSERT INTO {} ({}) FORMAT RowBinary", self.full_name(database), columns.join(", "))
    }

    /// The quoted name of the table with its database.
    pub fn full_name(&self, database: &str) -> String {
        format!("{}.{}", identifier(database), identifier(&self.name))
    }

    /// The columns of prices and amounts of an existing table, in the order of the schema. A table with fewer columns
    /// repeats its last one.
    pub fn decimals(&self, found: &[FoundColumn]) -> [DecimalColumn; MAX_COLUMNS] {
        let of = |name: &str| found.iter().find(|column| column.name == name);
        let mut ours = self.columns.iter().filter(|(_, kind)| *kind == GINKGO_DECIMAL);
        let mut last = DecimalColumn::GINKGO;
        std::array::from_fn(|_| {
            let column = ours.next().and_then(|(name, _)| of(name)).and_then(|column| DecimalColumn::of(&column.kind));
            last = column.unwrap_or(last);
            last
        })
    }

    /// The reasons why the columns found in an existing table cannot be read, in one text. `None` if there are none.
    pub fn mismatch(&self, database: &str, found: &[FoundColumn]) -> Option<String> {
        let problems = self.columns.iter().filter_map(|(name, expected)| problem(name, expected, found));
        let advice = "change the columns with ALTER TABLE, or rename the table and let the worker create its own";
        self.complaint(database, problems.collect(), advice)
    }

    /// The reasons why rows cannot be inserted into an existing table, or deleted from it.
    pub fn obstacle(&self, database: &str, engine: &str, found: &[FoundColumn]) -> Option<String> {
        let ours = found.iter().filter(|column| self.columns.iter().any(|(name, _)| *name == column.name));
        let problems = engine_problem(engine).into_iter().chain(ours.filter_map(computed));
        let advice = "rename the table and let the worker create its own, or set clickhouse.host and clickhouse.database \
                      to where the rows themselves are stored";
        self.complaint(database, problems.collect(), advice)
    }

    fn complaint(&self, database: &str, problems: Vec<String>, advice: &str) -> Option<String> {
        let table = format!("{database}.{}", self.name);
        (!problems.is_empty()).then(|| format!("table {table}: {}; {advice}", problems.join("; ")))
    }
}

/// A column of an existing table.
#[derive(Debug, Clone, Row, Deserialize)]
pub struct FoundColumn {
    /// The name.
    pub name: String,
    /// The type.
    pub kind: String,
    /// `DEFAULT`, `MATERIALIZED`, `ALIAS`, `EPHEMERAL`, or empty.
    pub default_kind: String,
}

/// Why a table with this engine cannot be written. The worker inserts rows and deletes the ones they replace; a row
/// must keep its values when the engine merges it with others.
pub fn engine_problem(engine: &str) -> Option<String> {
    let local = engine.strip_prefix("Replicated").or(engine.strip_prefix("Shared")).unwrap_or(engine);
    let reason = match local {
        "MergeTree" | "ReplacingMergeTree" => return None,
        merging if merging.ends_with("MergeTree") => "it changes rows when it merges them",
        _ => "it does not store rows that can be inserted and deleted",
    };
    let needed = "MergeTree or ReplacingMergeTree, also with Replicated or Shared before it";
    Some(format!("engine {engine}: {reason}; needed: {needed}"))
}

/// Why a column of ours takes no values, if it does not.
fn computed(column: &FoundColumn) -> Option<String> {
    let FoundColumn { name, default_kind, .. } = column;
    let is_computed = matches!(default_kind.as_str(), "MATERIALIZED" | "ALIAS" | "EPHEMERAL");
    is_computed.then(|| format!("column {name}: {default_kind}, so it takes no values"))
}

/// A quoted SQL identifier.
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

fn problem(name: &str, expected: &str, found: &[FoundColumn]) -> Option<String> {
    let Some(FoundColumn { kind, .. }) = found.iter().find(|column| column.name == name) else {
        return Some(format!("column {name}: expected {expected}, found none"));
    };
    let fits = match expected {
        "String" => kind == expected || kind == "LowCardinality(String)",
        "DateTime" => kind == expected || kind.starts_with("DateTime('"),
        GINKGO_DECIMAL => DecimalColumn::of(kind).is_some(),
        _ => kind == expected,
    };
    (!fits).then(|| format!("column {name}: expected {expected}, found {kind}"))
}

/// Whether a table deduplicates INSERTs by token: replicated engines do, others only with a deduplication window.
pub fn deduplicates(engine: &str, engine_full: &str) -> bool {
    let window = engine_full
        .split("non_replicated_deduplication_window = ")
        .nth(1)
        .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next())
        .and_then(|digits| digits.parse::<u64>().ok());
    engine.starts_with("Replicated") || engine.starts_with("Shared") || window.is_some_and(|window| window > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Vec<FoundColumn> {
        let column = |(name, kind): &(&str, &str)| FoundColumn {
            name: (*name).to_owned(),
            kind: (*kind).to_owned(),
            default_kind: String::new(),
        };
        BAR.columns.iter().map(column).collect()
    }

    #[test]
    fn names_every_wrong_column() {
        assert_eq!(BAR.mismatch("ginkgo", &ours()), None);
        let mut columns = ours();
        columns[1].kind = "Float64".to_owned();
        columns.retain(|column| column.name != "uuid");
        columns[10].kind = "DateTime('Asia/Shanghai')".to_owned();
        let text = BAR.mismatch("ginkgo", &columns).unwrap();
        assert!(text.contains("column open: expected Decimal(16, 2), found Float64"), "{text}");
        assert!(text.contains("column uuid: expected String, found none"), "{text}");
        assert!(!text.contains("timestamp"), "a zone is as good as none: {text}");
    }

    #[test]
    fn only_engines_that_keep_rows_can_be_written() {
        for engine in ["MergeTree", "ReplicatedMergeTree", "SharedReplacingMergeTree", "ReplacingMergeTree"] {
            assert_eq!(engine_problem(engine), None);
        }
        for engine in ["View", "Distributed", "ReplicatedSummingMergeTree", "Shared", "CollapsingMergeTree", ""] {
            assert!(engine_problem(engine).is_some(), "{engine}");
        }
    }

    #[test]
    fn only_a_window_or_a_replicated_engine_deduplicates() {
        assert!(!deduplicates("MergeTree", "MergeTree ORDER BY (code, timestamp) SETTINGS index_granularity = 8192"));
        assert!(deduplicates("ReplacingMergeTree", "… SETTINGS non_replicated_deduplication_window = 1000, x = 1"));
        assert!(!deduplicates("MergeTree", "… SETTINGS non_replicated_deduplication_window = 0"));
        assert!(deduplicates("ReplicatedMergeTree", "ReplicatedMergeTree"));
        assert!(deduplicates("SharedMergeTree", "SharedMergeTree"));
    }

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(identifier("a`b\\"), "`a\\`b\\\\`");
    }
}
