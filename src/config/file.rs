// Upstream: config::environment, config::load, config::reference
// Downstream: config::environment, config::keys, config::problem, config::value
// Role: Finds the configuration file, reads it, and turns it into settings with the line each was written in.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use config::{FileFormat, Format, Map, Value, ValueKind};

use super::environment::Environment;
use super::keys::{find, is_section, nearest};
use super::problem::{Place, Problem};
use super::value;

/// Name of the configuration file.
pub const FILE_NAME: &str = "data_worker.yml";

/// The largest configuration file, in bytes; the full one with its comments has under 10 KB. Also bounds what its
/// parsing may take.
const MAX_BYTES: u64 = 65_536;

/// Settings written in one place, by path.
pub type Layer = BTreeMap<&'static str, Entry>;

/// A setting as it was written.
#[derive(Clone)]
pub struct Entry {
    /// Its value, of the setting's kind.
    pub value: ValueKind,
    /// Where it was written.
    pub place: Place,
}

/// What the search for a file came to.
pub enum Found {
    /// This file, with what stands in it and what is wrong with it.
    Read(PathBuf, Layer, Vec<Problem>),
    /// No file; these were looked for.
    Missing(Vec<PathBuf>),
}

/// Reads the first file there is among [`candidates`].
pub fn find_and_read(explicit: Option<&Path>, environment: &Environment) -> Found {
    let candidates = candidates(explicit, environment);
    for path in &candidates {
        let text = match read(path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
            Err(error) => {
                let problem = problem(path, None, None, format!("cannot be read: {error}"));
                return Found::Read(path.clone(), Layer::new(), vec![problem]);
            }
        };
        let (layer, problems) = parse(path, &text);
        return Found::Read(path.clone(), layer, problems);
    }
    Found::Missing(candidates)
}

/// The one file that is named, on the command line or by `GINKGO_DATA_WORKER_CONFIG`; else the usual places.
pub fn candidates(explicit: Option<&Path>, environment: &Environment) -> Vec<PathBuf> {
    let named = explicit.or_else(|| environment.get("GINKGO_DATA_WORKER_CONFIG").map(Path::new));
    if let Some(named) = named {
        return vec![named.to_owned()];
    }
    let ginkgo = environment
        .get("GINKGO_DIR")
        .map(PathBuf::from)
        .or_else(|| environment.get("HOME").map(|home| Path::new(home).join(".ginkgo")));
    let folders = [Some(PathBuf::from(".")), ginkgo, Some(PathBuf::from("/etc/ginkgo"))];
    folders.into_iter().flatten().map(|folder| folder.join(FILE_NAME)).collect()
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::other(format!("it is larger than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

/// The settings in a file's text, and everything that is wrong with it.
pub fn parse(path: &Path, text: &str) -> (Layer, Vec<Problem>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { path, lines: lines_of_keys(text), layer: Layer::new(), problems: Vec::new() };
    if let Some(line) = deeply_nested_line(text) {
        reader.problems.push(problem(path, Some(line), None, "it is nested too deeply".to_owned()));
    } else if text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        match FileFormat::Yaml.parse(None, text) {
            Ok(root) => reader.section("", &root),
            Err(error) => reader.problems.push(syntax_problem(path, &error.to_string())),
        }
    }
    reader.problems.sort();
    (reader.layer, reader.problems)
}

fn problem(path: &Path, line: Option<usize>, key: Option<&str>, reason: String) -> Problem {
    Problem { place: Place::File { path: path.to_owned(), line }, key: key.map(str::to_owned), reason }
}

/// The parser ends its messages with `at byte N line N column N`.
fn syntax_problem(path: &Path, message: &str) -> Problem {
    let (reason, position) = message.split_once(" at byte ").unwrap_or((message, ""));
    let line = position.split(' ').skip_while(|word| *word != "line").nth(1).and_then(|line| line.parse().ok());
    // A root that is no mapping is shown by the parser with its value, which may be a token pasted alone.
    let reason = if reason.starts_with("invalid type") { "the file holds no sections" } else { reason };
    problem(path, line, None, format!("it is no valid YAML: {reason}"))
}

/// The parser calls itself for every level: a line of thousands of dashes would exhaust the stack.
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

/// The line of every key in block style, counted from 1; the first one where a key is doubled.
fn lines_of_keys(text: &str) -> HashMap<String, usize> {
    let mut lines = HashMap::new();
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
        lines.entry(path).or_insert(index + 1);
    }
    lines
}

struct Reader<'a> {
    path: &'a Path,
    lines: HashMap<String, usize>,
    layer: Layer,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn section(&mut self, prefix: &str, table: &Map<String, Value>) {
        for (name, value) in table {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match (find(&path), &value.kind) {
                (Some(key), kind) => match value::from_file(key, kind) {
                    Ok(Some(value)) => {
                        let place = Place::File { path: self.path.to_owned(), line: self.line(&path) };
                        self.layer.insert(&key.path, Entry { value, place });
                    }
                    Ok(None) => {}
                    Err(reason) => self.reject(&path, reason),
                },
                (None, ValueKind::Table(inner)) if is_section(&path) => self.section(&path, inner),
                (None, ValueKind::Nil) if is_section(&path) => {}
                (None, _) if is_section(&path) => self.reject(&path, "it must be a section with settings".to_owned()),
                (None, _) => self.reject(&path, unknown("setting", &path)),
            }
        }
    }

    fn reject(&mut self, path: &str, reason: String) {
        let line = self.line(path);
        self.problems.push(problem(self.path, line, Some(path), reason));
    }

    fn line(&self, path: &str) -> Option<usize> {
        self.lines.get(path).copied()
    }
}

/// The message about a name that no setting has.
pub fn unknown(what: &str, path: &str) -> String {
    match nearest(path) {
        Some(near) => format!("there is no such {what}; is {near} meant?"),
        None => format!("there is no such {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        parse(Path::new("w.yml"), text).1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_problem_names_file_line_key_and_reason() {
        let text =
            "kafka:\n  port: many\n  hots: k\nbatch: 7\n\nsources:\n  tushare:\n    # the token\n    token: 12345\n";
        assert_eq!(
            problems(text),
            [
                "w.yml, line 2: kafka.port: it must be a whole number, 1 to 65535, but is \"many\"",
                "w.yml, line 3: kafka.hots: there is no such setting; is kafka.host meant?",
                "w.yml, line 4: batch: it must be a section with settings",
                "w.yml, line 9: sources.tushare.token: it must be text (the value is a secret and not shown); \
                 put it in quotes",
            ]
        );
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        let found = problems("kafka:\n  host: a\n port: 1\n");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("w.yml, line 3: it is no valid YAML: "), "{found:?}");
        let found = problems("kafka:\n  host: a\n  host: b\n");
        assert!(found[0].contains("duplicated key"), "{found:?}");
        assert_eq!(problems("s3cret-token"), ["w.yml: it is no valid YAML: the file holds no sections"]);
    }

    #[test]
    fn an_empty_file_and_empty_sections_set_nothing() {
        for text in ["", "\n# nothing\n", "\u{feff}kafka:\n  host:\nredis:\n"] {
            let (layer, problems) = parse(Path::new("w.yml"), text);
            assert!(layer.is_empty() && problems.is_empty(), "{text:?}: {problems:?}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_before_it_exhausts_the_stack() {
        for text in ["- ".repeat(30_000), "[".repeat(60_000), "{a: ".repeat(16_000), "? ".repeat(30_000)] {
            assert_eq!(problems(&text), ["w.yml, line 1: it is nested too deeply"]);
        }
        let stairs: String = (0..350).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
        assert_eq!(problems(&stairs).len(), 1);
    }

    #[test]
    fn the_named_file_comes_alone_and_else_the_usual_places() {
        let environment = Environment::from_iter([("GINKGO_DIR", "/g"), ("GINKGO_DATA_WORKER_CONFIG", "/c.yml")]);
        assert_eq!(candidates(Some(Path::new("x.yml")), &environment), [Path::new("x.yml")]);
        assert_eq!(candidates(None, &environment), [Path::new("/c.yml")]);
        let usual = ["./data_worker.yml", "/g/data_worker.yml", "/etc/ginkgo/data_worker.yml"].map(PathBuf::from);
        assert_eq!(candidates(None, &Environment::from_iter([("GINKGO_DIR", "/g")])), usual);
        let home = Environment::from_iter([("HOME", "/home/g")]);
        assert_eq!(candidates(None, &home)[1], Path::new("/home/g/.ginkgo/data_worker.yml"));
    }
}
