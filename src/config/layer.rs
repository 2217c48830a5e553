// Upstream: many
// Downstream: keys, problem
// Role: Holds the settings of one layer (file, environment, defaults) by path.

use std::collections::BTreeMap;

use config::ValueKind;

use super::keys::nearest;
use super::problem::Place;

/// The settings of one layer, by path.
pub type Layer = BTreeMap<&'static str, Entry>;

/// A setting in a layer.
#[derive(Clone)]
pub struct Entry {
    /// Its value; the type matches the setting's kind.
    pub value: ValueKind,
    /// Where it was set.
    pub place: Place,
}

/// The error text for an unknown name, with a suggestion if a known name is similar.
pub fn unknown(what: &str, path: &str) -> String {
    match nearest(path) {
        Some(near) => format!("unknown {what}; did you mean {near}?"),
        None => format!("unknown {what}"),
    }
}
