// Upstream: load
// Downstream: environment, ginkgo, keys, layer, problem
// Role: Determines Ginkgo's environment, PRODUCTION or DEVELOPMENT, and applies its port rule and its host guard.

//! Both rules come from Ginkgo and apply only to ClickHouse and MySQL (Ginkgo's Compose file uses `redis-master` in
//! DEVELOPMENT). They apply to values from Ginkgo's file, from its variables and from the defaults. The port rule does
//! not apply to the worker's own file and variables.

use config::ValueKind;

use super::environment::{Environment, PREFIX};
use super::ginkgo::GinkgoFiles;
use super::keys::find;
use super::problem::{Place, Problem};
use crate::config::layer::{Entry, Layer};

/// `1` turns the host guard off.
const SKIP_GUARD: &str = "GINKGO_SKIP_CLUSTER_GUARD";

/// Ports to which the port rule applies.
const PORTS: [&str; 2] = ["clickhouse.port", "mysql.port"];

/// Hosts to which the host guard applies.
const HOSTS: [&str; 3] = ["clickhouse.host", "clickhouse.hosts", "mysql.host"];

const PRODUCTION: &str = "PRODUCTION";
const DEVELOPMENT: &str = "DEVELOPMENT";

/// The environment in which Ginkgo runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    name: String,
    /// Where the name was set, for messages.
    origin: String,
    in_container: bool,
    is_guarded: bool,
}

impl Cluster {
    /// Takes the name from `GINKGO_ENV`, otherwise from `env` in `config.yml`. Without both it is DEVELOPMENT if debug
    /// mode is on, otherwise PRODUCTION.
    pub fn of(environment: &Environment, files: &GinkgoFiles) -> Self {
        let variable = |name: &str| Some((environment.get(name)?.to_owned(), Place::Variable(name.to_owned())));
        let named = variable("GINKGO_ENV").or_else(|| files.env.clone());
        let (name, origin) = match (named, variable("GINKGO_DEBUG_MODE").or_else(|| files.debug.clone())) {
            (Some((name, place)), _) => (name.trim().to_ascii_uppercase(), place.to_string()),
            (None, Some((debug, place))) if is_on(&debug) => {
                (DEVELOPMENT.to_owned(), format!("debug mode is on, {place}"))
            }
            (None, _) => (PRODUCTION.to_owned(), "debug mode is off".to_owned()),
        };
        let is_guarded = environment.get(SKIP_GUARD) != Some("1");
        Self { name, origin, in_container: environment.is_in_container(), is_guarded }
    }

    /// A warning if the environment is unknown.
    pub fn warning(&self) -> Option<String> {
        let known = [PRODUCTION, DEVELOPMENT].contains(&self.name.as_str());
        (!known).then(|| {
            format!(
                "Ginkgo's environment is {:.40?} ({}), which is neither {PRODUCTION} nor {DEVELOPMENT}",
                self.name, self.origin
            )
        })
    }

    /// In DEVELOPMENT outside containers, prefixes the ports of ClickHouse and MySQL with 1: 8123 becomes 18123.
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

    /// Finds hosts of the other environment, to which the worker must not connect. `settings` are the merged layers.
    pub fn forbidden_hosts(&self, settings: &Layer) -> Vec<Problem> {
        let wrong_end = match self.name.as_str() {
            PRODUCTION => "-test",
            DEVELOPMENT => "-master",
            _ => return Vec::new(),
        };
        let hosts = HOSTS.into_iter().filter_map(|path| Some((path, settings.get(path)?)));
        let forbidden = hosts.filter(|(_, entry)| {
            self.is_guarded && hosts_of(&entry.value).iter().any(|host| host.ends_with(wrong_end))
        });
        forbidden
            .map(|(path, entry)| Problem {
                place: entry.place.clone(),
                key: Some(path.to_owned()),
                reason: format!(
                    "it is {:.80?}, but Ginkgo's environment is {} ({}), which forbids hosts that end in {wrong_end}; \
                     correct the host or GINKGO_ENV, or set {SKIP_GUARD}=1",
                    entry.value.to_string(),
                    self.name,
                    self.origin
                ),
            })
            .collect()
    }
}

/// The hosts in a value, in lower case: a host, or a list of `host:port`.
fn hosts_of(value: &ValueKind) -> Vec<String> {
    let name = |text: &str| {
        let bare = text.trim().to_ascii_lowercase();
        bare.rsplit_once(':').map_or(bare.as_str(), |(host, _)| host).to_owned()
    };
    match value {
        ValueKind::Array(items) => items.iter().map(|item| name(&item.kind.to_string())).collect(),
        other => vec![other.to_string().trim().to_ascii_lowercase()],
    }
}

fn is_on(text: &str) -> bool {
    ["true", "1", "yes", "on"].contains(&text.trim().to_ascii_lowercase().as_str())
}

/// Prefixes a port with 1, unless it starts with 1 already or is 0, which is invalid in any case.
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
                "it is {port}, which Ginkgo prefixes with 1 in {DEVELOPMENT} outside containers, but {prefixed} is not \
                 a valid port; set the port in the worker's own file"
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
    fn variable_precedes_config_yml_and_debug() {
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

    /// The ports of the defaults, Ginkgo's file and the environment after the port rule.
    fn ports(variables: &[(&str, &str)], in_file: u64, variable: &str) -> ([String; 3], Vec<Problem>) {
        let (mut defaults, mut ginkgo, mut environment) = (Layer::new(), Layer::new(), Layer::new());
        ginkgo.insert("mysql.port", entry(in_file, file()));
        environment.insert("mysql.port", entry(3306_u64, Place::Variable(variable.into())));
        let problems = cluster(variables).prefix_ports(&mut defaults, &mut ginkgo, &mut environment);
        let port = |layer: &Layer| layer.get("mysql.port").map_or(String::new(), |entry| entry.value.to_string());
        ([port(&defaults), port(&ginkgo), port(&environment)], problems)
    }

    #[test]
    fn prefixes_ports_only_in_development_outside_containers() {
        let development = [("GINKGO_ENV", "DEVELOPMENT")];
        let found = |variables: &[(&str, &str)], in_file, name| ports(variables, in_file, name).0;
        assert_eq!(found(&development, 3307, "GINKGO_MYSQL_PORT"), ["13306", "13307", "13306"]);
        assert_eq!(found(&development, 13307, "MYSQL_PORT"), ["13306", "13307", "13306"], "no second 1");
        let own = "GINKGO_DATA_WORKER__MYSQL__PORT";
        assert_eq!(found(&development, 3307, own), ["13306", "13307", "3306"], "no rule for the worker's own variable");
        for in_container in [("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("DOCKER_CONTAINER", "1")] {
            assert_eq!(found(&[development[0], in_container], 3307, "MYSQL_PORT"), ["", "3307", "3306"]);
        }
        assert_eq!(found(&[("GINKGO_ENV", "PRODUCTION")], 3307, "MYSQL_PORT"), ["", "3307", "3306"]);
    }

    #[test]
    fn only_store_ports_are_prefixed_and_place_says_so() {
        let (mut defaults, mut ginkgo, mut environment) = (Layer::new(), Layer::new(), Layer::new());
        ginkgo.insert("redis.port", entry(6379_u64, file()));
        ginkgo.insert("clickhouse.port", entry(8123_u64, file()));
        let cluster = cluster(&[("GINKGO_ENV", "DEVELOPMENT")]);
        assert_eq!(cluster.prefix_ports(&mut defaults, &mut ginkgo, &mut environment), []);
        assert_eq!(ginkgo["redis.port"].value, ValueKind::U64(6379));
        assert_eq!(ginkgo["clickhouse.port"].value, ValueKind::U64(18123));
        let place = ginkgo["clickhouse.port"].place.to_string();
        assert_eq!(place, "secure.yml, line 7, prefixed with 1 by Ginkgo's port rule");
        assert_eq!(defaults.keys().copied().collect::<Vec<_>>(), PORTS);
    }

    #[test]
    fn invalid_prefixed_port_is_a_problem() {
        let (found, problems) = ports(&[("GINKGO_ENV", "DEVELOPMENT")], 65_000, "MYSQL_PORT");
        assert_eq!(found[1], "65000");
        let text = problems[0].to_string();
        assert!(problems.len() == 1 && text.contains("secure.yml, line 7: mysql.port: it is 65000"), "{text}");
        assert!(text.contains("165000 is not a valid port"), "{text}");
    }

    #[test]
    fn guard_rejects_hosts_of_other_environment() {
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
        assert_eq!(forbidden(&[], "a-test").len(), 1, "without debug mode the environment is PRODUCTION");
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
