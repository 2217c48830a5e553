// Upstream: clickhouse::statements, clickhouse::store
// Downstream: none
// Role: The table `bar` as Ginkgo's readers expect it: how it is created, and what must be right of one that is there.

/// The table's name.
pub const TABLE: &str = "bar";

/// Ginkgo's columns in their order, with the types its models declare.
pub const COLUMNS: [(&str, &str); 13] = [
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
];

/// A table of ours. The key begins with Ginkgo's own (code, timestamp), so its readers' queries are as fast as before. By
/// year, because one code's history in one INSERT would touch more than a hundred months. The window makes a repeated
/// INSERT with the same token be taken once: without it ClickHouse ignores the token.
pub fn create_table(database: &str) -> String {
    let columns: Vec<String> = COLUMNS.iter().map(|(name, kind)| format!("`{name}` {kind}")).collect();
    format!(
        "CREATE TABLE IF NOT EXISTS {}.{TABLE} ({}) ENGINE = ReplacingMergeTree PARTITION BY toYear(timestamp) \
         ORDER BY (code, timestamp, frequency) SETTINGS non_replicated_deduplication_window = 1000",
        identifier(database),
        columns.join(", ")
    )
}

/// A name as SQL takes it.
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// What is wrong with a table's columns, all of it in one text; `None` where nothing is.
pub fn mismatch(table: &str, found: &[(String, String)]) -> Option<String> {
    let problems: Vec<String> = COLUMNS.iter().filter_map(|(name, expected)| problem(name, expected, found)).collect();
    let advice = "change the columns with ALTER TABLE, or rename the table and let the worker create its own";
    (!problems.is_empty()).then(|| format!("table {table}: {}; {advice}", problems.join("; ")))
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
        COLUMNS.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect()
    }

    #[test]
    fn every_wrong_column_is_named_with_what_is_expected_and_found() {
        assert_eq!(mismatch("ginkgo.bar", &ours()), None);
        let mut columns = ours();
        columns[1].1 = "Float64".to_owned();
        columns.retain(|(name, _)| name != "uuid");
        columns[10].1 = "DateTime('Asia/Shanghai')".to_owned();
        let text = mismatch("ginkgo.bar", &columns).unwrap();
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
