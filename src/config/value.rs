// Upstream: environment, file, ginkgo
// Downstream: keys, kind
// Role: Parses one setting's value strictly by its kind. Errors never show a secret.

use config::ValueKind;

use super::keys::Key;
use super::kind::Kind;

/// Maximum length of an invalid value in a message, in characters.
const MAX_SHOWN: usize = 60;

/// Parses a value from a file. `Ok(None)`: the value is empty, so the setting is not set.
///
/// A number is not accepted as text: YAML reads `007` as 7 and `1e5` as 100000, which would silently change a password.
pub fn from_file(key: &Key, value: &ValueKind) -> Result<Option<ValueKind>, String> {
    match (&key.kind, value) {
        (_, ValueKind::Nil) => Ok(None),
        (Kind::List | Kind::Choices(_), ValueKind::Array(items)) => {
            let texts = items.iter().map(|item| match &item.kind {
                ValueKind::String(text) => Ok(text.clone()),
                other => Err(wrong(key, &shown(other))),
            });
            chosen(key, texts.collect::<Result<_, _>>()?).map(Some)
        }
        (Kind::List, ValueKind::String(text)) => Err(wrong(key, text)),
        (Kind::Number { max }, ValueKind::I64(number)) => match u64::try_from(*number) {
            Ok(number) if number <= *max => Ok(Some(ValueKind::U64(number))),
            _ => Err(wrong(key, &number.to_string())),
        },
        (Kind::Real, ValueKind::I64(number)) => Ok(Some(ValueKind::Float(*number as f64))),
        (Kind::Real, ValueKind::Float(number)) if number.is_finite() => Ok(Some(ValueKind::Float(*number))),
        (Kind::Flag, ValueKind::Boolean(flag)) => Ok(Some(ValueKind::Boolean(*flag))),
        (_, ValueKind::String(text)) => from_text(key, text),
        (Kind::Text, ValueKind::Array(_) | ValueKind::Table(_)) => Err(wrong(key, &shown(value))),
        (Kind::Text, _) => Err(format!("{}; put it in quotes", wrong(key, &shown(value)))),
        _ => Err(wrong(key, &shown(value))),
    }
}

/// Parses a value from an environment variable; commas separate list items. `Ok(None)`: the setting is not set.
pub fn from_text(key: &Key, text: &str) -> Result<Option<ValueKind>, String> {
    let trimmed = text.trim();
    if let Some(name) = placeholder(trimmed) {
        return Err(format!(
            "it is the literal text ${{{name}}}: variables are not replaced in values; remove the setting here, and set \
             the variable of {} for the process (docs/configuration.md names it)",
            key.path
        ));
    }
    let value = match &key.kind {
        // Docker Compose passes two quotation marks for a password that is not set.
        Kind::Text if key.secret && matches!(trimmed, "" | "\"\"") => return Ok(None),
        Kind::Text => Some(ValueKind::String(text.to_owned())),
        Kind::Number { max } => trimmed.parse().ok().filter(|number| number <= max).map(ValueKind::U64),
        Kind::Real => trimmed.parse().ok().filter(|number: &f64| number.is_finite()).map(ValueKind::Float),
        Kind::Flag => trimmed.to_ascii_lowercase().parse().ok().map(ValueKind::Boolean),
        Kind::Choice(words) => {
            let word = trimmed.to_ascii_lowercase();
            words.contains(&word.as_str()).then_some(ValueKind::String(word))
        }
        Kind::List | Kind::Choices(_) => {
            let items = trimmed.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty());
            return chosen(key, items.collect()).map(Some);
        }
    };
    value.map(Some).ok_or_else(|| wrong(key, text))
}

/// The name in a value that is only a variable of a shell or of Compose, as `${NAME}` or `${NAME:-default}`.
fn placeholder(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("${")?.strip_suffix('}')?;
    let name = inner.split([':', '-']).next()?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some(name)
}

/// A list. If the kind restricts the words, each must be one of them, and duplicates are removed.
fn chosen(key: &Key, texts: Vec<String>) -> Result<ValueKind, String> {
    let Kind::Choices(words) = &key.kind else { return Ok(list(texts)) };
    let mut chosen: Vec<String> = Vec::new();
    for text in texts {
        let word = text.to_ascii_lowercase();
        if !words.contains(&word.as_str()) {
            return Err(wrong(key, &text));
        }
        if !chosen.contains(&word) {
            chosen.push(word);
        }
    }
    Ok(list(chosen))
}

fn list(texts: Vec<String>) -> ValueKind {
    ValueKind::Array(texts.into_iter().map(Into::into).collect())
}

fn wrong(key: &Key, found: &str) -> String {
    let must = key.must_be();
    if key.secret {
        return format!("it must be {must} (the value is secret and is not shown)");
    }
    let short: String = found.chars().take(MAX_SHOWN).collect();
    let meant = match &key.kind {
        Kind::Choice(words) | Kind::Choices(words) => nearest_word(&short.to_ascii_lowercase(), words),
        _ => None,
    };
    let meant = meant.map_or_else(String::new, |word| format!("; is {word} meant?"));
    format!("it must be {must}, but is {short:?}{meant}")
}

/// The word that is most similar to `found`; `None` if none is similar.
fn nearest_word<'w>(found: &str, words: &[&'w str]) -> Option<&'w str> {
    let (distance, word) = words
        .iter()
        .map(|word| (strsim::damerau_levenshtein(found, word), *word))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= (word.chars().count() / 3).max(1)).then_some(word)
}

fn shown(value: &ValueKind) -> String {
    match value {
        ValueKind::Array(_) => "a list".to_owned(),
        ValueKind::Table(_) => "a section".to_owned(),
        ValueKind::Nil => "nothing".to_owned(),
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::find;
    use super::*;

    fn read(path: &str, text: &str) -> Result<Option<ValueKind>, String> {
        from_text(find(path).unwrap(), text)
    }

    #[test]
    fn values_are_read_by_their_kind() {
        assert_eq!(read("kafka.port", " 19092 "), Ok(Some(ValueKind::U64(19092))));
        assert_eq!(read("log.format", "Text"), Ok(Some(ValueKind::String("text".into()))));
        assert_eq!(read("sources.bars", "Files"), Ok(Some(list(vec!["files".into()]))));
        assert_eq!(
            read("sources.bars", "files, tushare, files"),
            Ok(Some(list(vec!["files".into(), "tushare".into()])))
        );
        let bars = find("sources.bars").unwrap();
        assert_eq!(from_file(bars, &ValueKind::String("tushare".into())), Ok(Some(list(vec!["tushare".into()]))));
        assert_eq!(read("kafka.command_topics", "a, b,"), Ok(Some(list(vec!["a".into(), "b".into()]))));
        assert_eq!(read("clickhouse.password", "\"\""), Ok(None));
    }

    #[test]
    fn a_misspelt_word_gets_the_nearest_one() {
        assert!(read("sources.bars", "tushar").unwrap_err().ends_with("but is \"tushar\"; is tushare meant?"));
        assert!(read("log.format", "jsno").unwrap_err().ends_with("; is json meant?"));
        assert!(read("sources.bars", "weather").unwrap_err().ends_with("but is \"weather\""));
    }

    #[test]
    fn a_literal_variable_is_no_value() {
        let token = read("sources.tushare.token", "${TUSHARE_TOKEN}").unwrap_err();
        assert!(token.contains("the literal text ${TUSHARE_TOKEN}") && token.contains("remove the setting"), "{token}");
        assert!(read("kafka.host", "${KAFKA_HOST:-kafka}").unwrap_err().contains("${KAFKA_HOST}"));
        assert!(read("redis.password", "${not a name}").is_ok() && read("redis.password", "$ecret}").is_ok());
    }

    #[test]
    fn a_wrong_value_is_shown_in_short_but_a_secret_never() {
        assert_eq!(read("kafka.port", "70000").unwrap_err(), "it must be a whole number, 1 to 65535, but is \"70000\"");
        assert!(read("kafka.port", &"9".repeat(5_000)).unwrap_err().len() < 150);
        let weather = read("sources.bars", "tushare, weather").unwrap_err();
        assert!(weather.contains("one or more of: ") && weather.contains("files, "), "{weather}");
        let password = find("redis.password").unwrap();
        let error = from_file(password, &ValueKind::I64(4711)).unwrap_err();
        assert!(error.contains("put it in quotes") && !error.contains("4711"), "{error}");
        assert!(from_file(find("kafka.port").unwrap(), &ValueKind::Boolean(true)).is_err());
        assert!(from_file(find("kafka.port").unwrap(), &ValueKind::Float(9092.5)).is_err());
    }
}
