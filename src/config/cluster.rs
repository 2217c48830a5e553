// Upstream: load
// Downstream: environment, ginkgo, keys, layer, problem
// Role: Ginkgo's environment, PRODUCTION or DEVELOPMENT, and its two rules: the 1 before ports, and the guard of hosts.

//! Both rules are Ginkgo's own and concern ClickHouse and MySQL alone (its Compose file uses `redis-master` in
//! DEVELOPMENT). They hold whether a value comes from Ginkgo's file, from one of its variables or from its default. The
//! port rule leaves alone what only this worker reads, its own file and variables: there a port is meant as written.

use config::ValueKind;

use super::environment::{Environment, PREFIX};
use super::ginkgo::GinkgoFiles;
use super::keys::find;
use super::problem::{Place, Problem};
use crate::config::layer::{Entry, Layer};

/// Switches the guard off where it is `1`.
const SKIP_GUARD: &str = "GINKGO_SKIP_CLUSTER_GUARD";

/// Ports with Ginkgo's rule.
const PORTS: [&str; 2] = ["clickhouse.port", "mysql.port"];

/// Hosts with Ginkgo's guard.
const HOSTS: [&str; 2] = ["clickhouse.host", "mysql.host"];

const PRODUCTION: &str = "PRODUCTION";
const DEVELOPMENT: &str = "DEVELOPMENT";

/// The environment Ginkgo runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    name: String,
    /// Where the name was found, for messages.
    origin: String,
    in_container: bool,
    is_guarded: bool,
}

impl Cluster {
    /// From `GINKGO_ENV`, else from `env` in `config.yml`, else DEVELOPMENT where debug is on.
    pub fn of(environment: &Environment, files: &GinkgoFiles) -> Self {
        let variable = |name: &str| Some((environment.get(name)?.to_owned(), Place::Variable(name.to_owned())));
        let named = variable("GINKGO_ENV").or_else(|| files.env.clone());
        let (name, origin) = match (named, variable("GINKGO_DEBUG_MODE").or_else(|| files.debug.clone())) {
            (Some((name, place)), _) => (name.trim().to_ascii_uppercase(), place.to_string()),
            (None, Some((debug, place))) if is_on(&debug) => (DEVELOPMENT.to_owned(), format!("debug is on, {place}")),
            (None, _) => (PRODUCTION.to_owned(), "debug is off".to_owned()),
        };
        let is_guarded = environment.get(SKIP_GUARD) != Some("1");
        Self { name, origin, in_container: environment.is_in_container(), is_guarded }
    }

    /// What is worth a warning.
    pub fn warning(&self) -> Option<String> {
        let known = [PRODUCTION, DEVELOPMENT].contains(&self.name.as_str());
        (!known).then(|| {
            format!(
                "Ginkgo's environment is {:.40?} ({}), neither {PRODUCTION} nor {DEVELOPMENT}",
                self.name, self.origin
            )
        })
    }

    /// Puts a 1 before the ports of ClickHouse and MySQL, 8123 to 18123, in DEVELOPMENT outside containers.
    pub fn prefix_ports(&self, defaults: &mut Layer, ginkgo: &mut Layer, environment: &mut Layer) -> Vec<Problem> {
        if self.name != DEVELOPMENT || self.in_container {
            return Vec::new();
        }
        let mut problems = Vec::new();
        for key in PORTS.into_iter().filter_map(find) {
            if let Some(default) = key.about.default.as_ref().and_then(serde_json::Value::as_u64) {
                defaults.insert(&key.path, Entry { value: ValueKind::U64(default), place: Place::Default });
            }
            for layer in [&mut *defaults, ginkgo, environment] {
                let of_ginkgo =
                    |entry: &&mut Entry| !matches!(&entry.place, Place::Variable(name) if name.starts_with(PREFIX));
                let prefixed = layer.get_mut(key.path.as_str()).filter(of_ginkgo).map(prefix);
                problems.extend(prefixed.and_then(|outcome| outcome.err()).map(|(place, reason)| Problem {
                    place,
                    key: Some(key.path.clone()),
                    reason,
                }));
            }
        }
        problems
    }

    /// Hosts of the other environment, which must not be connected to. `settings`: all layers, put together.
    pub fn forbidden_hosts(&self, settings: &Layer) -> Vec<Problem> {
        let wrong_end = match self.name.as_str() {
            PRODUCTION => "-test",
            DEVELOPMENT => "-master",
            _ => return Vec::new(),
        };
        let hosts = HOSTS.into_iter().filter_map(|path| Some((path, settings.get(path)?)));
        let forbidden = hosts.filter(|(_, entry)| {
            self.is_guarded && entry.value.to_string().trim().to_ascii_lowercase().ends_with(wrong_end)
        });
        forbidden
            .map(|(path, entry)| Problem {
                place: entry.place.clone(),
                key: Some(path.to_owned()),
                reason: format!(
                    "it is {:.80?}, but Ginkgo's environment is {} ({}), where no host ends in {wrong_end}; correct \
                     the host or GINKGO_ENV, or set {SKIP_GUARD}=1",
                    entry.value.to_string(),
                    self.name,
                    self.origin
                ),
            })
            .collect()
    }
}

fn is_on(text: &str) -> bool {
    ["true", "1", "yes", "on"].contains(&text.trim().to_ascii_lowercase().as_str())
}

/// A port that begins with 1 already stays, and 0 is no port in any case.
fn prefix(entry: &mut Entry) -> Result<(), (Place, String)> {
    let port = entry.value.to_string();
    if port.starts_with(['0', '1']) {
        return Ok(());
    }
    let prefixed = format!("1{port}");
    match prefixed.parse::<u16>() {
        Ok(prefixed) => {
            let place = Place::Prefixed(Box::new(entry.place.clone()));
            *entry = Entry { value: ValueKind::U64(prefixed.into()), place };
            Ok(())
        }
        Err(_) => {
            let reason = format!(
                "it is {port}, before which Ginkgo puts a 1 in {DEVELOPMENT} outside containers, but {prefixed} is no \
                 port; set the port in the worker's own file"
            );
            Err((entry.place.clone(), reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(variables: &[(&str, &str)]) -> Cluster {
        Cluster::of(&Environment::from_iter(variables.iter().copied()), &GinkgoFiles::default())
    }

    fn entry(value: impl Into<ValueKind>, place: Place) -> Entry {
        Entry { value: value.into(), place }
    }

    fn file() -> Place {
        Place::File { path: "secure.yml".into(), line: Some(7) }
    }

    #[test]
    fn the_variable_counts_most_then_config_yml_then_debug() {
        let mut files = GinkgoFiles::default();
        let of = |variables: &[(&str, &str)], files: &GinkgoFiles| {
            Cluster::of(&Environment::from_iter(variables.iter().copied()), files).name
        };
        assert_eq!(of(&[], &files), PRODUCTION);
        assert_eq!(of(&[("GINKGO_DEBUG_MODE", "True")], &files), DEVELOPMENT);
        files.debug = Some(("true".into(), file()));
        assert_eq!(of(&[], &files), DEVELOPMENT);
        assert_eq!(of(&[("GINKGO_DEBUG_MODE", "false")], &files), PRODUCTION);
        files.env = Some(("production".into(), file()));
        assert_eq!(of(&[], &files), PRODUCTION);
        assert_eq!(of(&[("GINKGO_ENV", "development")], &files), DEVELOPMENT);
        assert!(cluster(&[("GINKGO_ENV", "staging")]).warning().unwrap().contains("\"STAGING\" (environment variable"));
        assert_eq!(cluster(&[]).warning(), None);
    }

    /// The ports of default, Ginkgo's file and environment after the rule.
    fn ports(variables: &[(&str, &str)], in_file: u64, variable: &str) -> ([String; 3], Vec<Problem>) {
        let (mut defaults, mut ginkgo, mut environment) = (Layer::new(), Layer::new(), Layer::new());
        ginkgo.insert("mysql.port", entry(in_file, file()));
        environment.insert("mysql.port", entry(3306_u64, Place::Variable(variable.into())));
        let problems = cluster(variables).prefix_ports(&mut defaults, &mut ginkgo, &mut environment);
        let port = |layer: &Layer| layer.get("mysql.port").map_or(String::new(), |entry| entry.value.to_string());
        ([port(&defaults), port(&ginkgo), port(&environment)], problems)
    }

    #[test]
    fn a_1_comes_before_ports_in_development_outside_containers_only() {
        let development = [("GINKGO_ENV", "DEVELOPMENT")];
        let found = |variables: &[(&str, &str)], in_file, name| ports(variables, in_file, name).0;
        assert_eq!(found(&development, 3307, "GINKGO_MYSQL_PORT"), ["13306", "13307", "13306"]);
        assert_eq!(found(&development, 13307, "MYSQL_PORT"), ["13306", "13307", "13306"], "one 1 is enough");
        let own = "GINKGO_DATA_WORKER__MYSQL__PORT";
        assert_eq!(found(&development, 3307, own), ["13306", "13307", "3306"], "its own variable is meant as written");
        for in_container in [("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("DOCKER_CONTAINER", "1")] {
            assert_eq!(found(&[development[0], in_container], 3307, "MYSQL_PORT"), ["", "3307", "3306"]);
        }
        assert_eq!(found(&[("GINKGO_ENV", "PRODUCTION")], 3307, "MYSQL_PORT"), ["", "3307", "3306"]);
    }

    #[test]
    fn the_place_of_a_prefixed_port_says_so_and_only_the_two_stores_are_concerned() {
        let (mut defaults, mut ginkgo, mut environment) = (Layer::new(), Layer::new(), Layer::new());
        ginkgo.insert("redis.port", entry(6379_u64, file()));
        ginkgo.insert("clickhouse.port", entry(8123_u64, file()));
        let cluster = cluster(&[("GINKGO_ENV", "DEVELOPMENT")]);
        assert_eq!(cluster.prefix_ports(&mut defaults, &mut ginkgo, &mut environment), []);
        assert_eq!(ginkgo["redis.port"].value, ValueKind::U64(6379));
        assert_eq!(ginkgo["clickhouse.port"].value, ValueKind::U64(18123));
        assert_eq!(ginkgo["clickhouse.port"].place.to_string(), "secure.yml, line 7, with Ginkgo's 1 before it");
        assert_eq!(defaults.keys().copied().collect::<Vec<_>>(), PORTS);
    }

    #[test]
    fn a_port_that_is_none_with_a_1_before_it_is_a_problem() {
        let (found, problems) = ports(&[("GINKGO_ENV", "DEVELOPMENT")], 65_000, "MYSQL_PORT");
        assert_eq!(found[1], "65000");
        let text = problems[0].to_string();
        assert!(problems.len() == 1 && text.contains("secure.yml, line 7: mysql.port: it is 65000"), "{text}");
        assert!(text.contains("165000 is no port"), "{text}");
    }

    #[test]
    fn a_host_of_the_other_environment_is_forbidden_unless_the_guard_is_off() {
        let forbidden = |variables: &[(&str, &str)], host: &str| {
            let layer = Layer::from([
                ("clickhouse.host", entry(host, file())),
                ("redis.host", entry(host, file())),
                ("kafka.host", entry(host, file())),
            ]);
            cluster(variables).forbidden_hosts(&layer).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let (production, development) = (("GINKGO_ENV", "PRODUCTION"), ("GINKGO_ENV", "DEVELOPMENT"));
        let found = forbidden(&[production], "clickhouse-test");
        assert_eq!(found.len(), 1, "redis and kafka are not checked: {found:?}");
        assert!(found[0].starts_with("secure.yml, line 7: clickhouse.host: it is \"clickhouse-test\""), "{found:?}");
        assert!(found[0].contains("PRODUCTION (environment variable GINKGO_ENV)"), "{found:?}");
        assert_eq!(forbidden(&[development], "ClickHouse-Master").len(), 1);
        assert_eq!(forbidden(&[], "a-test").len(), 1, "without debug it is PRODUCTION");
        for (variable, host) in [
            (production, "a-master"),
            (development, "a-test"),
            (production, "a-test.internal"),
            (("GINKGO_ENV", "x"), "a-test"),
        ] {
            assert_eq!(forbidden(&[variable], host), [""; 0], "{host}");
        }
        assert_eq!(forbidden(&[production, (SKIP_GUARD, "1")], "a-test"), [""; 0]);
        assert_eq!(forbidden(&[production, (SKIP_GUARD, "0")], "a-test").len(), 1);
    }
}
