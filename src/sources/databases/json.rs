// Upstream: clickhouse, redis
// Downstream: kit, rows
// Role: Parses a JSON row, an array or an object, into text cells. Pure.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use super::rows::Cell;

/// The cells of an array. Numbers stay text, so that binary floating point changes no digit.
pub fn array(json: &str) -> Result<Vec<Cell<'_>>, serde_json::Error> {
    let values: Vec<&RawValue> = serde_json::from_str(json)?;
    Ok(values.into_iter().map(|value| cell(value.get())).collect())
}

/// The cells of an object, in the order of `columns`. A missing field gives `None`.
pub fn object<'a>(json: &'a str, columns: &[Option<&str>]) -> Result<Vec<Cell<'a>>, serde_json::Error> {
    let values: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(json)?;
    let found = |name: &str| values.get(name).and_then(|value| cell(value.get()));
    Ok(columns.iter().map(|name| name.and_then(found)).collect())
}

/// The field names of an object, sorted.
pub fn names(json: &str) -> Result<Vec<String>, serde_json::Error> {
    let values: HashMap<String, &RawValue> = serde_json::from_str(json)?;
    let mut names: Vec<String> = values.into_keys().collect();
    names.sort_unstable();
    Ok(names)
}

fn cell(value: &str) -> Cell<'_> {
    match value {
        "null" => None,
        "true" => Some("1".into()),
        "false" => Some("0".into()),
        text if text.starts_with('"') => Some(match serde_json::from_str::<Cow<'_, str>>(text) {
            Ok(text) => Cow::Owned(text.into_owned()),
            Err(_) => text.into(),
        }),
        // A number, or an array or object, which is no valid value and is reported as it stands.
        other => Some(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cells_keep_every_digit() {
        let cells = array(r#"[12.3400000000000000001, "a\"b", null, true, [1], ""]"#).unwrap();
        let texts: Vec<Option<&str>> = cells.iter().map(Option::as_deref).collect();
        assert_eq!(texts, [Some("12.3400000000000000001"), Some("a\"b"), None, Some("1"), Some("[1]"), Some("")]);
        let cells = object(r#"{"b": 1e2, "a": "x", "c": null}"#, &[Some("a"), None, Some("b"), Some("d")]).unwrap();
        let texts: Vec<Option<&str>> = cells.iter().map(Option::as_deref).collect();
        assert_eq!(texts, [Some("x"), None, Some("1e2"), None]);
        assert_eq!(names(r#"{"b": 1, "a": 2}"#).unwrap(), ["a", "b"]);
        for text in ["", "{", "[1", "1", "[]]", "<html>"] {
            assert!(object(text, &[]).is_err(), "{text}");
        }
    }

    #[test]
    fn mutated_rows_are_cells_or_an_error() {
        let samples = [
            r#"["2024-01-02", 12.34, "a\"b", null, true, [1], ""]"#,
            r#"{"time": "2024-01-02", "open": 1e2, "c": null}"#,
        ];
        kit::fuzz::mutate(&samples, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            if let Ok(cells) = array(&text) {
                assert!(cells.iter().flatten().map(|cell| cell.len()).sum::<usize>() <= text.len());
            }
            if let Ok(cells) = object(&text, &[Some("time"), None, Some("open")]) {
                assert!(cells.len() == 3 && cells[1].is_none());
                assert!(names(&text).is_ok());
            }
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(15_000))]
        #[test]
        fn any_text_is_cells_or_an_error(text in "\\PC{0,40}", near in r#"[\[{"a:,0-9eE.+\\\]}-]{0,40}"#) {
            for text in [text, near] {
                let _cells = array(&text);
                let _cells = object(&text, &[Some("a")]);
                let _names = names(&text);
            }
        }

        #[test]
        fn reads_back_texts_and_numbers(text in ".{0,20}", number in any::<i64>()) {
            let json = serde_json::json!({ "text": text, "number": number }).to_string();
            let cells = object(&json, &[Some("text"), Some("number")]).unwrap();
            prop_assert_eq!(cells[0].as_deref(), Some(text.as_str()));
            let number = number.to_string();
            prop_assert_eq!(cells[1].as_deref(), Some(number.as_str()));
        }
    }
}
