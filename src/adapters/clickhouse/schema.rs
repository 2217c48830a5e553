// Upstream: many
// Downstream: none
// Role: The tables as Ginkgo's readers expect them: how they are created, and what must be right of one that is there.

use std::borrow::Cow;

/// A table: its columns in Ginkgo's order with the types its models declare, and how one of ours is made.
#[derive(Debug, Clone)]
pub struct TableSchema {
    /// The table's name.
    pub name: Cow<'static, str>,
    /// Name and type.
    pub columns: &'static [(&'static str, &'static str)],
    /// The engine of one of ours.
    engine: &'static str,
    /// Partition and sorting key.
    keys: &'static str,
}

/// Bars. The key begins with Ginkgo's own (code, timestamp), so its readers' queries are as fast as before. By year,
/// because one code's history in one INSERT would touch more than a hundred months.
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

/// Adjustment factors, with Ginkgo's own key.
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

/// Quality reports, a row each; what was wrong with single codes lies in arrays side by side. By month, so that old ones can
/// be dropped at once.
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

impl TableSchema {
    /// The ticks of a security: `000001_SZ_Tick`, as Ginkgo's models name and sort it. Several trades of a minute share their
    /// time, and the order of their INSERT is kept: so its engine must not make one of them.
    pub fn tick(code: &str) -> Self {
        Self {
            name: Cow::Owned(format!("{}_Tick", code.replace('.', "_"))),
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

    /// The statement that makes the table. The window makes a repeated INSERT with the same token be taken once: without
    /// it ClickHouse ignores the token.
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

    /// The statement that inserts rows of all columns as RowBinary.
    pub fn insert(&self, database: &str) -> String {
        let columns: Vec<String> = self.columns.iter().map(|(name, _)| identifier(name)).collect();
        format!("INSERT INTO {} ({}) FORMAT RowBinary", self.full_name(database), columns.join(", "))
    }

    /// The table's name in SQL.
    pub fn full_name(&self, database: &str) -> String {
        format!("{}.{}", identifier(database), identifier(&self.name))
    }

    /// What is wrong with a table's columns, all of it in one text; `None` where nothing is.
    pub fn mismatch(&self, database: &str, found: &[(String, String)]) -> Option<String> {
        let problems: Vec<String> =
            self.columns.iter().filter_map(|(name, expected)| problem(name, expected, found)).collect();
        let advice = "change the columns with ALTER TABLE, or rename the table and let the worker create its own";
        let table = format!("{database}.{}", self.name);
        (!problems.is_empty()).then(|| format!("table {table}: {}; {advice}", problems.join("; ")))
    }
}

/// A name as SQL takes it.
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

fn problem(name: &str, expected: &str, found: &[(String, String)]) -> Option<String> {
    let Some((_, kind)) = found.iter().find(|(column, _)| column == name) else {
        return Some(format!("column {name}: expected {expected}, found none"));
    };
    let fits = match expected {
        "String" => kind == expected || kind == "LowCardinality(String)",
        "DateTime" => kind == expected || kind.starts_with("DateTime('"),
        _ => kind == expected,
    };
    (!fits).then(|| format!("column {name}: expected {expected}, found {kind}"))
}

/// Whether a table takes an INSERT with the same token once: replicated ones do, others with a window of their own.
pub fn deduplicates(engine: &str, engine_full: &str) -> bool {
    let window = engine_full
        .split("non_replicated_deduplication_window = ")
        .nth(1)
        .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next())
        .and_then(|digits| digits.parse::<u64>().ok());
    engine.starts_with("Replicated") || window.is_some_and(|window| window > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Vec<(String, String)> {
        BAR.columns.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect()
    }

    #[test]
    fn every_wrong_column_is_named_with_what_is_expected_and_found() {
        assert_eq!(BAR.mismatch("ginkgo", &ours()), None);
        let mut columns = ours();
        columns[1].1 = "Float64".to_owned();
        columns.retain(|(name, _)| name != "uuid");
        columns[10].1 = "DateTime('Asia/Shanghai')".to_owned();
        let text = BAR.mismatch("ginkgo", &columns).unwrap();
        assert!(text.contains("column open: expected Decimal(16, 2), found Float64"), "{text}");
        assert!(text.contains("column uuid: expected String, found none"), "{text}");
        assert!(!text.contains("timestamp"), "a zone is as good as none: {text}");
    }

    #[test]
    fn only_a_window_or_a_replicated_engine_deduplicates() {
        assert!(!deduplicates("MergeTree", "MergeTree ORDER BY (code, timestamp) SETTINGS index_granularity = 8192"));
        assert!(deduplicates("ReplacingMergeTree", "… SETTINGS non_replicated_deduplication_window = 1000, x = 1"));
        assert!(!deduplicates("MergeTree", "… SETTINGS non_replicated_deduplication_window = 0"));
        assert!(deduplicates("ReplicatedMergeTree", "ReplicatedMergeTree"));
    }

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(identifier("a`b\\"), "`a\\`b\\\\`");
    }
}
