// Upstream: cluster, environment, file, ginkgo, load
// Downstream: keys, problem
// Role: Settings of one layer (file, environment, defaults) by path.

use std::collections::BTreeMap;

use config::ValueKind;

use super::keys::nearest;
use super::problem::Place;

/// Settings written in one place, by path.
pub type Layer = BTreeMap<&'static str, Entry>;

/// A setting as it was written.
#[derive(Clone)]
pub struct Entry {
    /// Its value, of the setting's kind.
    pub value: ValueKind,
    /// Where it was written.
    pub place: Place,
}

/// The message about a name that no setting has.
pub fn unknown(what: &str, path: &str) -> String {
    match nearest(path) {
        Some(near) => format!("there is no such {what}; is {near} meant?"),
        None => format!("there is no such {what}"),
    }
}
