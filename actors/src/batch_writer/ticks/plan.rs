// Upstream: batch_writer, validator, write
// Downstream: domain, ports
// Role: Compares fetched ticks of whole days with stored ticks and decides which to insert and which to remove.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::NaiveDate;
use uuid::Uuid;

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
    /// The counts of the ticks.
    pub counts: TaskCounts,
}

/// Added to a tick's number among equal trades (`nth`, which stays far below), it gives the tick another UUID.
/// Duplicate rows have the same UUID and can only be removed together, so one row with another UUID replaces all of
/// them. The next replacement restores the usual UUID.
const OTHER_IDENTITY: u32 = 1 << 28;

/// Number of other UUIDs of a tick. With this number `nth` stays within 32 bits.
const MAX_OTHER_IDENTITIES: u32 = 15;

/// Separates the UUIDs that are stored once from those that are stored more often (one row of each).
fn split_duplicates(rows: Vec<StoredTick>) -> (HashSet<String>, Vec<StoredTick>) {
    let mut unique = HashSet::new();
    let mut duplicated: BTreeMap<String, StoredTick> = BTreeMap::new();
    for row in rows {
        if duplicated.contains_key(&row.uuid) || !unique.insert(row.uuid.clone()) {
            unique.remove(&row.uuid);
            duplicated.insert(row.uuid.clone(), row);
        }
    }
    (unique, duplicated.into_values().collect())
}

/// Whether this worker created the UUID: it creates version 5. The UUIDs of the Python worker are random.
fn is_ours(uuid: &str) -> bool {
    Uuid::try_parse(uuid).is_ok_and(|uuid| uuid.get_version_num() == 5)
}

/// The stored rows of a day, compared with the fetched ticks.
struct StoredDay {
    /// UUIDs of fetched ticks that are stored once.
    matching: HashSet<String>,
    /// One row of each fetched tick that is stored more than once.
    duplicated: Vec<StoredTick>,
    /// Rows of this worker that were not fetched again.
    unmatched: Vec<StoredTick>,
    /// Rows of the Python worker.
    foreign: Vec<StoredTick>,
}

impl StoredDay {
    fn of(stored: Vec<StoredTick>, ticks: &[&Tick]) -> Self {
        let fetched: HashSet<String> = ticks.iter().map(|tick| tick.uuid()).collect();
        let (matching, others): (Vec<_>, Vec<_>) = stored.into_iter().partition(|row| fetched.contains(&row.uuid));
        let (matching, duplicated) = split_duplicates(matching);
        let (unmatched, foreign) = others.into_iter().partition(|row| is_ours(&row.uuid));
        Self { matching, duplicated, unmatched, foreign }
    }

    /// Whether this number of fetched ticks is enough to replace the stored rows. An interrupted replacement leaves the
    /// Python worker's rows beside the new rows, so the number is compared with each kind separately.
    fn may_be_replaced_by(&self, num_ticks: usize) -> bool {
        let num_own = self.matching.len() + self.duplicated.len() + self.unmatched.len();
        num_ticks >= self.foreign.len() && num_ticks >= num_own
    }
}

/// Plans the write. During trading a day only gains ticks. So a stored tick that was not fetched is either a row of the
/// Python worker, or the fetched day is incomplete. Such rows are removed only if the fetch returned at least as many
/// ticks as are stored.
pub fn plan(unit: &TickUnit, stored: Vec<StoredTick>) -> TickPlan {
    let mut fetched: BTreeMap<NaiveDate, Vec<&Tick>> = BTreeMap::new();
    for tick in &unit.rows {
        fetched.entry(tick.timestamp.date()).or_default().push(tick);
    }
    let mut known: BTreeMap<NaiveDate, Vec<StoredTick>> = BTreeMap::new();
    for row in stored {
        known.entry(row.timestamp.date()).or_default().push(row);
    }
    let mut result = TickPlan::default();
    for (day, ticks) in fetched {
        let stored = StoredDay::of(known.remove(&day).unwrap_or_default(), &ticks);
        let is_complete = unit.overwrite || stored.may_be_replaced_by(ticks.len());
        plan_day(&ticks, stored, is_complete && !unit.days_with_skipped_rows.contains(&day), &mut result);
    }
    result.counts.written = result.insert.len() as u64;
    result
}

fn plan_day(ticks: &[&Tick], stored: StoredDay, may_remove: bool, result: &mut TickPlan) {
    let StoredDay { matching, duplicated, unmatched, foreign } = stored;
    let duplicated_uuids: HashSet<String> = duplicated.iter().map(|row| row.uuid.clone()).collect();
    let taken: HashSet<String> = unmatched.iter().map(|row| row.uuid.clone()).collect();
    let remove: Vec<StoredTick> = duplicated.into_iter().chain(unmatched).chain(foreign).collect();
    let missing = ticks.iter().filter(|tick| !matching.contains(&tick.uuid()));
    let to_insert = |tick: &&Tick| match duplicated_uuids.contains(&tick.uuid()) {
        true => with_other_identity(tick, &taken),
        false => Some((*tick).clone()),
    };
    let insert: Option<Vec<Tick>> = missing.map(to_insert).collect();
    match insert {
        Some(insert) if remove.is_empty() || may_remove => {
            result.counts.unchanged += matching.len() as u64;
            result.counts.replaced += remove.len() as u64;
            result.insert.extend(insert);
            result.remove.extend(remove);
        }
        // The stored day stays unchanged, because the fetched day may be incomplete.
        _ => result.counts.unchanged += ticks.len() as u64,
    }
}

/// The tick with another UUID that no removed row has. Otherwise the removal would delete the new row as well. `None`
/// if all of them are taken, after as many interrupted replacements.
fn with_other_identity(tick: &Tick, taken: &HashSet<String>) -> Option<Tick> {
    let other = |n: u32| Tick { nth: tick.nth + n * OTHER_IDENTITY, ..tick.clone() };
    (1..=MAX_OTHER_IDENTITIES).map(other).find(|other| !taken.contains(&other.uuid()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Hundredths, SourceId};
    use chrono::NaiveDateTime;

    fn tick(time: &str, price: i64, nth: u32) -> Tick {
        Tick {
            code: "000001.SZ".parse().unwrap(),
            timestamp: time.parse().unwrap(),
            price: Hundredths(price),
            volume: 7,
            direction: 0,
            source: SourceId::TDX,
            nth,
        }
    }

    fn unit(rows: &[Tick], overwrite: bool) -> TickUnit {
        TickUnit {
            code: "000001.SZ".parse().unwrap(),
            overwrite,
            rows: rows.to_vec(),
            days_with_skipped_rows: BTreeSet::new(),
        }
    }

    fn stored(tick: &Tick) -> StoredTick {
        StoredTick { timestamp: tick.timestamp, uuid: tick.uuid() }
    }

    fn foreign(time: &str) -> StoredTick {
        StoredTick { timestamp: time.parse::<NaiveDateTime>().unwrap(), uuid: "random".to_owned() }
    }

    #[test]
    fn inserts_only_new_ticks_of_a_day() {
        let rows = [
            tick("2024-01-02T09:30:00", 1150, 0),
            tick("2024-01-02T09:30:00", 1150, 1),
            tick("2024-01-02T09:31:00", 1151, 0),
        ];
        let grown = plan(&unit(&rows, false), vec![stored(&rows[0])]);
        assert_eq!((grown.insert.as_slice(), grown.remove.len()), (&rows[1..], 0));
        assert_eq!((grown.counts.written, grown.counts.unchanged), (2, 1));
        let again = plan(&unit(&rows, false), rows.iter().map(stored).collect());
        assert_eq!((again.insert.len(), again.remove.len(), again.counts.unchanged), (0, 0, 3));
    }

    #[test]
    fn foreign_ticks_need_as_many_new_rows_or_overwrite() {
        let rows = [tick("2024-01-02T09:30:00", 1150, 0), tick("2024-01-02T09:31:00", 1151, 0)];
        let old = [foreign("2024-01-02T09:30:00"), foreign("2024-01-02T09:31:00")];
        let replaced = plan(&unit(&rows, false), old.to_vec());
        assert_eq!((replaced.insert.len(), replaced.remove.len(), replaced.counts.replaced), (2, 2, 2));
        let fewer = plan(&unit(&rows[..1], false), old.to_vec());
        assert_eq!((fewer.insert.len(), fewer.remove.len()), (0, 0));
        let overwritten = plan(&unit(&rows[..1], true), old.to_vec());
        assert_eq!((overwritten.insert.len(), overwritten.remove.len()), (1, 2));
        let skipped =
            TickUnit { days_with_skipped_rows: BTreeSet::from([rows[0].timestamp.date()]), ..unit(&rows, true) };
        assert_eq!(plan(&skipped, old.to_vec()).remove.len(), 0, "a day with a skipped row removes nothing");
    }

    #[test]
    fn duplicate_ticks_become_one_row() {
        let rows = [tick("2024-01-02T09:30:00", 1150, 0), tick("2024-01-02T09:31:00", 1151, 0)];
        let (first, second) = (stored(&rows[0]), stored(&rows[1]));
        let healed = plan(&unit(&rows, false), vec![first.clone(), first.clone(), second.clone(), first.clone()]);
        assert_eq!((healed.insert.len(), healed.remove.as_slice()), (1, &[first.clone()][..]));
        let other = stored(&healed.insert[0]);
        assert_ne!(other.uuid, first.uuid);
        let again = plan(&unit(&rows, false), vec![other.clone(), second]);
        assert_eq!((again.insert.as_slice(), again.remove.as_slice()), (&rows[..1], &[other][..]));
    }

    #[test]
    fn finishes_interrupted_tick_replacement() {
        let rows = [tick("2024-01-02T09:30:00", 1150, 0), tick("2024-01-02T09:31:00", 1151, 0)];
        let old = [foreign("2024-01-02T09:30:00"), foreign("2024-01-02T09:31:00")];
        let both: Vec<StoredTick> = rows.iter().map(stored).chain(old.clone()).collect();
        let finished = plan(&unit(&rows, false), both);
        assert_eq!((finished.insert.as_slice(), finished.remove.as_slice()), (&[][..], &old[..]));
        // A shorter answer does not remove rows that this worker stored.
        let fewer = plan(&unit(&rows[..1], false), rows.iter().map(stored).collect());
        assert_eq!((fewer.insert.len(), fewer.remove.len()), (0, 0));

        // Duplicates beside the row that should replace them: the new row gets a third UUID, so that it is not removed.
        let copy = stored(&rows[0]);
        let healed = plan(&unit(&rows[..1], true), vec![copy.clone(), copy.clone()]);
        let other = stored(&healed.insert[0]);
        let again = plan(&unit(&rows[..1], true), vec![copy.clone(), copy.clone(), other.clone()]);
        assert_eq!(again.remove, [copy, other.clone()]);
        assert!(again.insert.len() == 1 && again.insert[0].uuid() != other.uuid);
    }

    #[test]
    fn a_stored_day_that_was_not_fetched_is_left_alone() {
        let rows = [tick("2024-01-02T09:30:00", 1150, 0)];
        let plan = plan(&unit(&rows, true), vec![foreign("2024-01-03T09:30:00")]);
        assert_eq!((plan.insert.len(), plan.remove.len()), (1, 0));
    }
}
