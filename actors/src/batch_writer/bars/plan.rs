// Upstream: batch_writer, contest, plan_tests, validator, write
// Downstream: domain, ports
// Role: Compares fetched bars with stored bars and decides which rows to insert and which to remove.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::NaiveDateTime;

use crate::domain::bar_identity::{bar_uuid, replacing_bar_uuid};
use crate::domain::row_version::{RowVersion, is_same_row};
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
    pub remove: Arc<Vec<StoredBar>>,
    /// Per unit: the counts of its rows.
    pub counts: Vec<TaskCounts>,
}

/// Plans the units in their order. A later unit sees the changes of earlier units. Rows that replace others get the
/// version `now`, or the next one after the highest stored version.
pub fn plan(units: &[&WriteUnit], stored: Vec<StoredBar>, now: RowVersion) -> WritePlan {
    let version = now.above(stored.iter().map(|row| row.uuid.as_str()));
    let mut view = View { codes: HashMap::new(), version };
    for row in stored {
        let slot = view.codes.entry(row.code).or_default().entry(row.timestamp).or_default();
        // Almost every key has one row; a growing vector would take room for four.
        slot.stored.reserve_exact(1);
        slot.stored.push(row.uuid);
    }
    let mut remove = Vec::new();
    let counts = units
        .iter()
        .map(|unit| match unit.mode {
            SyncMode::Incremental => view.insert_missing(unit),
            SyncMode::Replace => view.replace(unit, &mut remove),
        })
        .collect();
    let insert = Arc::new(view.into_planned());
    remove.sort_unstable_by(|a: &StoredBar, b| (a.code, a.timestamp, &a.uuid).cmp(&(b.code, b.timestamp, &b.uuid)));
    // Copies of one row may share its UUID, and one statement removes them all.
    remove.dedup();
    WritePlan { insert, remove: Arc::new(remove), counts }
}

/// The rows of the store after the planned changes.
struct View<'a> {
    codes: HashMap<Code, BTreeMap<NaiveDateTime, Slot<'a>>>,
    /// The version of rows that replace others.
    version: RowVersion,
}

/// The rows of one key (code and timestamp).
#[derive(Default)]
struct Slot<'a> {
    /// UUIDs of the stored rows that stay.
    stored: Vec<String>,
    /// Whether the plan removes stored rows of this key.
    is_replaced: bool,
    /// The row to insert.
    planned: Option<Planned<'a>>,
}

/// A row to insert, and its UUID.
struct Planned<'a> {
    row: &'a Bar,
    uuid: String,
}

impl<'a> Slot<'a> {
    fn is_empty(&self) -> bool {
        self.stored.is_empty() && self.planned.is_none()
    }

    /// Marks all stored rows of this key for removal and drops the planned row. Returns the number of removed rows.
    fn clear(&mut self, code: Code, timestamp: NaiveDateTime, remove: &mut Vec<StoredBar>) -> u64 {
        self.planned = None;
        let num_removed = self.stored.len() as u64;
        self.is_replaced |= num_removed > 0;
        remove.extend(self.stored.drain(..).map(|uuid| StoredBar { code, timestamp, uuid }));
        num_removed
    }

    /// Puts a fetched row into the slot. One stored row with the same values stays. In all other cases the fetched row
    /// is inserted and all stored rows are removed, also where one of several is the same: a row may only be removed by
    /// a writer that inserted a row with a higher version before. Otherwise two writers could remove each other's.
    fn replace(&mut self, row: &'a Bar, version: RowVersion, remove: &mut Vec<StoredBar>) -> TaskCounts {
        let uuid = bar_uuid(row);
        let is_unchanged = match (self.stored.as_slice(), &self.planned) {
            ([stored], None) => is_same_row(stored, &uuid),
            ([], Some(planned)) => is_same_row(&planned.uuid, &uuid),
            _ => false,
        };
        if is_unchanged {
            return TaskCounts { unchanged: 1, ..TaskCounts::default() };
        }
        // For the report, a value that is stored already is unchanged, and the rows beside it are surplus.
        let is_stored = self.stored.iter().any(|stored| is_same_row(stored, &uuid));
        let replaced = self.clear(row.code, row.timestamp, remove) - u64::from(is_stored);
        self.plan_row(row, version);
        let (written, unchanged) = if is_stored { (0, 1) } else { (1, 0) };
        TaskCounts { written, unchanged, replaced, ..TaskCounts::default() }
    }

    fn plan_row(&mut self, row: &'a Bar, version: RowVersion) {
        let uuid = if self.is_replaced { replacing_bar_uuid(row, version) } else { bar_uuid(row) };
        self.planned = Some(Planned { row, uuid });
    }
}

impl<'a> View<'a> {
    fn insert_missing(&mut self, unit: &'a WriteUnit) -> TaskCounts {
        let version = self.version;
        let slots = self.codes.entry(unit.span.code).or_default();
        let mut counts = TaskCounts::default();
        for row in &unit.rows {
            let slot = slots.entry(row.timestamp).or_default();
            if slot.is_empty() {
                slot.plan_row(row, version);
                counts.written += 1;
            } else {
                counts.unchanged += 1;
            }
        }
        counts
    }

    fn replace(&mut self, unit: &'a WriteUnit, remove: &mut Vec<StoredBar>) -> TaskCounts {
        let (code, version) = (unit.span.code, self.version);
        let slots = self.codes.entry(code).or_default();
        let mut counts = TaskCounts::default();
        for row in &unit.rows {
            let slot = slots.entry(row.timestamp).or_default();
            counts.add(&slot.replace(row, version, remove));
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

    /// The rows to insert, oldest day first. A server stores the partitions of an INSERT one after the other, in the
    /// order of their first rows. If it stops in the middle, the newest days are missing, where the next increment
    /// begins.
    fn into_planned(self) -> Vec<IdentifiedBar> {
        let slots = self.codes.into_values().flat_map(BTreeMap::into_values);
        let mut planned: Vec<IdentifiedBar> = slots
            .filter_map(|slot| slot.planned)
            .map(|planned| IdentifiedBar { bar: planned.row.clone(), uuid: planned.uuid })
            .collect();
        planned.sort_unstable_by_key(|row| (row.bar.timestamp.date(), row.bar.code, row.bar.timestamp));
        planned
    }
}
