// Upstream: cli
// Downstream: environment, file, ginkgo, keys, schema
// Role: Generates the default configuration file and the documentation page of all settings.

//! The repository contains both texts: `docker/data_worker.yml` and `docs/configuration.md`. `make docs` regenerates
//! them; a test fails if they differ from the code.

use serde_json::Value;

use super::environment::variables_of;
use super::ginkgo::secure_key;
use super::keys::{Key, NEED_RESTART, keys, reloaded_of};
use super::schema::section_description;

/// Maximum width of a comment line in the default file.
const WIDTH: usize = 110;

/// The page above the list of settings.
const PAGE_HEAD: &str = include_str!("reference.md");

const FILE_HEAD: &str = "\
Configuration of the data worker: every setting with its default, commented out. Remove the # before a name to set it. \
A setting that stays commented out comes from the environment, from Ginkgo's secure.yml, or from its default. \
`data-worker config check FILE` reports errors. For details see docs/configuration.md.";

const WRITTEN_BY: &str = "In the repository, `make docs` generates this file from comments in the code: edit those.";

/// The default configuration file: every setting, commented out.
pub fn default_file() -> String {
    let mut text = String::new();
    comment(&mut text, "", FILE_HEAD);
    comment(&mut text, "", WRITTEN_BY);
    let mut open: Vec<&str> = Vec::new();
    for key in keys() {
        let (sections, name) = split(key);
        text.push('\n');
        let common = open.iter().zip(&sections).take_while(|(a, b)| a == b).count();
        for depth in common..sections.len() {
            let indent = "  ".repeat(depth);
            let (path, section) = (sections.get(..=depth).unwrap_or_default(), sections.get(depth).unwrap_or(&""));
            comment(&mut text, &indent, &section_description(&path.join(".")));
            text.push_str(&format!("{indent}{section}:\n"));
        }
        setting(&mut text, &"  ".repeat(sections.len()), name, key);
        open = sections;
    }
    text
}

fn split(key: &Key) -> (Vec<&str>, &str) {
    let mut sections: Vec<&str> = key.path.split('.').collect();
    let name = sections.pop().unwrap_or_default();
    (sections, name)
}

fn setting(text: &mut String, indent: &str, name: &str, key: &Key) {
    comment(text, indent, &key.about.description);
    let restart = if key.needs_restart().is_some() { "; a change needs a restart" } else { "" };
    comment(text, indent, &format!("Value: {}{restart}", key.must_be()));
    for (word, meaning) in &key.about.words {
        comment(text, indent, &format!("  {word}: {meaning}"));
    }
    let or_file = if key.secret { "; with _FILE after the name: the path of a file with the value" } else { "" };
    comment(text, indent, &format!("Variables: {}{or_file}", variables_of(&key.path).join(", ")));
    if let Some(ginkgo) = secure_key(&key.path) {
        comment(text, indent, &format!("In Ginkgo's secure.yml: {ginkgo}"));
    }
    let value = key.about.default.as_ref().map_or(String::new(), |default| format!(" {}", yaml(default)));
    text.push_str(&format!("{indent}#{name}:{value}\n"));
}

/// Appends a comment, wrapped at [`WIDTH`].
fn comment(text: &mut String, indent: &str, words: &str) {
    let begin = format!("{indent}#{}", " ".repeat(1 + words.len() - words.trim_start().len()));
    let mut line = begin.clone();
    for word in words.split_whitespace() {
        if line.len() + word.len() > WIDTH {
            text.push_str(line.trim_end());
            text.push('\n');
            line.clone_from(&begin);
        }
        line.push_str(word);
        line.push(' ');
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

/// Formats a value as YAML. Text is unquoted only if YAML cannot read it as another type.
pub fn yaml(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(yaml).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn is_plain(text: &str) -> bool {
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | ':' | '-'))
        && !text.ends_with(':')
        && !words.contains(&text.to_ascii_lowercase().as_str())
}

/// The documentation page of all settings.
pub fn page() -> String {
    let mut text = format!("<!-- {WRITTEN_BY} -->\n\n{PAGE_HEAD}");
    text.push_str(
        "\n## Changes that need a restart\n\nA reload applies all changes except those of these settings:\n\n",
    );
    for (path, reason) in NEED_RESTART {
        let reloaded: Vec<String> = reloaded_of(path).map(|path| format!("`{path}`")).collect();
        let except = if reloaded.is_empty() { String::new() } else { format!(", except {}", reloaded.join(" and ")) };
        text.push_str(&format!("- `{path}`{except}: {reason}.\n"));
    }
    let mut section = String::new();
    for key in keys() {
        let sections = split(key).0.join(".");
        if sections != section {
            text.push_str(&format!("\n## `{sections}`\n\n{}\n\n", section_description(&sections)));
            text.push_str("| Setting | Meaning | Value | Default | Change | Variables |\n|---|---|---|---|---|---|\n");
            section = sections;
        }
        text.push_str(&row(key));
    }
    text
}

fn row(key: &Key) -> String {
    let value = match key.about.words.as_slice() {
        [] => key.must_be(),
        words => words.iter().map(|(word, meaning)| format!("`{word}`: {meaning}")).collect::<Vec<_>>().join("<br>"),
    };
    let default = match &key.about.default {
        None => "not set".to_owned(),
        Some(default) => format!("`{}`", yaml(default)),
    };
    let change = if key.needs_restart().is_some() { "restart" } else { "reload" };
    let or_file = if key.secret { "<br>(or with `_FILE`)" } else { "" };
    let variables: Vec<String> = variables_of(&key.path).iter().map(|name| format!("`{name}`")).collect();
    let ginkgo = secure_key(&key.path).map_or(String::new(), |ginkgo| format!("<br>`secure.yml`: `{ginkgo}`"));
    let cells = [
        &format!("`{}`", key.path),
        &key.about.description,
        &value,
        &default,
        change,
        &(variables.join("<br>") + or_file + &ginkgo),
    ]
    .map(|cell| cell.replace('|', "\\|"));
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::super::file::parse;
    use super::*;
    use std::path::Path;

    /// Asserts that a file of the repository equals the generated text.
    fn assert_current(path: &str, generated: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let line = text.lines().zip(generated.lines()).position(|(a, b)| a != b);
        let line = line.unwrap_or_else(|| text.lines().count().min(generated.lines().count())) + 1;
        assert!(text == generated, "{path} differs from the code at line {line}; run `make docs` to regenerate it");
    }

    #[test]
    fn repository_files_match_generated_text() {
        assert_current("docker/data_worker.yml", &default_file());
        assert_current("docs/configuration.md", &page());
    }

    #[test]
    fn uncommented_default_file_sets_every_default() {
        let (layer, problems) = parse(Path::new("d.yml"), &default_file());
        assert!(layer.is_empty() && problems.is_empty(), "{problems:?}");

        let is_name = |rest: &str| rest.starts_with(|c: char| c.is_ascii_lowercase());
        let uncommented = |line: &str| match line.split_once('#') {
            Some((indent, rest)) if is_name(rest) => format!("{indent}{rest}\n"),
            _ => format!("{line}\n"),
        };
        let text: String = default_file().lines().map(uncommented).collect();
        let (layer, problems) = parse(Path::new("d.yml"), &text);
        assert_eq!(problems, []);
        for key in keys().iter().filter(|key| !key.secret) {
            let entry = layer.get(key.path.as_str()).unwrap_or_else(|| panic!("{} is not set", key.path));
            let value: Value = config::Value::new(None, entry.value.clone()).try_deserialize().unwrap();
            assert_eq!(Some(&value), key.about.default.as_ref(), "{}", key.path);
        }
        assert_eq!(layer.len(), keys().iter().filter(|key| !key.secret).count(), "secrets are not set");
    }

    #[test]
    fn quotes_ambiguous_yaml_text() {
        let shown = |text: &str| yaml(&Value::from(text));
        assert_eq!(shown("heartbeat:data_worker"), "heartbeat:data_worker");
        for text in ["", "on", "7", "a b", "a:", "a # b", "~"] {
            assert_eq!(shown(text), format!("{text:?}"));
        }
    }

    #[test]
    fn a_long_comment_is_broken_and_keeps_its_indent() {
        let mut text = String::new();
        comment(&mut text, "  ", &format!("  {}", "word ".repeat(40)));
        assert!(text.lines().count() == 2 && text.lines().all(|line| line.starts_with("  #   word")), "{text}");
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
    }
}
