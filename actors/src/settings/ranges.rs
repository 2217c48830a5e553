// Upstream: data_worker, settings
// Downstream: error
// Role: Checks numbers against the ranges that are declared as field attributes.

//! Each range is declared once, as `#[schemars(range(…))]` at the field. This module and the generated documentation
//! both read it from there.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::Value;

use crate::settings::SettingsError;

/// The JSON schema of a type, with all subschemas inlined.
pub fn schema_of<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator();
    generator.into_root_schema_for::<T>().to_value()
}

/// The range as text, such as `1 to 3` or `at least 100`; `None` if the schema has no range.
pub fn range_text(schema: &Value) -> Option<String> {
    // Every unsigned number has a minimum of 0, which carries no information.
    let least = schema.get("minimum").filter(|least| least.as_f64() != Some(0.0));
    match (least, schema.get("maximum")) {
        (Some(least), Some(most)) => Some(format!("{least} to {most}")),
        (None, Some(most)) => Some(format!("0 to {most}")),
        (Some(least), None) => Some(format!("at least {least}")),
        (None, None) => None,
    }
}

/// Every number in all sections of `settings` that is outside its range.
pub fn out_of_range<T: JsonSchema + Serialize>(settings: &T) -> Vec<SettingsError> {
    let mut errors = Vec::new();
    // A path that is not UTF-8 cannot be serialised as JSON. Settings are parsed from text, so no such path occurs.
    if let Ok(values) = serde_json::to_value(settings) {
        walk(&schema_of::<T>(), &values, "", &mut errors);
    }
    errors
}

fn walk(schema: &Value, value: &Value, path: &str, errors: &mut Vec<SettingsError>) {
    if let Some(fields) = schema.get("properties").and_then(Value::as_object) {
        for (name, schema) in fields {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            walk(schema, value.get(name).unwrap_or(&Value::Null), &path, errors);
        }
        return;
    }
    let bound = |name| schema.get(name).and_then(Value::as_f64);
    let Some(number) = value.as_f64() else { return };
    let inside =
        bound("minimum").is_none_or(|least| number >= least) && bound("maximum").is_none_or(|most| number <= most);
    if let Some(range) = range_text(schema).filter(|_| !inside) {
        errors.push(SettingsError {
            field: path.to_owned(),
            found: value.to_string(),
            must: format!("it must be {range}"),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, JsonSchema)]
    struct Outer {
        inner: Inner,
        /// No range.
        free: u64,
        share: f64,
    }

    #[derive(Serialize, JsonSchema)]
    struct Inner {
        #[schemars(range(min = 1, max = 3))]
        attempts: u32,
        #[schemars(range(min = 100))]
        wait_ms: u64,
        port: u16,
    }

    fn found(attempts: u32, wait_ms: u64) -> Vec<String> {
        let outer = Outer { inner: Inner { attempts, wait_ms, port: 7 }, free: u64::MAX, share: 0.5 };
        out_of_range(&outer).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn out_of_range_number_is_named_with_section() {
        assert_eq!(found(3, 100), [""; 0]);
        assert_eq!(
            found(0, 99),
            ["inner.attempts is 0, but it must be 1 to 3", "inner.wait_ms is 99, but it must be at least 100",]
        );
    }

    #[test]
    fn range_text_names_the_bounds() {
        let schema = schema_of::<Outer>();
        let text = |pointer: &str| range_text(schema.pointer(pointer).unwrap());
        assert_eq!(text("/properties/inner/properties/attempts").as_deref(), Some("1 to 3"));
        assert_eq!(text("/properties/inner/properties/port").as_deref(), Some("0 to 65535"));
        assert_eq!(text("/properties/inner/properties/wait_ms").as_deref(), Some("at least 100"));
        assert_eq!((text("/properties/free"), text("/properties/share")), (None, None));
    }
}
