// Upstream: keys, reference
// Downstream: actors, kind, sections
// Role: Derives the description, default, range and kind of every setting from the types of the settings.

//! Descriptions are the doc comments of the fields, ranges their attributes, and defaults come from `Default`, so
//! nothing is written twice.

use std::sync::OnceLock;

use actors::settings::ranges::{range_text, schema_of};
use serde_json::Value;

use super::kind::Kind;
use super::sections::Settings;

/// The properties of one setting that its type declares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// Its description, on one line.
    pub description: String,
    /// Its default; `None` if it is not set by default.
    pub default: Option<Value>,
    /// The range of a number, such as `1 to 3`.
    pub range: Option<String>,
    /// The words of a choice with their meanings.
    pub words: Vec<(String, String)>,
}

/// The properties of the setting at this path.
pub fn about(path: &str) -> About {
    let Some(node) = node(path) else { return About::default() };
    About {
        description: description(node),
        default: node.get("default").filter(|default| !default.is_null()).cloned(),
        range: range_text(node),
        words: words(node),
    }
}

/// The description of a section, on one line; the empty path is the whole configuration.
pub fn section_description(path: &str) -> String {
    node(path).map(description).unwrap_or_default()
}

/// The path and kind of every setting, in the order of the fields.
pub fn leaves() -> Vec<(String, Kind)> {
    let mut leaves = Vec::new();
    collect(root(), "", &mut leaves);
    leaves
}

fn collect(node: &'static Value, path: &str, leaves: &mut Vec<(String, Kind)>) {
    let Some(fields) = node.get("properties").and_then(Value::as_object) else {
        leaves.extend(kind(node).map(|kind| (path.to_owned(), kind)));
        return;
    };
    for (name, field) in fields {
        collect(field, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, leaves);
    }
}

/// The kind of a setting with this schema; `None` for a type that no setting has.
fn kind(node: &'static Value) -> Option<Kind> {
    let choice = choice(node);
    if !choice.is_empty() {
        return Some(Kind::Choice(choice));
    }
    // An optional text has the type `["string", "null"]`.
    let types = node.get("type")?;
    let name = types.as_str().or_else(|| types.get(0)?.as_str())?;
    match name {
        "string" => Some(Kind::Text),
        "boolean" => Some(Kind::Flag),
        "number" => Some(Kind::Real),
        "integer" => Some(Kind::Number { max: largest(node.get("format")?.as_str()?)? }),
        "array" => {
            let words = node.get("items").map(self::choice).unwrap_or_default();
            Some(if words.is_empty() { Kind::List } else { Kind::Choices(words) })
        }
        _ => None,
    }
}

/// The maximum of a Rust integer type, by its name in the schema.
fn largest(format: &str) -> Option<u64> {
    match format {
        "uint8" => Some(u8::MAX.into()),
        "uint16" => Some(u16::MAX.into()),
        "uint32" => Some(u32::MAX.into()),
        "uint64" | "uint" => Some(u64::MAX),
        _ => None,
    }
}

/// The words of a choice; empty if the schema is not a choice.
fn choice(node: &'static Value) -> Vec<&'static str> {
    let variants = node.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    variants.filter_map(|variant| variant.get("const")?.as_str()).collect()
}

fn root() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(schema_of::<Settings>)
}

fn node(path: &str) -> Option<&'static Value> {
    path.split('.').filter(|name| !name.is_empty()).try_fold(root(), |node, name| node.get("properties")?.get(name))
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
    fn finds_comment_default_and_range_by_path() {
        let port = about("kafka.port");
        assert_eq!(port.description, "Port of the broker.");
        assert_eq!((port.default, port.range.as_deref()), (Some(json!(9092)), Some("1 to 65535")));
        let attempts = about("fetch.max_attempts");
        assert_eq!((attempts.default, attempts.range.as_deref()), (Some(json!(3)), Some("1 to 3")));
        assert_eq!(section_description("sources.tushare"), "Tushare Pro.");
        assert_eq!(about("kafka.nothing"), About::default());
    }

    #[test]
    fn a_type_that_no_setting_has_is_no_kind() {
        for schema in [json!({"type": "object"}), json!({"type": "integer", "format": "int64"}), json!({})] {
            assert_eq!(kind(Box::leak(Box::new(schema))), None);
        }
        assert_eq!(kind(Box::leak(Box::new(json!({"type": "number"})))), Some(Kind::Real));
        assert_eq!(kind(Box::leak(Box::new(json!({"type": "boolean"})))), Some(Kind::Flag));
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
