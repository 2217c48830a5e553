// Upstream: cli
// Downstream: environment, file, ginkgo, keys, schema
// Role: Writes the commented default file and the page about all settings from the code.

//! Both texts stand in the repository, as `docker/data_worker.yml` and `docs/configuration.md`. `make docs` writes them
//! anew; a test fails where they differ from the code.

use serde_json::Value;

use super::environment::variables_of;
use super::ginkgo::secure_key;
use super::keys::{Key, NEED_RESTART, keys};
use super::schema::section_description;

/// The widest line of a comment in the default file.
const WIDTH: usize = 110;

/// What stands above the list of settings on the page.
const PAGE_HEAD: &str = include_str!("reference.md");

const FILE_HEAD: &str = "\
Configuration of the data worker: every setting with its default, commented out. Take away the # before a name to set it. \
What stays commented out comes from the environment, from Ginkgo's secure.yml, or is the default. \
`data-worker config check FILE` finds mistakes; docs/configuration.md says more.";

const WRITTEN_BY: &str = "In the repository this is written by `make docs` from the comments in the code: edit those.";

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
    let or_file = if key.secret { "; with _FILE after the name: the path of a file that holds it" } else { "" };
    comment(text, indent, &format!("Variables: {}{or_file}", variables_of(&key.path).join(", ")));
    if let Some(ginkgo) = secure_key(&key.path) {
        comment(text, indent, &format!("In Ginkgo's secure.yml: {ginkgo}"));
    }
    let value = key.about.default.as_ref().map_or(String::new(), |default| format!(" {}", yaml(default)));
    text.push_str(&format!("{indent}#{name}:{value}\n"));
}

/// Adds a comment, on as many lines as it needs.
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

/// A value as YAML: text without quotation marks only where nobody could take it for anything else.
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

/// The page about all settings.
pub fn page() -> String {
    let mut text = format!("<!-- {WRITTEN_BY} -->\n\n{PAGE_HEAD}");
    text.push_str("\n## Changes while the worker runs\n\nA reload applies every change at once, except for these:\n\n");
    for (path, reason) in NEED_RESTART {
        text.push_str(&format!("- `{path}`: {reason}.\n"));
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

    /// A file of the repository must be what the code writes.
    fn assert_current(path: &str, generated: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let line = text.lines().zip(generated.lines()).position(|(a, b)| a != b);
        let line = line.unwrap_or_else(|| text.lines().count().min(generated.lines().count())) + 1;
        assert!(text == generated, "{path} differs from the code at line {line}; run `make docs` to write it anew");
    }

    #[test]
    fn the_files_in_the_repository_are_what_the_code_writes() {
        assert_current("docker/data_worker.yml", &default_file());
        assert_current("docs/configuration.md", &page());
    }

    #[test]
    fn the_default_file_sets_nothing_and_with_every_setting_uncommented_it_sets_the_defaults() {
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
    fn a_text_that_yaml_would_take_for_something_else_is_quoted() {
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
