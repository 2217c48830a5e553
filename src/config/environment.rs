// Upstream: many
// Downstream: keys, layer, problem, value
// Role: Reads settings from environment variables and from the secret files that they name.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::keys::{Key, find, keys};
use super::problem::{Place, Problem};
use super::value;
use crate::config::layer::{Entry, Layer, unknown};

/// Prefix of the worker's own variables: `GINKGO_DATA_WORKER__BATCH__MAX_ROWS` sets `batch.max_rows`.
pub const PREFIX: &str = "GINKGO_DATA_WORKER__";

/// Suffix of a secret's variable that contains the path of a file with the value, as for container secrets.
const FILE_SUFFIX: &str = "_FILE";

/// Maximum size of a secret file, in bytes.
const MAX_SECRET_BYTES: u64 = 4_096;

/// Further variables of some settings, from Ginkgo and from the worker's specification. The first one that is set
/// applies.
const NAMES: &[(&str, &[&str])] = &[
    ("worker.node_id", &["GINKGO_NODE_ID"]),
    ("kafka.host", &["GINKGO_KAFKA_HOST", "KAFKA_HOST"]),
    ("kafka.port", &["GINKGO_KAFKA_PORT", "KAFKA_PORT"]),
    ("kafka.group_id", &["WORKER_GROUP_ID"]),
    ("redis.host", &["GINKGO_REDIS_HOST", "REDIS_HOST"]),
    ("redis.port", &["GINKGO_REDIS_PORT", "REDIS_PORT"]),
    ("redis.password", &["GINKGO_REDIS_PASSWORD", "REDIS_PASSWORD"]),
    ("clickhouse.host", &["GINKGO_CLICKHOUSE_HOST", "CLICKHOUSE_HOST"]),
    ("clickhouse.port", &["GINKGO_CLICKHOUSE_PORT", "CLICKHOUSE_PORT"]),
    ("clickhouse.user", &["GINKGO_CLICKHOUSE_USER", "CLICKHOUSE_USER"]),
    ("clickhouse.password", &["GINKGO_CLICKHOUSE_PASSWORD", "CLICKHOUSE_PASSWORD"]),
    ("clickhouse.database", &["GINKGO_CLICKHOUSE_DATABASE", "GINKGO_DATABASE", "CLICKHOUSE_DATABASE"]),
    ("mysql.host", &["GINKGO_MYSQL_HOST", "MYSQL_HOST"]),
    ("mysql.port", &["GINKGO_MYSQL_PORT", "MYSQL_PORT"]),
    ("mysql.user", &["GINKGO_MYSQL_USER", "MYSQL_USER"]),
    ("mysql.password", &["GINKGO_MYSQL_PASSWORD", "MYSQL_PASSWORD"]),
    ("mysql.database", &["GINKGO_MYSQL_DATABASE", "GINKGO_DATABASE", "MYSQL_DATABASE"]),
    ("sources.tushare.token", &["GINKGO_TUSHARE_TOKEN", "TUSHARE_TOKEN"]),
    ("log.folder", &["GINKGO_LOG_PATH"]),
];

/// Every variable of this setting, in descending precedence.
pub fn variables_of(path: &str) -> Vec<String> {
    let aliases = NAMES.iter().filter(|(key, _)| *key == path).flat_map(|(_, names)| *names);
    std::iter::once(generic_name(path)).chain(aliases.map(|name| (*name).to_owned())).collect()
}

fn generic_name(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").to_uppercase())
}

/// A snapshot of environment variables. An empty variable counts as not set.
#[derive(Clone, Default)]
pub struct Environment {
    /// `None`: the value is not valid UTF-8.
    variables: BTreeMap<String, Option<String>>,
    /// Whether the file system shows that the process runs in a container.
    has_container_marks: bool,
}

impl fmt::Debug for Environment {
    /// Shows only names, because values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), Some(value.into()))).collect();
        Self { variables, has_container_marks: false }
    }
}

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        let named = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let variables = named.map(|(name, value)| (name, value.into_string().ok())).collect();
        Self { variables, has_container_marks: has_container_marks(Path::new("/")) }
    }

    /// The value of a variable; `None` if it is empty or not valid UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name)?.as_deref().filter(|value| !value.is_empty())
    }

    /// Whether the process runs in a container, by the same criteria as Ginkgo's.
    pub fn is_in_container(&self) -> bool {
        self.has_container_marks
            || ["DOCKER_CONTAINER", "KUBERNETES_SERVICE_HOST"].iter().any(|name| self.get(name).is_some())
    }

    /// The folder of Ginkgo's own configuration files.
    pub fn ginkgo_folder(&self) -> Option<PathBuf> {
        let of_home = || self.get("HOME").map(|home| Path::new(home).join(".ginkgo"));
        self.get("GINKGO_DIR").map(PathBuf::from).or_else(of_home)
    }

    /// Sets a setting with precedence over all other variables, for an option of the command line.
    pub fn set(&mut self, path: &str, value: &str) {
        self.variables.insert(generic_name(path), Some(value.to_owned()));
    }

    /// The settings in these variables, their problems, and warnings for the operator.
    pub fn settings(&self) -> (Layer, Vec<Problem>, Vec<String>) {
        let (mut layer, mut problems, mut warnings) = (Layer::new(), self.unknown_names(), Vec::new());
        for key in keys() {
            match self.setting(key, &mut warnings) {
                Ok(Some(entry)) => {
                    layer.insert(&key.path, entry);
                }
                Ok(None) => {}
                Err(problem) => problems.push(problem),
            }
        }
        (layer, problems, warnings)
    }

    fn setting(&self, key: &Key, warnings: &mut Vec<String>) -> Result<Option<Entry>, Problem> {
        for name in variables_of(&key.path) {
            let Some((name, text)) = self.text(key, name)? else { continue };
            if is_container_link(&name, &text) {
                warnings.push(format!(
                    "environment variable {name} is ignored: it contains a container link ({text}), not a port; set {} \
                     instead",
                    generic_name(&key.path)
                ));
                continue;
            }
            match value::from_text(key, &text) {
                Ok(Some(value)) => return Ok(Some(Entry { value, place: Place::Variable(name) })),
                Ok(None) => {}
                Err(reason) => return Err(problem(name, key, reason)),
            }
        }
        Ok(None)
    }

    /// The text of a variable, or for a secret the text of the file that its `_FILE` variable names; with the name of
    /// the variable that is set.
    fn text(&self, key: &Key, name: String) -> Result<Option<(String, String)>, Problem> {
        if self.variables.get(&name) == Some(&None) {
            return Err(problem(name, key, "it is not valid UTF-8".to_owned()));
        }
        if let Some(text) = self.get(&name) {
            let text = text.to_owned();
            return Ok(Some((name, text)));
        }
        let name = format!("{name}{FILE_SUFFIX}");
        let Some(path) = self.get(&name).filter(|_| key.secret) else { return Ok(None) };
        match read_secret(path) {
            Ok(text) => Ok(Some((name, text))),
            Err(error) => Err(problem(name, key, format!("{path} cannot be read: {error}"))),
        }
    }

    fn unknown_names(&self) -> Vec<Problem> {
        let paths = self.variables.keys().filter_map(|name| Some((name, name.strip_prefix(PREFIX)?)));
        let paths = paths.map(|(name, rest)| (name, rest.to_lowercase().replace("__", ".")));
        let unknown_paths = paths.filter(|(_, path)| {
            let secret = path.strip_suffix("_file").and_then(find).is_some_and(|key| key.secret);
            find(path).is_none() && !secret
        });
        unknown_paths
            .map(|(name, path)| Problem {
                place: Place::Variable(name.clone()),
                reason: unknown("setting", &path),
                key: Some(path),
            })
            .collect()
    }
}

/// Kubernetes services and legacy Docker links set `REDIS_PORT=tcp://10.0.0.1:6379` for a service named `redis`.
fn is_container_link(name: &str, text: &str) -> bool {
    name.ends_with("_PORT") && text.starts_with("tcp://")
}

/// Whether the file system at `root` contains the marks of a container engine.
fn has_container_marks(root: &Path) -> bool {
    let groups = std::fs::read_to_string(root.join("proc/1/cgroup")).unwrap_or_default();
    root.join(".dockerenv").exists() || ["docker", "kubepods"].iter().any(|engine| groups.contains(engine))
}

fn read_secret(path: &str) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_SECRET_BYTES {
        return Err(std::io::Error::other(format!("it is larger than {MAX_SECRET_BYTES} bytes")));
    }
    // Some editors begin a file with a byte order mark, which no server takes as part of a password.
    Ok(text.trim_start_matches('\u{feff}').trim().to_owned())
}

fn problem(name: String, key: &Key, reason: String) -> Problem {
    Problem { place: Place::Variable(name), key: Some(key.path.clone()), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::ValueKind;

    fn read(variables: &[(&str, &str)]) -> (Layer, Vec<String>, Vec<String>) {
        let (layer, problems, warnings) = Environment::from_iter(variables.iter().copied()).settings();
        (layer, problems.iter().map(ToString::to_string).collect(), warnings)
    }

    fn text(layer: &Layer, path: &str) -> String {
        layer.get(path).map(|entry| entry.value.to_string()).unwrap_or_default()
    }

    #[test]
    fn every_name_belongs_to_a_setting() {
        for (path, _) in NAMES {
            assert!(find(path).is_some(), "{path}");
        }
    }

    #[test]
    fn worker_variable_precedes_ginkgo_and_plain_ones() {
        let all = [("GINKGO_DATA_WORKER__KAFKA__HOST", "a"), ("GINKGO_KAFKA_HOST", "b"), ("KAFKA_HOST", "c")];
        for (from, expected) in ["a", "b", "c"].into_iter().enumerate() {
            assert_eq!(text(&read(&all[from..]).0, "kafka.host"), expected);
        }
        let (layer, ..) = read(&[("GINKGO_KAFKA_HOST", ""), ("KAFKA_HOST", "c")]);
        assert_eq!(text(&layer, "kafka.host"), "c", "an empty variable counts as not set");
        assert_eq!(text(&read(&[("WORKER_GROUP_ID", "own")]).0, "kafka.group_id"), "own");
        let (layer, ..) = read(&[("GINKGO_DATABASE", "both"), ("GINKGO_MYSQL_DATABASE", "own")]);
        assert_eq!(
            (text(&layer, "clickhouse.database"), text(&layer, "mysql.database")),
            ("both".into(), "own".into())
        );
    }

    #[test]
    fn lists_and_nested_sections_can_be_set() {
        let (layer, problems, _) = read(&[
            ("GINKGO_DATA_WORKER__KAFKA__COMMAND_TOPICS", "one, two"),
            ("GINKGO_DATA_WORKER__SOURCES__FILES__FOLDER", "/data"),
        ]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(text(&layer, "sources.files.folder"), "/data");
        assert!(matches!(&layer["kafka.command_topics"].value, ValueKind::Array(items) if items.len() == 2));
    }

    #[test]
    fn bad_value_and_unknown_name_show_the_variable() {
        let (_, problems, _) = read(&[
            ("GINKGO_KAFKA_PORT", "x"),
            ("GINKGO_DATA_WORKER__BATCH__MAX_ROW", "5"),
            ("GINKGO_MYSQL_PASSWORD_FILE", "/nowhere/secret"),
        ]);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].contains("GINKGO_DATA_WORKER__BATCH__MAX_ROW: batch.max_row: "), "{problems:?}");
        assert!(problems[0].ends_with("did you mean batch.max_rows?"), "{problems:?}");
        assert!(problems[1].starts_with("environment variable GINKGO_KAFKA_PORT: kafka.port: "), "{problems:?}");
        assert!(problems[2].contains("/nowhere/secret cannot be read"), "{problems:?}");
    }

    #[test]
    fn secret_variable_precedes_secret_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "from file\n").unwrap();
        let file = ("GINKGO_CLICKHOUSE_PASSWORD_FILE", path.to_str().unwrap());
        let password = |variables: &[(&str, &str)]| text(&read(variables).0, "clickhouse.password");
        assert_eq!(password(&[file]), "from file");
        std::fs::write(&path, "\u{feff}from file\r\n").unwrap();
        assert_eq!(password(&[file]), "from file", "without the byte order mark");
        assert_eq!(password(&[file, ("GINKGO_CLICKHOUSE_PASSWORD", "direct")]), "direct");
        assert_eq!(password(&[("GINKGO_CLICKHOUSE_PASSWORD", "\"\"")]), "", "an unset password in Docker Compose");
        std::fs::write(&path, "x".repeat(5_000)).unwrap();
        assert!(read(&[file]).1[0].contains("larger than"));
    }

    #[test]
    fn a_container_link_is_no_port() {
        let (layer, problems, warnings) = read(&[("REDIS_PORT", "tcp://10.0.0.1:6379")]);
        assert!(layer.is_empty() && problems.is_empty());
        assert!(warnings[0].contains("REDIS_PORT is ignored"), "{warnings:?}");
    }

    #[test]
    fn detects_container_by_variables_and_files() {
        let by = |name| Environment::from_iter([(name, "1")]).is_in_container();
        assert!(by("DOCKER_CONTAINER") && by("KUBERNETES_SERVICE_HOST") && !by("HOME"));
        let marks = |file: &str, text: &str| {
            let root = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(root.path().join("proc/1")).unwrap();
            std::fs::write(root.path().join(file), text).unwrap();
            has_container_marks(root.path())
        };
        assert!(marks(".dockerenv", ""));
        assert!(marks("proc/1/cgroup", "12:cpu:/docker/0123\n") && marks("proc/1/cgroup", "0::/kubepods.slice/x\n"));
        assert!(!marks("proc/1/cgroup", "0::/init.scope\n") && !marks("other", ""));
    }

    #[test]
    fn debug_shows_names_alone() {
        let environment = Environment::from_iter([("TUSHARE_TOKEN", "s3cret")]);
        assert_eq!(format!("{environment:?}"), "{\"TUSHARE_TOKEN\"}");
    }
}
