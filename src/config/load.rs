// Upstream: app, backfill, cli, config, main, tests::it
// Downstream: many
// Role: Merges defaults, Ginkgo's files, the worker's file and the environment into checked settings.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use config::ValueKind;

use super::assemble::{assemble, named_places, overlay};
use super::cluster::Cluster;
use super::environment::Environment;
use super::fallback::{ValidPart, valid_part};
use super::file::{Found, find_and_read, named_file};
use super::keys::{Key, find, keys};
use super::problem::{ConfigProblems, Place, Problem};
use super::sections::Settings;
use super::{check, ginkgo};
use crate::config::layer::Layer;

/// A valid configuration.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings, including the resolved node id.
    pub settings: Settings,
    /// The configuration file, if there is one.
    pub origin: Option<PathBuf>,
    /// Warnings for the operator, without secrets.
    pub warnings: Vec<String>,
    /// What is most likely wrong, although a worker starts with it; `config check` fails on it.
    pub doubts: Vec<Problem>,
    /// Where each setting was set; settings that are not in the map are defaults.
    places: BTreeMap<&'static str, Place>,
    secrets: Secrets,
}

/// The secrets as they were set, for comparison only; never shown.
#[derive(Clone, Default, PartialEq)]
struct Secrets(BTreeMap<&'static str, ValueKind>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Loaded {
    /// The place where this setting was set.
    pub fn place(&self, path: &str) -> &Place {
        self.places.get(path).unwrap_or(&Place::Default)
    }

    /// The settings whose values differ from those of `before`, regardless of where they were set.
    pub fn changed_since(&self, before: &Self) -> Vec<&'static Key> {
        // Serialization masks secrets, so they are compared separately.
        let values = |loaded: &Self| serde_json::to_value(&loaded.settings).unwrap_or_default();
        let (old, new) = (values(before), values(self));
        let differs = |key: &&Key| {
            let pointer = format!("/{}", key.path.replace('.', "/"));
            let path = key.path.as_str();
            old.pointer(&pointer) != new.pointer(&pointer) || before.secrets.0.get(path) != self.secrets.0.get(path)
        };
        keys().iter().filter(differs).collect()
    }
}

/// A valid configuration, and the problems of the written one if it was not usable as a whole.
#[derive(Debug)]
pub struct Fallback {
    /// The usable configuration.
    pub loaded: Loaded,
    /// The problems of the written configuration; `None`: `loaded` is the written configuration.
    pub problems: Option<ConfigProblems>,
}

/// Loads the configuration. Precedence: environment variables, the file, Ginkgo's own files, the defaults.
///
/// The file is `explicit`, otherwise the one that `GINKGO_DATA_WORKER_CONFIG` names, otherwise the first existing of
/// `./data_worker.yml`, `$GINKGO_DIR/data_worker.yml` (by default in `~/.ginkgo`) and `/etc/ginkgo/data_worker.yml`. A
/// missing file is a warning. The error contains all problems, not only the first.
pub fn load(explicit: Option<&Path>, environment: &Environment) -> Result<Loaded, ConfigProblems> {
    Written::read(explicit, environment).strictly()
}

/// Like [`load`], but also refuses a named file that does not exist.
pub fn load_strictly(explicit: Option<&Path>, environment: &Environment) -> Result<Loaded, ConfigProblems> {
    let mut problems: Vec<Problem> = named_file(explicit, environment)
        .filter(|path| !path.exists())
        .map(|path| {
            let place = Place::File { path: path.to_owned(), line: None };
            Problem { place, key: None, reason: "file not found".to_owned() }
        })
        .into_iter()
        .collect();
    match load(explicit, environment) {
        Ok(loaded) if problems.is_empty() => Ok(loaded),
        Ok(_) => Err(ConfigProblems(problems)),
        Err(further) => {
            problems.extend(further.0);
            Err(ConfigProblems(problems))
        }
    }
}

/// Like [`load`], but omits what is wrong so that a worker can start: each wrong setting falls back alone, to the next
/// place that sets it or to its default. A file that cannot be read is ignored as a whole.
///
/// Returns an error only if Ginkgo's guard forbids a host. The worker must not start then, because it could write into
/// the wrong store; it must not start with the defaults either, because nobody configured them.
pub fn load_or_defaults(explicit: Option<&Path>, environment: &Environment) -> Result<Fallback, ConfigProblems> {
    let written = Written::read(explicit, environment);
    match written.strictly() {
        Ok(loaded) => Ok(Fallback { loaded, problems: None }),
        Err(problems) if written.cluster.forbidden_hosts(&written.all()).is_empty() => {
            let (loaded, conflicts) = written.leniently()?;
            let named = problems.0.into_iter().map(|problem| match (&problem.key, &problem.place) {
                (None, Place::File { .. }) => {
                    Problem { reason: format!("{}; the whole file is ignored", problem.reason), ..problem }
                }
                _ => problem,
            });
            Ok(Fallback { loaded, problems: Some(ConfigProblems(named.chain(conflicts).collect())) })
        }
        Err(problems) => Err(problems),
    }
}

/// The settings of one place that can be read, and the problems of the others.
#[derive(Default)]
struct Part {
    layer: Layer,
    problems: Vec<Problem>,
}

/// All layers, valid or not, in ascending precedence.
struct Written {
    /// Defaults that Ginkgo's port rule changes.
    defaults: Part,
    ginkgo: Part,
    file: Part,
    environment: Part,
    origin: Option<PathBuf>,
    cluster: Cluster,
    warnings: Vec<String>,
}

impl Written {
    fn read(explicit: Option<&Path>, variables: &Environment) -> Self {
        let (environment, environment_problems, mut warnings) = variables.settings();
        let (origin, file) = match find_and_read(explicit, variables) {
            Found::Read(path, layer, problems) => (Some(path), Part { layer, problems }),
            Found::Missing(candidates) => {
                let names: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
                warnings.push(format!("no configuration file: {} not found; the defaults apply", names.join(", ")));
                (None, Part::default())
            }
        };
        let ginkgo = ginkgo::read(variables);
        let cluster = Cluster::of(variables, &ginkgo);
        warnings.extend(ginkgo.warnings.into_iter().chain(cluster.warning()));
        let mut written = Self {
            defaults: Part::default(),
            ginkgo: Part { layer: ginkgo.layer, problems: ginkgo.problems },
            file,
            environment: Part { layer: environment, problems: environment_problems },
            origin,
            cluster,
            warnings,
        };
        written.defaults.problems = written.cluster.prefix_ports(
            &mut written.defaults.layer,
            &mut written.ginkgo.layer,
            &mut written.environment.layer,
        );
        written
    }

    fn all(&self) -> Layer {
        overlay([&self.defaults.layer, &self.ginkgo.layer, &self.file.layer, &self.environment.layer])
    }

    fn strictly(&self) -> Result<Loaded, ConfigProblems> {
        let parts = [&self.file, &self.ginkgo, &self.environment, &self.defaults];
        let mut problems: Vec<Problem> = parts.into_iter().flat_map(|part| part.problems.iter().cloned()).collect();
        let all = self.all();
        problems.extend(self.cluster.forbidden_hosts(&all));
        match assemble(&all) {
            Ok(settings) if problems.is_empty() => Ok(self.loaded(settings, &all, self.origin.clone())),
            Ok(_) => Err(ConfigProblems(problems)),
            Err(further) => {
                problems.extend(further);
                Err(ConfigProblems(problems))
            }
        }
    }

    /// The valid part, and what was removed from it as a conflict.
    fn leniently(&self) -> Result<(Loaded, Vec<Problem>), ConfigProblems> {
        let layers = [&self.defaults, &self.ginkgo, &self.file, &self.environment].map(|part| part.layer.clone());
        let ValidPart { settings, layer, conflicts } = valid_part(layers);
        let forbidden = self.cluster.forbidden_hosts(&layer);
        if !forbidden.is_empty() {
            return Err(ConfigProblems(forbidden));
        }
        // A file that cannot be read has no settings and one problem without a setting.
        let is_ignored = self.file.layer.is_empty() && self.file.problems.iter().any(|problem| problem.key.is_none());
        let origin = self.origin.clone().filter(|_| !is_ignored);
        Ok((self.loaded(settings, &layer, origin), conflicts))
    }

    fn loaded(&self, settings: Settings, layer: &Layer, origin: Option<PathBuf>) -> Loaded {
        let warnings = self.warnings.iter().cloned().chain(check::warnings(&settings)).collect();
        let places = layer.iter().map(|(path, entry)| (*path, entry.place.clone())).collect();
        let secret = |path: &str| find(path).is_some_and(|key| key.secret);
        let secrets = layer.iter().filter(|(path, _)| secret(path));
        let secrets = Secrets(secrets.map(|(path, entry)| (*path, entry.value.clone())).collect());
        let doubts = named_places(check::doubts(&settings), layer);
        Loaded { settings, origin, warnings, doubts, places, secrets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    /// A folder with configuration files.
    struct Written(tempfile::TempDir);

    impl Written {
        fn files(files: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in files {
                std::fs::write(folder.path().join(name), text).unwrap();
            }
            Self(folder)
        }

        fn environment(&self, variables: &[(&str, &str)]) -> Environment {
            let folder = ("GINKGO_DIR", self.0.path().to_str().unwrap());
            Environment::from_iter(variables.iter().copied().chain([folder]))
        }

        fn load(&self, variables: &[(&str, &str)]) -> Result<Loaded, ConfigProblems> {
            load(Some(&self.0.path().join("data_worker.yml")), &self.environment(variables))
        }

        fn fall_back(&self, variables: &[(&str, &str)]) -> Result<Fallback, ConfigProblems> {
            load_or_defaults(Some(&self.0.path().join("data_worker.yml")), &self.environment(variables))
        }
    }

    const SECURE: &str = "database:\n  mysql:\n    host: of-ginkgo\n    port: 3307\n    password: cGFzcw==\n";
    const OWN: &str = "mysql:\n  host: of-file\nkafka:\n  host: of-file\n";

    #[test]
    fn environment_precedes_own_file_ginkgo_and_defaults() {
        let written = Written::files(&[("secure.yml", SECURE), ("data_worker.yml", OWN)]);
        let loaded = written.load(&[("GINKGO_KAFKA_HOST", "of-variable")]).unwrap();
        let settings = &loaded.settings;
        assert_eq!((settings.kafka.host.as_str(), settings.mysql.host.as_str()), ("of-variable", "of-file"));
        assert_eq!((settings.mysql.port, settings.redis.port), (3307, 6379));
        assert_eq!(settings.mysql.password.as_ref().unwrap().expose_secret(), "pass");
        let folder = written.0.path().display();
        assert_eq!(loaded.place("kafka.host").to_string(), "environment variable GINKGO_KAFKA_HOST");
        assert_eq!(loaded.place("mysql.host").to_string(), format!("{folder}/data_worker.yml, line 2"));
        assert_eq!(loaded.place("mysql.password").to_string(), format!("{folder}/secure.yml, line 5"));
        assert_eq!(loaded.place("redis.port"), &Place::Default);
        assert!(!format!("{loaded:?}").contains("pass\""), "{loaded:?}");
    }

    #[test]
    fn detects_changed_values_and_secrets() {
        let written = Written::files(&[("data_worker.yml", OWN)]);
        let before = written.load(&[]).unwrap();
        let changed = |variables: &[(&str, &str)]| -> Vec<String> {
            written.load(variables).unwrap().changed_since(&before).iter().map(|key| key.path.clone()).collect()
        };
        assert_eq!(changed(&[]), [""; 0]);
        assert_eq!(changed(&[("GINKGO_KAFKA_HOST", "of-file")]), [""; 0], "the same value in another place");
        assert_eq!(changed(&[("GINKGO_KAFKA_PORT", "9092")]), [""; 0], "the default, set explicitly");
        assert_eq!(changed(&[("GINKGO_KAFKA_PORT", "9093")]), ["kafka.port"]);
        let one = [("GINKGO_MYSQL_PASSWORD", "one")];
        assert_eq!(changed(&one), ["mysql.password"]);
        let (one, two) = (written.load(&one).unwrap(), written.load(&[("GINKGO_MYSQL_PASSWORD", "two")]).unwrap());
        assert_eq!(two.changed_since(&one).len(), 1);
        assert!(!format!("{two:?}").contains("two"));
    }

    #[test]
    fn port_prefix_spares_own_file_but_not_defaults() {
        let written = Written::files(&[("secure.yml", SECURE), ("config.yml", "env: DEVELOPMENT\n")]);
        let ports = |loaded: &Loaded| (loaded.settings.clickhouse.port, loaded.settings.mysql.port);
        let loaded = written.load(&[]).unwrap();
        assert_eq!(ports(&loaded), (18123, 13307));
        assert_eq!(loaded.place("clickhouse.port").to_string(), "default, prefixed with 1 by Ginkgo's port rule");
        assert_eq!(ports(&written.load(&[("DOCKER_CONTAINER", "1")]).unwrap()), (8123, 3307));
        std::fs::write(written.0.path().join("data_worker.yml"), "mysql:\n  port: 3308\n").unwrap();
        assert_eq!(ports(&written.load(&[]).unwrap()), (18123, 3308));
        assert_eq!(ports(&written.load(&[("GINKGO_MYSQL_PORT", "3309")]).unwrap()), (18123, 13309));
    }

    #[test]
    fn wrong_keys_fall_back_alone_and_are_named() {
        let broken = "mysql:\n  host: of-file\n  prot: 1\nbatch:\n  max_rows: 0\n  flush_interval_ms: 1234\n";
        let written = Written::files(&[("secure.yml", SECURE), ("data_worker.yml", broken)]);
        let fallback = written.fall_back(&[("KAFKA_PORT", "x"), ("REDIS_HOST", "of-variable")]).unwrap();
        let problems = fallback.problems.unwrap().to_string();
        for part in ["line 3: mysql.prot: ", "line 5: batch.max_rows: it is 0", "KAFKA_PORT: kafka.port: "] {
            assert!(problems.contains(part), "{part}: {problems}");
        }
        let settings = &fallback.loaded.settings;
        assert_eq!((settings.mysql.host.as_str(), settings.redis.host.as_str()), ("of-file", "of-variable"));
        assert_eq!((settings.batch.max_rows, settings.batch.flush_interval_ms), (50_000, 1_234));
        assert_eq!((settings.mysql.port, settings.kafka.port), (3307, 9092), "what is below the wrong value");
        assert!(fallback.loaded.origin.is_some(), "the file counts");
    }

    #[test]
    fn an_unreadable_file_is_ignored_as_a_whole() {
        let written = Written::files(&[("secure.yml", SECURE), ("data_worker.yml", "mysql:\n  host: a\n port: 1\n")]);
        let fallback = written.fall_back(&[]).unwrap();
        let problems = fallback.problems.unwrap().to_string();
        assert!(problems.contains("line 3: invalid YAML") && problems.ends_with("; the whole file is ignored"));
        assert_eq!(fallback.loaded.settings.mysql.host, "of-ginkgo");
        assert_eq!(fallback.loaded.origin, None);
    }

    #[test]
    fn strict_loading_refuses_a_named_file_that_is_not_there() {
        let written = Written::files(&[]);
        let path = written.0.path().join("gone.yml");
        let named = ("GINKGO_DATA_WORKER_CONFIG", path.to_str().unwrap());
        for (explicit, variables) in [(Some(path.as_path()), vec![("A", "b")]), (None, vec![named])] {
            let problems = load_strictly(explicit, &written.environment(&variables)).unwrap_err().to_string();
            assert!(problems.ends_with("gone.yml: file not found"), "{problems}");
        }
        assert!(load_strictly(None, &written.environment(&[("A", "b")])).is_ok(), "no file is named");
    }

    #[test]
    fn broken_ginkgo_file_leaves_own_file_in_force() {
        let broken = "database:\n  mysql:\n    host: of-ginkgo\n    port: x\n";
        let written = Written::files(&[("secure.yml", broken), ("data_worker.yml", OWN)]);
        let problems = written.load(&[]).unwrap_err().to_string();
        assert!(
            problems.ends_with(
                "secure.yml, line 4: database.mysql.port: it must be a whole number, 1 to 65535, but is \"x\""
            )
        );
        let loaded = written.fall_back(&[]).unwrap().loaded;
        assert_eq!((loaded.settings.mysql.port, loaded.settings.mysql.host.as_str()), (3306, "of-file"));
        assert!(loaded.origin.is_some());
    }

    #[test]
    fn fallback_still_rejects_hosts_of_other_environment() {
        let production = ("GINKGO_ENV", "PRODUCTION");
        let secure = "database:\n  clickhouse:\n    host: clickhouse-test\n";
        let written = Written::files(&[("secure.yml", secure), ("data_worker.yml", "batch:\n  max_rows: 0\n")]);
        for variables in [vec![production], vec![production, ("KAFKA_PORT", "x")], vec![]] {
            let problems = written.fall_back(&variables).unwrap_err().to_string();
            assert!(problems.contains("secure.yml, line 3: clickhouse.host: it is \"clickhouse-test\""), "{problems}");
        }
        assert!(written.fall_back(&[production, ("GINKGO_SKIP_CLUSTER_GUARD", "1")]).is_ok());
        assert!(written.fall_back(&[("GINKGO_ENV", "DEVELOPMENT")]).is_ok());
        // The other host cannot be used; the one that remains is forbidden.
        let own = "clickhouse:\n  host: http://clickhouse-master\nbatch:\n  max_rows: 0\n";
        std::fs::write(written.0.path().join("data_worker.yml"), own).unwrap();
        assert!(written.fall_back(&[production]).is_err());
    }

    #[test]
    fn missing_file_warns_and_defaults_apply() {
        let loaded = Written::files(&[]).load(&[]).unwrap();
        assert!(loaded.warnings[0].ends_with("data_worker.yml not found; the defaults apply"), "{:?}", loaded.warnings);
        assert_eq!((loaded.settings.batch.max_rows, loaded.origin), (50_000, None));
        assert!(loaded.settings.worker.node_id.starts_with("data_worker_"));
    }
}
