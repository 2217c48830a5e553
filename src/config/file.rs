// Upstream: config, fallback, load, reference
// Downstream: environment, keys, layer, problem, value, yaml
// Role: Finds and reads the configuration file, and returns its settings with their lines.

use crate::config::layer::{Entry, Layer, unknown};
use std::path::{Path, PathBuf};

use config::{Map, Value, ValueKind};

use super::environment::Environment;
use super::keys::{find, is_section};
use super::problem::{Place, Problem};
use super::value;
use super::yaml::{self, Document};

/// Name of the configuration file.
pub const FILE_NAME: &str = "data_worker.yml";

/// Result of the search for the configuration file.
pub enum Found {
    /// The file that was read, with its settings and its problems.
    Read(PathBuf, Layer, Vec<Problem>),
    /// No file exists; these paths were tried.
    Missing(Vec<PathBuf>),
}

/// Reads the first existing file of [`candidates`].
pub fn find_and_read(explicit: Option<&Path>, environment: &Environment) -> Found {
    let candidates = candidates(explicit, environment);
    for path in &candidates {
        if let Some(document) = yaml::read(path) {
            let (layer, problems) = settings(path, document);
            return Found::Read(path.clone(), layer, problems);
        }
    }
    Found::Missing(candidates)
}

/// The file that the user named explicitly. It is an error if it does not exist.
pub fn named_file<'a>(explicit: Option<&'a Path>, environment: &'a Environment) -> Option<&'a Path> {
    explicit.or_else(|| environment.get("GINKGO_DATA_WORKER_CONFIG").map(Path::new))
}

/// The file that the command line or `GINKGO_DATA_WORKER_CONFIG` names; otherwise the default paths.
pub fn candidates(explicit: Option<&Path>, environment: &Environment) -> Vec<PathBuf> {
    if let Some(named) = named_file(explicit, environment) {
        return vec![named.to_owned()];
    }
    let folders = [Some(PathBuf::from(".")), environment.ginkgo_folder(), Some(PathBuf::from("/etc/ginkgo"))];
    folders.into_iter().flatten().map(|folder| folder.join(FILE_NAME)).collect()
}

/// Parses the text of a file into its settings and all its problems.
#[cfg(test)]
pub fn parse(path: &Path, text: &str) -> (Layer, Vec<Problem>) {
    settings(path, yaml::parse(path, text))
}

fn settings(path: &Path, document: Result<Document, Problem>) -> (Layer, Vec<Problem>) {
    let document = match document {
        Ok(document) => document,
        Err(problem) => return (Layer::new(), vec![problem]),
    };
    let mut reader = Reader { path, document: &document, layer: Layer::new(), problems: Vec::new() };
    reader.section("", &document.root);
    reader.problems.sort();
    (reader.layer, reader.problems)
}

struct Reader<'a> {
    path: &'a Path,
    document: &'a Document,
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
                        let place = Place::File { path: self.path.to_owned(), line: self.document.line(&path) };
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
        let line = self.document.line(path);
        self.problems.push(yaml::problem(self.path, line, Some(&shown(path)), reason));
    }
}

/// The path as a message may show it. If the last name has characters that no setting name has, it may be a value in
/// the wrong place, often a secret, so `…` replaces it.
fn shown(path: &str) -> String {
    let (sections, name) = path.rsplit_once('.').map_or(("", path), |(sections, name)| (sections, name));
    let could_be_a_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    match (could_be_a_name, sections) {
        (true, _) => path.to_owned(),
        (false, "") => "…".to_owned(),
        (false, sections) => format!("{sections}.…"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::keys;

    fn problems(text: &str) -> Vec<String> {
        parse(Path::new("w.yml"), text).1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn hides_names_that_may_be_secrets() {
        assert_eq!(
            problems("redis:\n  pass_wrod: x\n  Geheim4711: password\ns3cret: 1\n"),
            [
                "w.yml, line 2: redis.pass_wrod: unknown setting; did you mean redis.password?",
                "w.yml, line 3: redis.…: unknown setting",
                "w.yml, line 4: …: unknown setting",
            ]
        );
        assert!(keys().iter().all(|key| shown(&key.path) == key.path), "the name of every setting can be shown");
    }

    #[test]
    fn every_problem_names_file_line_key_and_reason() {
        let text =
            "kafka:\n  port: many\n  hots: k\nbatch: 7\n\nsources:\n  tushare:\n    # the token\n    token: 12345\n";
        assert_eq!(
            problems(text),
            [
                "w.yml, line 2: kafka.port: it must be a whole number, 1 to 65535, but is \"many\"",
                "w.yml, line 3: kafka.hots: unknown setting; did you mean kafka.host?",
                "w.yml, line 4: batch: it must be a section with settings",
                "w.yml, line 9: sources.tushare.token: it must be text (the value is secret and is not shown); \
                 put it in quotes",
            ]
        );
    }

    #[test]
    fn an_empty_file_and_empty_sections_set_nothing() {
        for text in ["", "\n# nothing\n", "\u{feff}kafka:\n  host:\nredis:\n"] {
            let (layer, problems) = parse(Path::new("w.yml"), text);
            assert!(layer.is_empty() && problems.is_empty(), "{text:?}: {problems:?}");
        }
    }

    #[test]
    fn named_file_replaces_default_places() {
        let environment = Environment::from_iter([("GINKGO_DIR", "/g"), ("GINKGO_DATA_WORKER_CONFIG", "/c.yml")]);
        assert_eq!(candidates(Some(Path::new("x.yml")), &environment), [Path::new("x.yml")]);
        assert_eq!(candidates(None, &environment), [Path::new("/c.yml")]);
        let usual = ["./data_worker.yml", "/g/data_worker.yml", "/etc/ginkgo/data_worker.yml"].map(PathBuf::from);
        assert_eq!(candidates(None, &Environment::from_iter([("GINKGO_DIR", "/g")])), usual);
        let home = Environment::from_iter([("HOME", "/home/g")]);
        assert_eq!(candidates(None, &home)[1], Path::new("/home/g/.ginkgo/data_worker.yml"));
    }
}
