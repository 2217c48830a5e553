// Upstream: load
// Downstream: assemble, file, layer, problem, sections
// Role: Removes the settings that are wrong, each alone, until the rest of the layers is a valid configuration.

use std::collections::BTreeSet;

use super::assemble::{assemble, overlay};
use super::layer::Layer;
use super::problem::{Place, Problem};
use super::sections::Settings;

/// The valid part of a configuration.
#[derive(Default)]
pub struct ValidPart {
    /// Its settings.
    pub settings: Settings,
    /// What is set in them.
    pub layer: Layer,
    /// The settings that were removed though nothing named them as wrong: they conflict with a default.
    pub conflicts: Vec<Problem>,
}

/// The layers in ascending precedence without what is wrong. A wrong value falls back to the next layer that sets it.
pub fn valid_part<const N: usize>(mut layers: [Layer; N]) -> ValidPart {
    let mut conflicts = Vec::new();
    loop {
        let layer = overlay(&layers);
        let problems = match assemble(&layer) {
            Ok(settings) => return ValidPart { settings, layer, conflicts },
            Err(problems) => problems,
        };
        let named: BTreeSet<&'static str> = layer.keys().filter(|path| is_named(&problems, path)).copied().collect();
        if !named.is_empty() {
            named.iter().for_each(|path| remove_topmost(&mut layers, path));
            continue;
        }
        // A default is named: something that is set conflicts with it.
        let Some(path) = culprit(&layer, &problems) else {
            return ValidPart { settings: assemble(&Layer::new()).unwrap_or_default(), layer: Layer::new(), conflicts };
        };
        conflicts.push(conflict(&layer, path, &problems));
        remove_topmost(&mut layers, path);
    }
}

/// Whether a problem names this setting, or the section it is in.
fn is_named(problems: &[Problem], path: &str) -> bool {
    let names = |key: &str| path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    problems.iter().filter_map(|problem| problem.key.as_deref()).any(names)
}

fn remove_topmost<const N: usize>(layers: &mut [Layer; N], path: &str) {
    if let Some(layer) = layers.iter_mut().rev().find(|layer| layer.contains_key(path)) {
        layer.remove(path);
    }
}

/// The setting without which there are fewer problems; of several one in the section of the first problem. If no single
/// one helps, any of that section, or any.
fn culprit(layer: &Layer, problems: &[Problem]) -> Option<&'static str> {
    let section = |path: &str| path.split('.').next().map(str::to_owned);
    let first = problems.first().and_then(|problem| section(problem.key.as_deref()?));
    let mut paths: Vec<&'static str> = layer.keys().copied().collect();
    paths.sort_by_key(|path| section(path) != first);
    let helps = |path: &&&'static str| {
        let mut without = layer.clone();
        without.remove(**path);
        assemble(&without).map_or_else(|left| left.len(), |_| 0) < problems.len()
    };
    paths.iter().find(helps).or_else(|| paths.first()).copied()
}

fn conflict(layer: &Layer, path: &str, problems: &[Problem]) -> Problem {
    let place = layer.get(path).map_or(Place::Default, |entry| entry.place.clone());
    let with = problems.first().and_then(|problem| problem.key.as_deref()).unwrap_or("a default");
    Problem { place, key: Some(path.to_owned()), reason: format!("it is not used, because it conflicts with {with}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file;
    use std::path::Path;

    fn layer(text: &str) -> Layer {
        file::parse(Path::new("w.yml"), text).0
    }

    #[test]
    fn a_wrong_value_falls_back_to_the_layer_below() {
        let below = layer("batch:\n  max_rows: 2000\nkafka:\n  host: below\n");
        let above = layer("batch:\n  max_rows: 0\nkafka:\n  host: above\n");
        let part = valid_part([below, above]);
        assert_eq!((part.settings.batch.max_rows, part.settings.kafka.host.as_str()), (2_000, "above"));
        assert_eq!(part.conflicts, []);
    }

    #[test]
    fn a_value_that_conflicts_with_a_default_is_named() {
        // The default of batch.min_rows is 1,000.
        let part = valid_part([layer("batch:\n  max_rows: 10\n  flush_interval_ms: 1234\n")]);
        assert_eq!((part.settings.batch.max_rows, part.settings.batch.flush_interval_ms), (50_000, 1_234));
        assert_eq!(part.conflicts.len(), 1);
        let text = part.conflicts[0].to_string();
        assert_eq!(text, "w.yml, line 2: batch.max_rows: it is not used, because it conflicts with batch.min_rows");
    }

    #[test]
    fn all_of_a_wrong_section_falls_back_alone() {
        let text = "sources:\n  redis:\n    shape:\n      tables: [x]\n  tushare:\n    timeout_ms: 4321\n";
        let part = valid_part([layer(text)]);
        assert_eq!(part.settings.sources.tushare.timeout_ms, 4_321);
        assert!(!part.layer.contains_key("sources.redis.shape.tables"));
    }
}
