// Upstream: cluster, load, reference
// Downstream: many
// Role: Reads settings from Ginkgo's own files, secure.yml and config.yml; the worker's own file overrides them.

//! Both files are in `$GINKGO_DIR`, by default in `~/.ginkgo`. The worker reads only the keys that it needs.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::{Value, ValueKind};

use super::environment::{Environment, variables_of};
use super::keys::{Key, find};
use super::kind::Kind;
use super::problem::{Place, Problem};
use super::value;
use super::yaml::{self, Document};
use crate::config::layer::{Entry, Layer};

/// Variable with an encryption key. If it is set, Ginkgo encrypts the passwords in `secure.yml` with it.
const ENCRYPTION_KEY: &str = "GINKGO_SECRET_KEY";

/// The settings that `secure.yml` contains, each with its key there.
const SECURE_KEYS: &[(&str, &str)] = &[
    ("kafka.host", "database.kafka.host"),
    ("kafka.port", "database.kafka.port"),
    ("redis.host", "database.redis.host"),
    ("redis.port", "database.redis.port"),
    ("redis.password", "database.redis.password"),
    ("clickhouse.host", "database.clickhouse.host"),
    ("clickhouse.port", "database.clickhouse.port"),
    ("clickhouse.user", "database.clickhouse.username"),
    ("clickhouse.password", "database.clickhouse.password"),
    ("clickhouse.database", "database.clickhouse.database"),
    ("mysql.host", "database.mysql.host"),
    ("mysql.port", "database.mysql.port"),
    ("mysql.user", "database.mysql.username"),
    ("mysql.password", "database.mysql.password"),
    ("mysql.database", "database.mysql.database"),
    ("sources.tushare.token", "tushare.token"),
];

/// The key in Ginkgo's `secure.yml` for this setting, if there is one.
pub fn secure_key(path: &str) -> Option<&'static str> {
    SECURE_KEYS.iter().find(|(setting, _)| *setting == path).map(|(_, key)| *key)
}

/// The content of Ginkgo's files, as far as the worker uses it.
#[derive(Default)]
pub struct GinkgoFiles {
    /// The settings in `secure.yml`.
    pub layer: Layer,
    /// The problems of both files.
    pub problems: Vec<Problem>,
    /// Warnings for the operator.
    pub warnings: Vec<String>,
    /// `env` in `config.yml`, and its place.
    pub env: Option<(String, Place)>,
    /// `debug` in `config.yml`, and its place.
    pub debug: Option<(String, Place)>,
}

/// Reads Ginkgo's files. A missing file is not a problem.
pub fn read(environment: &Environment) -> GinkgoFiles {
    let mut files = GinkgoFiles::default();
    let Some(folder) = environment.ginkgo_folder() else { return files };
    if let Some(config) = Source::open(folder.join("config.yml"), &mut files.problems) {
        let text = |path| config.value(path).map(|value| (value.kind.to_string(), config.place(path)));
        (files.env, files.debug) = (text("env"), text("debug"));
    }
    if let Some(secure) = Source::open(folder.join("secure.yml"), &mut files.problems) {
        for (setting, path) in SECURE_KEYS {
            let (Some(key), Some(value)) = (find(setting), secure.value(path)) else { continue };
            if is_password(key) && environment.get(ENCRYPTION_KEY).is_some() {
                files.warnings.push(encrypted(&secure.place(path), path, key));
                continue;
            }
            match read_value(key, &value.kind) {
                Ok(Some(value)) => {
                    files.layer.insert(&key.path, Entry { value, place: secure.place(path) });
                }
                Ok(None) => {}
                Err(reason) => {
                    files.problems.push(Problem { place: secure.place(path), key: Some((*path).to_owned()), reason });
                }
            }
        }
    }
    files.problems.sort();
    files
}

struct Source {
    path: PathBuf,
    document: Document,
}

impl Source {
    fn open(path: PathBuf, problems: &mut Vec<Problem>) -> Option<Self> {
        match yaml::read(&path)? {
            Ok(document) => Some(Self { path, document }),
            Err(problem) => {
                problems.push(problem);
                None
            }
        }
    }

    /// The value at a path; `None` if the path does not exist or the value is null.
    fn value(&self, path: &str) -> Option<&Value> {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let mut names = rest.split('.').filter(|name| !name.is_empty());
        let value = names.try_fold(self.document.root.get(first)?, |value, name| match &value.kind {
            ValueKind::Table(table) => table.get(name),
            _ => None,
        })?;
        (value.kind != ValueKind::Nil).then_some(value)
    }

    fn place(&self, path: &str) -> Place {
        Place::File { path: self.path.clone(), line: self.document.line(path) }
    }
}

fn is_password(key: &Key) -> bool {
    key.path.ends_with(".password")
}

/// Parses a value. As in Ginkgo, a number is accepted as text: a password of digits needs no quotes there.
fn read_value(key: &Key, value: &ValueKind) -> Result<Option<ValueKind>, String> {
    let value = match value {
        ValueKind::I64(number) if key.kind == Kind::Text => ValueKind::String(number.to_string()),
        other => other.clone(),
    };
    let read = value::from_file(key, &value)?;
    Ok(read.map(|read| match read {
        ValueKind::String(text) if is_password(key) => ValueKind::String(decoded(&text)),
        other => other,
    }))
}

/// Decodes a password if it is the base64 form of printable text, and otherwise returns it unchanged. The decoder
/// accepts only canonical base64 with padding, so that it mistakes few plain passwords for base64.
fn decoded(text: &str) -> String {
    let without_newlines = |text: &str| text.replace(['\n', '\r'], "");
    let bytes = STANDARD.decode(without_newlines(text.trim())).unwrap_or_default();
    let password = without_newlines(&String::from_utf8(bytes).unwrap_or_default());
    let is_printable = !password.is_empty() && !password.contains(char::is_control);
    if is_printable { password } else { text.to_owned() }
}

fn encrypted(place: &Place, path: &str, key: &Key) -> String {
    format!(
        "{place}: {path} is ignored: {ENCRYPTION_KEY} is set, so the value is encrypted (Fernet) and the worker cannot \
         decrypt it; set {} instead, or {} in the worker's own file",
        variables_of(&key.path).get(1).map_or("its variable", String::as_str),
        key.path
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn with(files: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in files {
                std::fs::write(folder.path().join(name), text).unwrap();
            }
            Self(folder)
        }

        fn read(&self, variables: &[(&str, &str)]) -> GinkgoFiles {
            let folder = ("GINKGO_DIR", self.0.path().to_str().unwrap());
            read(&Environment::from_iter(variables.iter().copied().chain([folder])))
        }
    }

    fn text(files: &GinkgoFiles, path: &str) -> String {
        files.layer.get(path).map_or("(unset)".to_owned(), |entry| entry.value.to_string())
    }

    const SECURE: &str = "\
database:
  clickhouse:
    database: ginkgo_db
    username: reader
    password: c2VjcmV0LTE=
    host: ch.internal
    port: 8123
  mysql:
    username: my
    password: pl$ain
    host: my.internal
    port: '3307'
  mongodb:
    host: mongo
  redis:
    host: re.internal
    password: 4711
  kafka:
    port: 9093
tushare:
  token: abcdef
telegram:
  token: other
";

    #[test]
    fn every_key_of_ginkgo_gives_a_setting_of_ours() {
        for (setting, key) in SECURE_KEYS {
            assert!(find(setting).is_some(), "{setting}");
            assert_eq!(secure_key(setting), Some(*key));
        }
        assert_eq!(secure_key("batch.max_rows"), None);
    }

    #[test]
    fn reads_addresses_and_secrets_of_secure_yml() {
        let folder = Folder::with(&[("secure.yml", SECURE)]);
        let files = folder.read(&[]);
        assert_eq!(files.problems, []);
        let expected = [
            ("clickhouse.database", "ginkgo_db"),
            ("clickhouse.user", "reader"),
            ("clickhouse.password", "secret-1"),
            ("clickhouse.host", "ch.internal"),
            ("clickhouse.port", "8123"),
            ("mysql.user", "my"),
            ("mysql.password", "pl$ain"),
            ("mysql.host", "my.internal"),
            ("mysql.port", "3307"),
            ("mysql.database", "(unset)"),
            ("redis.host", "re.internal"),
            ("redis.password", "4711"),
            ("kafka.port", "9093"),
            ("sources.tushare.token", "abcdef"),
        ];
        for (path, value) in expected {
            assert_eq!(text(&files, path), value, "{path}");
        }
        assert_eq!(files.layer.len(), 13);
        let file = folder.0.path().join("secure.yml");
        assert_eq!(files.layer["mysql.port"].place, Place::File { path: file, line: Some(12) });
    }

    #[test]
    fn decodes_only_base64_of_printable_text() {
        for (written, meant) in [
            ("aGVsbG8=", "hello"),
            ("aGVsbG8K", "hello"),
            ("aGVs\nbG8=", "hello"),
            ("5a+G56CB", "密码"),
            // Not canonical base64: no padding, or trailing bits.
            ("aGVsbG8", "aGVsbG8"),
            ("aGVsbG9=", "aGVsbG9="),
            // Valid base64, but not of printable text.
            ("password", "password"),
            ("AAECAwQF", "AAECAwQF"),
            ("Cg==", "Cg=="),
            ("p@ss word", "p@ss word"),
        ] {
            assert_eq!(decoded(written), meant, "{written:?}");
        }
    }

    #[test]
    fn warns_about_encrypted_password_without_showing_it() {
        let folder = Folder::with(&[("secure.yml", SECURE)]);
        let files = folder.read(&[("GINKGO_SECRET_KEY", "k3y")]);
        assert_eq!(
            (text(&files, "clickhouse.password"), text(&files, "mysql.password")),
            ("(unset)".into(), "(unset)".into())
        );
        assert_eq!(text(&files, "sources.tushare.token"), "abcdef", "a token is not encrypted");
        assert_eq!(files.warnings.len(), 3, "{:?}", files.warnings);
        let warning = files.warnings.iter().find(|warning| warning.contains("mysql")).unwrap();
        assert!(warning.contains("secure.yml, line 10: database.mysql.password is ignored"), "{warning}");
        assert!(
            warning.contains("MYSQL_PASSWORD") && !warning.contains("ain") && !warning.contains("k3y"),
            "{warning}"
        );
    }

    #[test]
    fn problems_name_file_and_line() {
        let secure = "database:\n  mysql:\n    port: many\n    host: [a]\n  kafka: 7\n";
        let files = Folder::with(&[("secure.yml", secure), ("config.yml", "env: x\n debug: true\n")]).read(&[]);
        let problems: Vec<String> = files.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].contains("config.yml, line 2: invalid YAML"), "{problems:?}");
        assert!(
            problems[1].contains("secure.yml, line 3: database.mysql.port: it must be a whole number"),
            "{problems:?}"
        );
        assert!(problems[2].contains("secure.yml, line 4: database.mysql.host: it must be text"), "{problems:?}");
    }

    #[test]
    fn config_yml_gives_the_environment_and_debug() {
        let folder = Folder::with(&[("config.yml", "log_path: /x\ndebug: true\nenv: DEVELOPMENT\n")]);
        let files = folder.read(&[]);
        let place = |line| Place::File { path: folder.0.path().join("config.yml"), line: Some(line) };
        assert_eq!(files.env, Some(("DEVELOPMENT".to_owned(), place(3))));
        assert_eq!(files.debug, Some(("true".to_owned(), place(2))));
    }

    #[test]
    fn without_files_and_without_a_folder_nothing_is_said() {
        for files in [Folder::with(&[]).read(&[]), read(&Environment::default())] {
            assert!(files.layer.is_empty() && files.problems.is_empty() && files.warnings.is_empty());
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_problem() {
        let folder = Folder::with(&[]);
        std::fs::create_dir(folder.0.path().join("secure.yml")).unwrap();
        let files = folder.read(&[]);
        assert!(files.problems[0].to_string().contains("secure.yml: cannot be read"), "{:?}", files.problems);
    }
}
