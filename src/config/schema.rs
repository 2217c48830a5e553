// Upstream: keys, reference
// Downstream: actors, sections
// Role: What the settings' types say of each setting: its description, default, range and words.

//! Descriptions are the fields' comments, ranges the fields' attributes, defaults those of `Default`: nothing is
//! written a second time.

use std::sync::OnceLock;

use actors::settings::ranges::{range_text, schema_of};
use serde_json::Value;

use super::sections::Settings;

/// What the types say of one setting.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// What it means, on one line.
    pub description: String,
    /// Its default; `None` where nothing is set.
    pub default: Option<Value>,
    /// The range of a number, such as `1 to 3`.
    pub range: Option<String>,
    /// What each word of a choice means.
    pub words: Vec<(String, String)>,
}

/// What the types say of the setting at this path.
pub fn about(path: &str) -> About {
    let Some(node) = node(path) else { return About::default() };
    About {
        description: description(node),
        default: node.get("default").filter(|default| !default.is_null()).cloned(),
        range: range_text(node),
        words: words(node),
    }
}

/// What a section is for, on one line; the empty path is the whole configuration.
pub fn section_description(path: &str) -> String {
    node(path).map(description).unwrap_or_default()
}

fn node(path: &str) -> Option<&'static Value> {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    let root = SCHEMA.get_or_init(schema_of::<Settings>);
    path.split('.').filter(|name| !name.is_empty()).try_fold(root, |node, name| node.get("properties")?.get(name))
}

fn description(node: &Value) -> String {
    let text = node.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn words(node: &Value) -> Vec<(String, String)> {
    let node = node.get("items").unwrap_or(node);
    let variants = node.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    variants.filter_map(|word| Some((word.get("const")?.as_str()?.to_owned(), description(word)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_field_s_comment_default_and_range_are_found_by_its_path() {
        let port = about("kafka.port");
        assert_eq!(port.description, "Port of the broker.");
        assert_eq!((port.default, port.range.as_deref()), (Some(json!(9092)), Some("1 to 65535")));
        let attempts = about("fetch.max_attempts");
        assert_eq!((attempts.default, attempts.range.as_deref()), (Some(json!(3)), Some("1 to 3")));
        assert_eq!(section_description("sources.tushare"), "Tushare Pro.");
        assert_eq!(about("kafka.nothing"), About::default());
    }

    #[test]
    fn a_choice_has_its_words_with_their_meaning() {
        let bars = about("sources.bars");
        assert_eq!(bars.default, Some(json!(["tushare"])));
        for (word, meaning) in [("tushare", "Tushare Pro."), ("files", "A folder of CSV and Parquet files.")] {
            assert!(bars.words.contains(&(word.to_owned(), meaning.to_owned())), "{word}");
        }
    }
}
