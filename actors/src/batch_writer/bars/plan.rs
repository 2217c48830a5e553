// Upstream: batch_writer, plan_tests, validator, write
// Downstream: domain, ports
// Role: Decides, from what shall be stored and what is stored, which rows are inserted and which are removed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::NaiveDateTime;

use crate::domain::bar_identity::{bar_uuid, free_bar_uuid};
use crate::domain::{Bar, Code, Frequency, SyncMode, TaskCounts};
use crate::ports::{IdentifiedBar, KeySpan, StoredBar};

/// The sound rows of one task: one code, never split.
#[derive(Debug, Clone)]
pub struct WriteUnit {
    /// How long a bar lasts.
    pub frequency: Frequency,
    /// Insert what is missing, or replace.
    pub mode: SyncMode,
    /// The part of the store the task is about.
    pub span: KeySpan,
    /// The rows; times are unique.
    pub rows: Vec<Bar>,
    /// Times at which stored rows are left alone, because what came for them was invalid.
    pub keep: HashSet<NaiveDateTime>,
    /// Whether stored rows without a fetched counterpart are left alone, because an invalid row had no readable time.
    pub keep_unmatched: bool,
}

impl WriteUnit {
    /// The part of the store that must be known to plan this unit.
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

/// What to do to the store.
#[derive(Debug, Default, PartialEq)]
pub struct WritePlan {
    /// Rows to insert, first.
    pub insert: Arc<Vec<IdentifiedBar>>,
    /// Rows to remove, once the inserted ones are there: so no reader ever finds neither.
    pub remove: Vec<StoredBar>,
    /// Per unit: what becomes of its rows.
    pub counts: Vec<TaskCounts>,
}

/// Plans units in their order: a later one sees what an earlier one does.
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

/// The store as it will be.
#[derive(Default)]
struct View {
    codes: HashMap<Code, BTreeMap<NaiveDateTime, Slot>>,
}

/// One key: what is stored under it, and what is planned to be.
#[derive(Default)]
struct Slot {
    stored: Vec<String>,
    planned: Option<IdentifiedBar>,
}

impl Slot {
    fn is_empty(&self) -> bool {
        self.stored.is_empty() && self.planned.is_none()
    }

    /// Moves everything stored here to the rows that are removed.
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
        // In the order of the key, as the store keeps them: cheaper for it, and the same rows give the same token.
        let mut codes: Vec<_> = self.codes.into_iter().collect();
        codes.sort_unstable_by_key(|(code, _)| *code);
        codes.into_iter().flat_map(|(_, slots)| slots.into_values().filter_map(|slot| slot.planned)).collect()
    }
}

/// Puts a fetched row in its slot: an identical stored row stays, anything else there goes.
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

/// The row under an identity that no row has which goes at the same time, for it would go with it.
fn identified(row: &Bar, remove: &HashSet<StoredBar>) -> IdentifiedBar {
    let goes = |uuid: &str| {
        !remove.is_empty()
            && remove.contains(&StoredBar { code: row.code, timestamp: row.timestamp, uuid: uuid.to_owned() })
    };
    IdentifiedBar { bar: row.clone(), uuid: free_bar_uuid(row, goes) }
}
