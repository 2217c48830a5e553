// Upstream: fallback, load
// Downstream: check, layer, problem, sections
// Role: Merges layers of settings by precedence, and builds checked settings from one layer.

use config::{Config, Value};

use super::check;
use super::layer::Layer;
use super::problem::{Place, Problem};
use super::sections::Settings;

/// Merges layers; later layers take precedence.
pub fn overlay<'a>(layers: impl IntoIterator<Item = &'a Layer>) -> Layer {
    layers.into_iter().flatten().map(|(path, entry)| (*path, entry.clone())).collect()
}

/// The settings of a layer; all problems if they cannot work.
pub fn assemble(layer: &Layer) -> Result<Settings, Vec<Problem>> {
    let mut settings = typed(layer)?;
    if settings.worker.node_id.is_empty() {
        settings.worker.node_id = default_node_id();
    }
    let problems = named_places(check::problems(&settings), layer);
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

/// Adds to each finding the place where its setting was set.
pub fn named_places(findings: Vec<check::Finding>, layer: &Layer) -> Vec<Problem> {
    let place = |path: &str| layer.get(path).map_or(Place::Default, |entry| entry.place.clone());
    findings.into_iter().map(|(path, reason)| Problem { place: place(&path), key: Some(path), reason }).collect()
}

fn typed(layer: &Layer) -> Result<Settings, Vec<Problem>> {
    let mut builder = Config::builder();
    let mut put = || {
        for (path, entry) in layer {
            builder = std::mem::take(&mut builder).set_override(*path, Value::new(None, entry.value.clone()))?;
        }
        std::mem::take(&mut builder).build()?.try_deserialize::<Settings>()
    };
    put().map_err(|error| {
        // Each value was parsed by its kind, so this error means that the list of kinds and the types disagree. The
        // library's message may contain a value, so the problem names only the setting.
        let key = match error {
            config::ConfigError::Type { key, .. } | config::ConfigError::At { key, .. } => key,
            _ => None,
        };
        vec![Problem { place: Place::Default, key, reason: "its value does not match its type".to_owned() }]
    })
}

/// `data_worker_` and the host name; `_` replaces characters that a node id must not contain.
fn default_node_id() -> String {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let legal = |c: char| if c == ':' || c.is_whitespace() || c.is_control() { '_' } else { c };
    format!("data_worker_{}", host.chars().take(64).map(legal).collect::<String>())
}
