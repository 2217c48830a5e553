// Upstream: adapters::clickhouse, security_checks
// Downstream: none
// Role: Checks `clickhouse.settings`: what the worker sets itself or its guarantees forbid is refused by name.

/// Settings that the worker's guarantees depend on, each with the reason or the setting to use.
const REFUSED: &[(&str, &str)] = &[
    ("database", "use clickhouse.database"),
    ("user", "use clickhouse.user"),
    ("password", "use clickhouse.password, which is kept secret"),
    ("query", "the worker writes its own statements"),
    ("session_id", "statements of one session exclude each other"),
    ("async_insert", "an INSERT is acknowledged when its rows are stored"),
    ("wait_for_async_insert", "an INSERT is acknowledged when its rows are stored"),
    ("insert_deduplicate", "an INSERT that is repeated must store its rows once"),
    ("insert_deduplication_token", "the worker names each INSERT itself"),
    ("deduplicate_blocks_in_dependent_materialized_views", "an INSERT that is repeated must store its rows once"),
    ("mutations_sync", "rows are replaced after the old ones are gone"),
    ("lightweight_deletes_sync", "rows are replaced after the old ones are gone"),
    ("lightweight_delete_mode", "rows are replaced after the old ones are gone"),
    ("wait_end_of_query", "half of an answer could look complete"),
    ("final", "the worker counts and replaces duplicate rows"),
    ("readonly", "the worker writes"),
    ("max_result_rows", "part of an answer could look complete"),
    ("max_rows_to_read", "part of an answer could look complete"),
    ("limit", "part of an answer could look complete"),
    ("offset", "part of an answer could look complete"),
    ("result_overflow_mode", "part of an answer could look complete"),
    ("read_overflow_mode", "part of an answer could look complete"),
    ("timeout_overflow_mode", "part of an answer could look complete"),
    ("group_by_overflow_mode", "part of an answer could look complete"),
    ("skip_unavailable_shards", "part of an answer could look complete"),
    ("distributed_foreground_insert", "it is on: an INSERT is acknowledged when its rows are in their shards"),
    ("insert_distributed_sync", "an INSERT is acknowledged when its rows are in their shards"),
    ("input_format_allow_errors_num", "rows would be left out"),
    ("input_format_allow_errors_ratio", "rows would be left out"),
    ("insert_null_as_default", "a value would be made up"),
    ("session_timezone", "times are written by the table's own zone"),
    ("date_time_input_format", "times are written by the table's own zone"),
    ("date_time_output_format", "times are read by the table's own zone"),
    ("compress", "use clickhouse.compression"),
    ("decompress", "use clickhouse.compression"),
    ("default_format", "the worker reads its own format"),
];

/// Name and value of an entry `name=value`.
pub fn split(entry: &str) -> Option<(&str, &str)> {
    let (name, value) = entry.split_once('=')?;
    let name = name.trim();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    is_name.then_some((name, value.trim()))
}

/// The problem of an entry; `None` if the worker allows it. Whether the server knows it shows when it is asked.
pub fn problem(entry: &str) -> Option<String> {
    let Some((name, _)) = split(entry) else {
        return Some("each entry must be a setting of ClickHouse and its value, such as insert_quorum=2".to_owned());
    };
    let (_, instead) = REFUSED.iter().find(|(refused, _)| refused.eq_ignore_ascii_case(name))?;
    Some(format!("{name} cannot be set here: {instead}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_breaks_guarantees_and_no_other() {
        for (name, instead) in REFUSED {
            assert_eq!(problem(&format!("{name}=1")), Some(format!("{name} cannot be set here: {instead}")));
        }
        for entry in ["insert_quorum=2", "select_sequential_consistency = 1", "max_threads=4"] {
            assert_eq!(problem(entry), None, "{entry}");
        }
        assert!(problem("insert_quorum").unwrap().starts_with("each entry must be"));
        assert!(problem("a b=1").unwrap().starts_with("each entry must be"));
        assert_eq!(split(" max_threads = 4 "), Some(("max_threads", "4")));
    }
}
