// Upstream: write
// Downstream: batch_writer, domain, plan, ports
// Role: Decides which row stays where two workers wrote the same key at the same moment.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::NaiveDateTime;

use crate::batch_writer::bars::plan::{WritePlan, WriteUnit};
use crate::batch_writer::looks::Verdict;
use crate::domain::Code;
use crate::domain::bar_identity::replacing_bar_uuid;
use crate::domain::row_version::{RowVersion, order};
use crate::ports::{IdentifiedBar, KeySpan, StoredBar, StoredKeys};

/// The rows that a flush inserted, in all its attempts. After the insertion the flush looks whether a key has several
/// rows, until each has one.
///
/// ClickHouse has no unique keys and no compare-and-set, so two workers can insert rows of one key, each before it sees
/// the other's. The rule that makes them agree: the row with the highest version stays, and only its writer acts. That
/// writer inserts the row once more with a higher version and then removes the rows it saw. So a row is only removed
/// after another with a higher version was inserted. The highest row of a key is never removed, and neither is the
/// newest one, which is the row that a ReplacingMergeTree keeps when it merges. Each writer looks after its insertion,
/// so the last of them sees all rows.
#[derive(Clone, Default)]
pub struct Contest {
    /// The newest row of each key.
    ours: HashMap<(Code, NaiveDateTime), Inserted>,
}

/// A row of an INSERT. A batch may hold tens of thousands of rows, so they are shared with the plan.
#[derive(Clone)]
struct Inserted {
    rows: Arc<Vec<IdentifiedBar>>,
    place: usize,
}

impl Contest {
    /// Adds a plan that is about to be written.
    pub fn wrote(&mut self, plan: &WritePlan) {
        for (place, row) in plan.insert.iter().enumerate() {
            self.ours.insert((row.bar.code, row.bar.timestamp), Inserted { rows: plan.insert.clone(), place });
        }
    }

    /// Forgets the keys that are not in these units, because other workers write them now.
    pub fn keep_only<'a>(&mut self, units: impl Iterator<Item = &'a WriteUnit>) {
        let keys: HashSet<_> = units.flat_map(|unit| unit.rows.iter().map(|row| (row.code, row.timestamp))).collect();
        self.ours.retain(|key, _| keys.contains(key));
    }

    /// The spans that contain all keys: one for each code.
    pub fn spans(&self) -> Vec<KeySpan> {
        let mut spans: BTreeMap<Code, (NaiveDateTime, NaiveDateTime)> = BTreeMap::new();
        for (code, timestamp) in self.ours.keys() {
            let (from, to) = spans.entry(*code).or_insert((*timestamp, *timestamp));
            (*from, *to) = ((*from).min(*timestamp), (*to).max(*timestamp));
        }
        let span = |(code, (from, to))| KeySpan { code, from: Some(from), to: Some(to) };
        spans.into_iter().map(span).collect()
    }

    /// Judges the rows of keys that have several. With `take_over` the flush also acts where the row of another worker
    /// has the highest version: that worker may be gone.
    pub fn judge(&mut self, stored: StoredKeys, now: RowVersion, take_over: bool) -> Verdict<WritePlan> {
        let StoredKeys { num_keys, copies } = stored;
        // The spans may contain other keys, but never fewer than were inserted.
        if let Some(missing) = (self.ours.len() as u64).checked_sub(num_keys).filter(|missing| *missing > 0) {
            return Verdict::missing("table bar".to_owned(), missing);
        }
        let mut keys: BTreeMap<(Code, NaiveDateTime), Vec<StoredBar>> = BTreeMap::new();
        for copy in copies {
            keys.entry((copy.code, copy.timestamp)).or_default().push(copy);
        }
        // Between two statements of a look another worker may have removed all rows but one.
        keys.retain(|key, rows| rows.len() > 1 && self.ours.contains_key(key));
        if keys.is_empty() {
            return Verdict::Settled;
        }
        let (mut insert, mut remove) = (Vec::new(), Vec::new());
        for (key, copies) in keys {
            let Some(ours) = self.newest(&key) else { continue };
            let uuids = || copies.iter().map(|copy| copy.uuid.as_str());
            let is_ours = uuids().max_by_key(|uuid| order(uuid)) == Some(ours.uuid.as_str());
            if is_ours || take_over {
                let uuid = replacing_bar_uuid(&ours.bar, now.above(uuids()));
                insert.push(IdentifiedBar { bar: ours.bar.clone(), uuid });
                remove.extend(copies);
            }
        }
        if insert.is_empty() {
            return Verdict::Theirs;
        }
        let plan = WritePlan { insert: Arc::new(insert), remove: Arc::new(remove), counts: Vec::new() };
        self.wrote(&plan);
        Verdict::Ours(plan)
    }

    /// The newest row that was inserted for a key.
    fn newest(&self, key: &(Code, NaiveDateTime)) -> Option<&IdentifiedBar> {
        let Inserted { rows, place } = self.ours.get(key)?;
        rows.get(*place)
    }
}
