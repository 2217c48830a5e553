// Upstream: file, ginkgo
// Downstream: kit, problem
// Role: Parses a YAML file of limited size and depth, and records the line of every key.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use config::{FileFormat, Format, Map, Value};

use super::problem::{Place, Problem};

/// Maximum size of a configuration file, in bytes; the default file with all comments has about 60 KB. It also bounds
/// the cost of parsing.
const MAX_BYTES: u64 = 262_144;

/// A parsed file.
#[derive(Default)]
pub struct Document {
    /// The top-level keys with their values.
    pub root: Map<String, Value>,
    lines: HashMap<String, usize>,
}

impl Document {
    /// The line of the key at this path, counted from 1, if it is known.
    pub fn line(&self, path: &str) -> Option<usize> {
        self.lines.get(path).copied()
    }
}

/// Reads and parses the file at `path`; `None` if it does not exist.
pub fn read(path: &Path) -> Option<Result<Document, Problem>> {
    match text_of(path) {
        Ok(text) => Some(parse(path, &text)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
        Err(error) => Some(Err(problem(path, None, None, format!("cannot be read: {error}")))),
    }
}

fn text_of(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::other(format!("it is larger than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

/// Parses a text; `path` appears only in messages.
pub fn parse(path: &Path, text: &str) -> Result<Document, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(line) = deeply_nested_line(text) {
        return Err(problem(path, Some(line), None, "it is nested too deeply".to_owned()));
    }
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Document::default());
    }
    match FileFormat::Yaml.parse(None, text) {
        Ok(root) => Ok(Document { root, lines: lines_of_keys(text).0 }),
        Err(error) => Err(duplicate_problem(path, text, &error.to_string())
            .unwrap_or_else(|| syntax_problem(path, &error.to_string()))),
    }
}

/// Creates a problem of a file.
pub fn problem(path: &Path, line: Option<usize>, key: Option<&str>, reason: String) -> Problem {
    Problem { place: Place::File { path: path.to_owned(), line }, key: key.map(str::to_owned), reason }
}

/// The problem of a key that a section has twice. The parser names the place where the section ends, and the key in a
/// form of its own.
fn duplicate_problem(path: &Path, text: &str, message: &str) -> Option<Problem> {
    let (key, first, second) = lines_of_keys(text).1.filter(|_| message.contains("duplicated key"))?;
    // The problem is one of the whole file, so the key is part of the reason.
    let reason = format!("{key}: it is set in line {first} already; a section has each key once, so merge the two");
    Some(problem(path, Some(second), None, reason))
}

/// Extracts the line from the parser's message, which ends with `at byte N line N column N`.
fn syntax_problem(path: &Path, message: &str) -> Problem {
    let (reason, position) = message.split_once(" at byte ").unwrap_or((message, ""));
    let line = position.split(' ').skip_while(|word| *word != "line").nth(1).and_then(|line| line.parse().ok());
    // If the root is not a mapping, the parser's message contains its value, which may be a pasted token.
    let reason = if reason.starts_with("invalid type") { "the file contains no sections" } else { reason };
    problem(path, line, None, format!("invalid YAML: {reason}"))
}

/// The first line that exceeds the nesting limit. The parser recurses for every level: a line of thousands of dashes
/// would exhaust the stack.
fn deeply_nested_line(text: &str) -> Option<usize> {
    const MAX_LEVELS: usize = 32;
    let opens = |line: &str| line.matches(['[', '{']).count() + line.matches("- ").count() + line.matches("? ").count();
    let plain = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#'));
    let mut brackets = 0_usize;
    for (index, line) in plain {
        brackets = (brackets + line.matches(['[', '{']).count()).saturating_sub(line.matches([']', '}']).count());
        let indent = line.len() - line.trim_start().len();
        if opens(line).max(brackets).max(indent / 4) > MAX_LEVELS {
            return Some(index + 1);
        }
    }
    None
}

/// A key that is there twice: its path, its first and its second line.
type Duplicate = (String, usize, usize);

/// The line of every key in block style, counted from 1; of a duplicate key, its first line; and the first duplicate.
fn lines_of_keys(text: &str) -> (HashMap<String, usize>, Option<Duplicate>) {
    let mut lines = HashMap::new();
    let mut duplicate = None;
    let mut open: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        let Some((name, rest)) = content.split_once(':') else { continue };
        if content.starts_with(['#', '-']) || !(rest.is_empty() || rest.starts_with(char::is_whitespace)) {
            continue;
        }
        while open.last().is_some_and(|(outer, _)| *outer >= indent) {
            open.pop();
        }
        open.push((indent, name.trim().trim_matches(['"', '\'']).to_owned()));
        let path = open.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(".");
        match lines.get(&path) {
            Some(first) => duplicate = duplicate.or_else(|| Some((path.clone(), *first, index + 1))),
            None => drop(lines.insert(path, index + 1)),
        }
    }
    (lines, duplicate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        parse(Path::new("w.yml"), text).err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        let found = problems("kafka:\n  host: a\n port: 1\n");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("w.yml, line 3: invalid YAML: "), "{found:?}");
        let found = problems("kafka:\n  host: a\n  host: b\n");
        assert_eq!(
            found,
            ["w.yml, line 3: kafka.host: it is set in line 2 already; a section has each key once, so merge the two"]
        );
        let found = problems("kafka:\n  host: a\nredis:\n  host: b\n\nkafka:\n  port: 1\nlog:\n  level: info\n");
        assert!(found[0].starts_with("w.yml, line 6: kafka: it is set in line 1 already"), "{found:?}");
        assert_eq!(problems("s3cret-token"), ["w.yml: invalid YAML: the file contains no sections"]);
    }

    #[test]
    fn rejects_deep_nesting() {
        for text in ["- ".repeat(30_000), "[".repeat(60_000), "{a: ".repeat(16_000), "? ".repeat(30_000)] {
            assert_eq!(problems(&text), ["w.yml, line 1: it is nested too deeply"]);
        }
        let stairs: String = (0..350).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
        assert_eq!(problems(&stairs).len(), 1);
    }

    #[test]
    fn mutated_files_give_a_document_or_a_problem() {
        let sample =
            "kafka:\n  host: a # b\n  port: 9092\nsources:\n  bars: [tushare, \"files\"]\n  tushare: {token: x}\n";
        kit::fuzz::mutate_text(&[sample], |text| parse(Path::new("w.yml"), text));
    }
}
