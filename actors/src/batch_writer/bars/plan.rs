// Upstream: batch_writer, plan_tests, validator, write
// Downstream: domain, ports
// Role: Compares fetched bars with stored bars and decides which rows to insert and which to remove.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::NaiveDateTime;

use crate::domain::bar_identity::{bar_uuid, free_bar_uuid};
use crate::domain::{Bar, Code, Frequency, SyncMode, TaskCounts};
use crate::ports::{IdentifiedBar, KeySpan, StoredBar};

/// The valid rows of one task. They belong to one code and are never split.
#[derive(Debug, Clone)]
pub struct WriteUnit {
    /// The duration of a bar.
    pub frequency: Frequency,
    /// Whether to insert only missing rows or to replace stored rows.
    pub mode: SyncMode,
    /// The stored keys that the task may change.
    pub span: KeySpan,
    /// The rows. Their timestamps are unique.
    pub rows: Vec<Bar>,
    /// Timestamps whose stored rows stay, because the fetched row was invalid.
    pub keep: HashSet<NaiveDateTime>,
    /// Whether stored rows without a fetched counterpart stay, because an invalid row had no readable timestamp.
    pub keep_unmatched: bool,
}

impl WriteUnit {
    /// The stored keys that the plan of this unit must read.
    pub fn lookup(&self) -> KeySpan {
        match self.mode {
            SyncMode::Replace => self.span.clone(),
            SyncMode::Incremental => {
                let times = || self.rows.iter().map(|row| row.timestamp);
                KeySpan { code: self.span.code, from: times().min(), to: times().max() }
            }
        }
    }
}

/// The changes to the store.
#[derive(Debug, Default, PartialEq)]
pub struct WritePlan {
    /// Rows to insert. They are inserted first.
    pub insert: Arc<Vec<IdentifiedBar>>,
    /// Rows to remove after the insertion, so that a reader always finds the old or the new row.
    pub remove: Vec<StoredBar>,
    /// Per unit: the counts of its rows.
    pub counts: Vec<TaskCounts>,
}

/// Plans the units in their order. A later unit sees the changes of earlier units.
pub fn plan(units: &[&WriteUnit], stored: Vec<StoredBar>) -> WritePlan {
    let mut view = View::default();
    for row in stored {
        view.codes.entry(row.code).or_default().entry(row.timestamp).or_default().stored.push(row.uuid);
    }
    let mut remove = HashSet::new();
    let counts = units
        .iter()
        .map(|unit| match unit.mode {
            SyncMode::Incremental => view.insert_missing(unit, &remove),
            SyncMode::Replace => view.replace(unit, &mut remove),
        })
        .collect();
    let insert = Arc::new(view.into_planned());
    let mut remove: Vec<StoredBar> = remove.into_iter().collect();
    remove.sort_by(|a, b| (a.code, a.timestamp, &a.uuid).cmp(&(b.code, b.timestamp, &b.uuid)));
    WritePlan { insert, remove, counts }
}

/// The rows of the store after the planned changes.
#[derive(Default)]
struct View {
    codes: HashMap<Code, BTreeMap<NaiveDateTime, Slot>>,
}

/// The rows of one key (code and timestamp).
#[derive(Default)]
struct Slot {
    /// UUIDs of the stored rows that stay.
    stored: Vec<String>,
    /// The row to insert.
    planned: Option<IdentifiedBar>,
}

impl Slot {
    fn is_empty(&self) -> bool {
        self.stored.is_empty() && self.planned.is_none()
    }

    /// Marks all stored rows of this key for removal and drops the planned row. Returns the number of removed rows.
    fn clear(&mut self, code: Code, timestamp: NaiveDateTime, remove: &mut HashSet<StoredBar>) -> u64 {
        self.planned = None;
        let num_removed = self.stored.len() as u64;
        remove.extend(self.stored.drain(..).map(|uuid| StoredBar { code, timestamp, uuid }));
        num_removed
    }
}

impl View {
    fn insert_missing(&mut self, unit: &WriteUnit, remove: &HashSet<StoredBar>) -> TaskCounts {
        let slots = self.codes.entry(unit.span.code).or_default();
        let mut counts = TaskCounts::default();
        for row in &unit.rows {
            let slot = slots.entry(row.timestamp).or_default();
            if slot.is_empty() {
                slot.planned = Some(identified(row, remove));
                counts.written += 1;
            } else {
                counts.unchanged += 1;
            }
        }
        counts
    }

    fn replace(&mut self, unit: &WriteUnit, remove: &mut HashSet<StoredBar>) -> TaskCounts {
        let code = unit.span.code;
        let slots = self.codes.entry(code).or_default();
        let mut counts = TaskCounts::default();
        for row in &unit.rows {
            let slot = slots.entry(row.timestamp).or_default();
            counts.add(&place(slot, row, remove));
        }
        if !unit.keep_unmatched {
            let fetched: HashSet<NaiveDateTime> = unit.rows.iter().map(|row| row.timestamp).collect();
            let from = unit.span.from.unwrap_or(NaiveDateTime::MIN);
            let to = unit.span.to.unwrap_or(NaiveDateTime::MAX);
            for (timestamp, slot) in slots.range_mut(from..=to) {
                if !fetched.contains(timestamp) && !unit.keep.contains(timestamp) {
                    counts.replaced += slot.clear(code, *timestamp, remove);
                }
            }
        }
        counts
    }

    fn into_planned(self) -> Vec<IdentifiedBar> {
        // Sorted by key, as in the table. This makes the INSERT cheaper.
        let mut codes: Vec<_> = self.codes.into_iter().collect();
        codes.sort_unstable_by_key(|(code, _)| *code);
        codes.into_iter().flat_map(|(_, slots)| slots.into_values().filter_map(|slot| slot.planned)).collect()
    }
}

/// Puts a fetched row into its slot. An identical stored row stays; all other stored rows of the key are removed.
fn place(slot: &mut Slot, row: &Bar, remove: &mut HashSet<StoredBar>) -> TaskCounts {
    let uuid = bar_uuid(row);
    let copies = slot.stored.iter().filter(|stored| **stored == uuid).count();
    if copies == 1 && slot.planned.is_none() {
        let num_others = slot.stored.len() as u64 - 1;
        let others = slot.stored.iter().filter(|stored| **stored != uuid);
        remove.extend(others.map(|other| StoredBar { code: row.code, timestamp: row.timestamp, uuid: other.clone() }));
        slot.stored.retain(|stored| *stored == uuid);
        return TaskCounts { unchanged: 1, replaced: num_others, ..TaskCounts::default() };
    }
    if copies == 0 && slot.planned.as_ref().is_some_and(|planned| planned.uuid == uuid) {
        return TaskCounts { unchanged: 1, ..TaskCounts::default() };
    }
    let replaced = slot.clear(row.code, row.timestamp, remove);
    slot.planned = Some(identified(row, remove));
    TaskCounts { written: 1, replaced, ..TaskCounts::default() }
}

/// The row with a UUID that no removed row of the same key has. Otherwise the removal would delete the new row as well.
fn identified(row: &Bar, remove: &HashSet<StoredBar>) -> IdentifiedBar {
    let is_removed = |uuid: &str| {
        !remove.is_empty()
            && remove.contains(&StoredBar { code: row.code, timestamp: row.timestamp, uuid: uuid.to_owned() })
    };
    IdentifiedBar { bar: row.clone(), uuid: free_bar_uuid(row, is_removed) }
}
