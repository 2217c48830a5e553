// Upstream: config, main
// Downstream: config::check, config::environment, config::file, config::problem, config::sections
// Role: Puts defaults, the file and the environment together into checked settings.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use config::{Config, Value};

use super::check;
use super::environment::Environment;
use super::file::{Found, Layer, find_and_read};
use super::problem::{ConfigProblems, Place, Problem};
use super::sections::Settings;

/// A configuration that can work.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings in force; the node id is filled in.
    pub settings: Settings,
    /// The file they come from, if there is one.
    pub origin: Option<PathBuf>,
    /// What the operator should know; no secrets.
    pub warnings: Vec<String>,
}

/// A configuration that can work, and why it is not the one that was written.
#[derive(Debug)]
pub struct Fallback {
    /// What is in force instead.
    pub loaded: Loaded,
    /// What is wrong with what was written; none: `loaded` is what was written.
    pub problems: Option<ConfigProblems>,
}

/// Loads the configuration: environment variables over the file over the defaults.
///
/// The file is `explicit`, or the one `GINKGO_DATA_WORKER_CONFIG` names, or the first of `./data_worker.yml`,
/// `$GINKGO_DIR/data_worker.yml` (by default in `~/.ginkgo`) and `/etc/ginkgo/data_worker.yml`. No file is a warning.
/// The error holds every problem, not only the first.
pub fn load(explicit: Option<&Path>, environment: &Environment) -> Result<Loaded, ConfigProblems> {
    Written::read(explicit, environment).strictly()
}

/// As [`load`], but leaves out what cannot be used: first the whole file, then the variables at fault, so that a
/// worker can start on the defaults.
pub fn load_or_defaults(explicit: Option<&Path>, environment: &Environment) -> Fallback {
    let written = Written::read(explicit, environment);
    match written.strictly() {
        Ok(loaded) => Fallback { loaded, problems: None },
        Err(problems) => Fallback { loaded: written.leniently(), problems: Some(problems) },
    }
}

/// Everything that was written, sound or not.
struct Written {
    origin: Option<PathBuf>,
    file: Layer,
    file_problems: Vec<Problem>,
    environment: Layer,
    environment_problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl Written {
    fn read(explicit: Option<&Path>, variables: &Environment) -> Self {
        let (environment, environment_problems, mut warnings) = variables.settings();
        let (origin, file, file_problems) = match find_and_read(explicit, variables) {
            Found::Read(path, layer, problems) => (Some(path), layer, problems),
            Found::Missing(candidates) => {
                let names: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
                warnings.push(format!("no configuration file: {} not found; defaults are in force", names.join(", ")));
                (None, Layer::new(), Vec::new())
            }
        };
        Self { origin, file, file_problems, environment, environment_problems, warnings }
    }

    fn strictly(&self) -> Result<Loaded, ConfigProblems> {
        let mut problems = [self.file_problems.as_slice(), &self.environment_problems].concat();
        match assemble(&self.file, &self.environment) {
            Ok(settings) if problems.is_empty() => Ok(self.loaded(settings, self.origin.clone())),
            Ok(_) => Err(ConfigProblems(problems)),
            Err(further) => {
                problems.extend(further);
                Err(ConfigProblems(problems))
            }
        }
    }

    fn leniently(&self) -> Loaded {
        let nothing = Layer::new();
        // A file that is sound stays in force where a variable is at fault.
        let file_is_sound = self.file_problems.is_empty() && assemble(&self.file, &nothing).is_ok();
        let (file, origin) = if file_is_sound { (&self.file, self.origin.clone()) } else { (&nothing, None) };
        let settings = assemble(file, &self.environment).unwrap_or_else(|problems| {
            let at_fault: HashSet<&str> = problems.iter().filter_map(|p| section(p.key.as_deref()?)).collect();
            let mut environment = self.environment.clone();
            environment.retain(|path, _| section(path).is_none_or(|section| !at_fault.contains(section)));
            assemble(file, &environment).or_else(|_| assemble(file, &nothing)).unwrap_or_default()
        });
        self.loaded(settings, origin)
    }

    fn loaded(&self, settings: Settings, origin: Option<PathBuf>) -> Loaded {
        let warnings = self.warnings.iter().cloned().chain(check::warnings(&settings)).collect();
        Loaded { settings, origin, warnings }
    }
}

fn section(path: &str) -> Option<&str> {
    path.split('.').next()
}

fn assemble(file: &Layer, environment: &Layer) -> Result<Settings, Vec<Problem>> {
    let mut settings = merge(file, environment)?;
    if settings.worker.node_id.is_empty() {
        settings.worker.node_id = default_node_id();
    }
    let place = |path: &str| {
        let entry = environment.get(path).or_else(|| file.get(path));
        entry.map_or(Place::Default, |entry| entry.place.clone())
    };
    let found = check::problems(&settings).into_iter();
    let problems: Vec<Problem> =
        found.map(|(path, reason)| Problem { place: place(&path), key: Some(path), reason }).collect();
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

fn merge(file: &Layer, environment: &Layer) -> Result<Settings, Vec<Problem>> {
    let mut builder = Config::builder();
    let mut put = || {
        for (path, entry) in file {
            builder = std::mem::take(&mut builder).set_default(*path, Value::new(None, entry.value.clone()))?;
        }
        for (path, entry) in environment {
            builder = std::mem::take(&mut builder).set_override(*path, Value::new(None, entry.value.clone()))?;
        }
        std::mem::take(&mut builder).build()?.try_deserialize::<Settings>()
    };
    put().map_err(|error| {
        // Every value was read by its kind before, so the types disagree with their own list. The library's message
        // may hold a value: only the setting is named.
        let key = match error {
            config::ConfigError::Type { key, .. } | config::ConfigError::At { key, .. } => key,
            _ => None,
        };
        vec![Problem { place: Place::Default, key, reason: "its value does not fit its type".to_owned() }]
    })
}

/// `data_worker_` and the host's name, with `_` for what a node id must not hold.
fn default_node_id() -> String {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let legal = |c: char| if c == ':' || c.is_whitespace() || c.is_control() { '_' } else { c };
    format!("data_worker_{}", host.chars().take(64).map(legal).collect::<String>())
}
