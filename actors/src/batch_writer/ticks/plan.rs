// Upstream: batch_writer, contest, plan_tests, validator, write
// Downstream: domain, ports
// Role: Compares fetched ticks of whole days with stored ticks and decides which to insert and which to remove.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::NaiveDate;

use crate::domain::row_version::{RowName, RowVersion};
use crate::domain::{Code, TaskCounts, Tick};
use crate::ports::StoredTick;

/// The valid ticks of some days of one security, in the order of the source.
#[derive(Debug, Clone)]
pub struct TickUnit {
    /// The security.
    pub code: Code,
    /// Whether a fetched day replaces a stored day that has more ticks.
    pub overwrite: bool,
    /// The ticks.
    pub rows: Vec<Tick>,
    /// Days with rows that validation skipped.
    pub days_with_skipped_rows: BTreeSet<NaiveDate>,
}

/// The changes to the store.
#[derive(Debug, Default, PartialEq)]
pub struct TickPlan {
    /// Ticks to insert, in this order. They are inserted first.
    pub insert: Vec<Tick>,
    /// Rows to remove after the insertion.
    pub remove: Vec<StoredTick>,
    /// The days whose ticks are written, with the version of their rows afterwards.
    pub days: BTreeMap<NaiveDate, RowVersion>,
    /// The counts of the ticks.
    pub counts: TaskCounts,
}

/// The ticks of each day.
pub fn by_day(rows: &[Tick]) -> BTreeMap<NaiveDate, Vec<&Tick>> {
    let mut days: BTreeMap<NaiveDate, Vec<&Tick>> = BTreeMap::new();
    for tick in rows {
        days.entry(tick.timestamp.date()).or_default().push(tick);
    }
    days
}

/// The stored rows of each day.
pub fn stored_by_day(rows: Vec<StoredTick>) -> BTreeMap<NaiveDate, Vec<StoredTick>> {
    let mut days: BTreeMap<NaiveDate, Vec<StoredTick>> = BTreeMap::new();
    for row in rows {
        days.entry(row.timestamp.date()).or_default().push(row);
    }
    days
}

/// Plans the write. During trading a day only gains ticks. So a stored tick that was not fetched is either a row of the
/// Python worker, or the fetched day is incomplete. Such rows are removed only if the fetch returned at least as many
/// ticks as are stored. A day of which rows are removed is written whole, with the version `now` or the next one after
/// the highest stored version: a row may only be removed by a writer that inserted rows with a higher version before.
pub fn plan(unit: &TickUnit, stored: Vec<StoredTick>, now: RowVersion) -> TickPlan {
    let mut known = stored_by_day(stored);
    let mut result = TickPlan::default();
    for (day, ticks) in by_day(&unit.rows) {
        let stored = StoredDay::of(known.remove(&day).unwrap_or_default(), &ticks);
        let is_complete = unit.overwrite || stored.may_be_replaced_by(ticks.len());
        let may_remove = is_complete && !unit.days_with_skipped_rows.contains(&day);
        if stored.needs_removal() {
            if may_remove {
                replace_day(day, &ticks, stored, now, &mut result);
            } else {
                // The stored day stays unchanged, because the fetched day may be incomplete.
                result.counts.unchanged += ticks.len() as u64;
            }
        } else {
            extend_day(day, &ticks, &stored, &mut result);
        }
    }
    result
}

/// The stored rows of a day, compared with the fetched ticks.
struct StoredDay {
    rows: Vec<StoredTick>,
    /// Fetched ticks that are stored.
    matching: HashSet<RowName>,
    /// Number of rows of the Python worker.
    num_foreign: usize,
    /// Number of ticks of the largest answer that this worker stored.
    num_own: usize,
    /// Whether there is a row that is not a fetched tick, or a second row of one.
    has_others: bool,
    /// The versions of its rows.
    versions: BTreeSet<RowVersion>,
}

impl StoredDay {
    fn of(rows: Vec<StoredTick>, ticks: &[&Tick]) -> Self {
        let fetched: HashSet<RowName> = ticks.iter().map(|tick| tick.name()).collect();
        let mut own: BTreeMap<RowVersion, HashSet<RowName>> = BTreeMap::new();
        let (mut matching, mut num_foreign, mut has_others) = (HashSet::new(), 0, false);
        for row in &rows {
            let Some(name) = RowName::of(&row.uuid) else {
                num_foreign += 1;
                has_others = true;
                continue;
            };
            has_others |= !fetched.contains(&name) || !matching.insert(name);
            own.entry(RowVersion::of(&row.uuid)).or_default().insert(name);
        }
        let num_own = own.values().map(HashSet::len).max().unwrap_or_default();
        Self { rows, matching, num_foreign, num_own, has_others, versions: own.into_keys().collect() }
    }

    /// Whether rows must go before the day is the fetched one.
    fn needs_removal(&self) -> bool {
        self.has_others || self.versions.len() > 1
    }

    /// Whether this number of fetched ticks is enough to replace the stored rows. An interrupted replacement leaves the
    /// replaced rows beside the new ones, so the number is compared with each answer separately.
    fn may_be_replaced_by(&self, num_ticks: usize) -> bool {
        num_ticks >= self.num_foreign && num_ticks >= self.num_own
    }
}

/// Adds the missing ticks in the version of the stored ones.
fn extend_day(day: NaiveDate, ticks: &[&Tick], stored: &StoredDay, result: &mut TickPlan) {
    let version = stored.versions.first().copied().unwrap_or(RowVersion::FIRST);
    let missing = ticks.iter().filter(|tick| !stored.matching.contains(&tick.name()));
    let before = result.insert.len();
    result.insert.extend(missing.map(|tick| in_version(tick, version)));
    let added = result.insert.len() - before;
    if added > 0 {
        result.days.insert(day, version);
    }
    result.counts.written += added as u64;
    result.counts.unchanged += (ticks.len() - added) as u64;
}

/// Writes the whole day above all stored rows.
fn replace_day(day: NaiveDate, ticks: &[&Tick], stored: StoredDay, now: RowVersion, result: &mut TickPlan) {
    let version = now.above(stored.rows.iter().map(|row| row.uuid.as_str()));
    let unchanged = stored.matching.len() as u64;
    result.counts.unchanged += unchanged;
    result.counts.written += ticks.len() as u64 - unchanged;
    result.counts.replaced += stored.rows.len() as u64 - unchanged;
    result.insert.extend(ticks.iter().map(|tick| in_version(tick, version)));
    result.remove.extend(stored.rows);
    result.days.insert(day, version);
}

/// The tick as a row of this version.
pub fn in_version(tick: &Tick, version: RowVersion) -> Tick {
    Tick { version: Some(version).filter(|version| *version != RowVersion::FIRST), ..tick.clone() }
}
