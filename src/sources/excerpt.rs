// Upstream: sources::baostock::adjust_factor, sources::baostock::answer, sources::baostock::frame, sources::baostock::k_data, sources::databases::clickhouse, sources::databases::errors, sources::databases::mongodb, sources::databases::mysql, sources::databases::redis, sources::eastmoney::answer, sources::http, sources::json_rows, sources::tushare::adj_factor, sources::tushare::daily, sources::tushare::stk_mins, sources::tushare::table, sources::yahoo::chart
// Downstream: none
// Role: The beginning of a vendor's text, short enough for an error.

/// The longest piece of an answer an error shows, in characters.
const MAX_EXCERPT: usize = 120;

/// The beginning of a text for an error: one line, short.
pub fn excerpt(text: &str) -> String {
    text.chars().take(MAX_EXCERPT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
