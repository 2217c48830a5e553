// Upstream: batch_writer, validator, write
// Downstream: domain, ports
// Role: Decides, from the ticks of whole days and what is stored of those days, which are inserted and which removed.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::NaiveDate;
use uuid::Uuid;

use crate::domain::{Code, TaskCounts, Tick};
use crate::ports::StoredTick;

/// The sound ticks of some days of one security, in the order they came.
#[derive(Debug, Clone)]
pub struct TickUnit {
    /// The security.
    pub code: Code,
    /// Whether stored days become exactly these ticks even where they have fewer.
    pub overwrite: bool,
    /// The ticks.
    pub rows: Vec<Tick>,
    /// Days of which a row was refused.
    pub days_with_skipped_rows: BTreeSet<NaiveDate>,
}

/// What to do to the store.
#[derive(Debug, Default, PartialEq)]
pub struct TickPlan {
    /// Ticks to insert, first, in their order.
    pub insert: Vec<Tick>,
    /// Rows to remove, once the inserted ones are there.
    pub remove: Vec<StoredTick>,
    /// What becomes of the ticks.
    pub counts: TaskCounts,
}

/// Added to the count of equal trades, which stays far below it, it gives a tick another identity: copies of one row cannot
/// be told apart, so all of them are replaced by a row under that one. The next replacement gives the usual one back.
const OTHER_IDENTITY: u32 = 1 << 28;

/// Other identities that a tick may have: their numbers stay within 32 bits.
const MOST_OTHERS: u32 = 15;

/// Identities that are stored once, and a row of each that is stored more often.
fn once_and_more(rows: Vec<StoredTick>) -> (HashSet<String>, Vec<StoredTick>) {
    let mut once = HashSet::new();
    let mut more: BTreeMap<String, StoredTick> = BTreeMap::new();
    for row in rows {
        if more.contains_key(&row.uuid) || !once.insert(row.uuid.clone()) {
            once.remove(&row.uuid);
            more.insert(row.uuid.clone(), row);
        }
    }
    (once, more.into_values().collect())
}

/// Whether a stored identity is one that this worker gives; the Python worker's are random.
fn is_ours(uuid: &str) -> bool {
    Uuid::try_parse(uuid).is_ok_and(|uuid| uuid.get_version_num() == 5)
}

/// What is stored of a day, beside the ticks that came.
struct StoredDay {
    /// Identities of ticks that came, stored once.
    right: HashSet<String>,
    /// A row of each tick that came and is stored more often.
    doubled: Vec<StoredTick>,
    /// Rows of this worker that did not come again.
    gone: Vec<StoredTick>,
    /// Rows of the Python worker.
    foreign: Vec<StoredTick>,
}

impl StoredDay {
    fn of(stored: Vec<StoredTick>, ticks: &[&Tick]) -> Self {
        let wanted: HashSet<String> = ticks.iter().map(|tick| tick.uuid()).collect();
        let (right, wrong): (Vec<_>, Vec<_>) = stored.into_iter().partition(|row| wanted.contains(&row.uuid));
        let (right, doubled) = once_and_more(right);
        let (gone, foreign) = wrong.into_iter().partition(|row| is_ours(&row.uuid));
        Self { right, doubled, gone, foreign }
    }

    /// Whether so many ticks are a whole day in place of what is stored. A replacement that was cut off before its end has
    /// left the Python worker's rows beside those that replace them, so each kind is compared by itself.
    fn may_become(&self, num_ticks: usize) -> bool {
        num_ticks >= self.foreign.len() && num_ticks >= self.right.len() + self.doubled.len() + self.gone.len()
    }
}

/// Plans. A day only grows while it is traded, so a stored tick that was not fetched is one of the Python worker, or the
/// fetched day is not whole: it goes where at least as many ticks came as are stored.
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
        let is_believed = unit.overwrite || stored.may_become(ticks.len());
        plan_day(&ticks, stored, is_believed && !unit.days_with_skipped_rows.contains(&day), &mut result);
    }
    result.counts.written = result.insert.len() as u64;
    result
}

fn plan_day(ticks: &[&Tick], stored: StoredDay, may_remove: bool, result: &mut TickPlan) {
    let StoredDay { right, doubled, gone, foreign } = stored;
    let doubled_uuids: HashSet<String> = doubled.iter().map(|row| row.uuid.clone()).collect();
    let taken: HashSet<String> = gone.iter().map(|row| row.uuid.clone()).collect();
    let remove: Vec<StoredTick> = doubled.into_iter().chain(gone).chain(foreign).collect();
    let missing = ticks.iter().filter(|tick| !right.contains(&tick.uuid()));
    let insert: Option<Vec<Tick>> = missing
        .map(
            |tick| {
                if doubled_uuids.contains(&tick.uuid()) { under_another(tick, &taken) } else { Some((*tick).clone()) }
            },
        )
        .collect();
    match insert {
        Some(insert) if remove.is_empty() || may_remove => {
            result.counts.unchanged += right.len() as u64;
            result.counts.replaced += remove.len() as u64;
            result.insert.extend(insert);
            result.remove.extend(remove);
        }
        // What is stored is the best that is known.
        _ => result.counts.unchanged += ticks.len() as u64,
    }
}

/// The tick under an identity that no row has which goes, for it would go with it; `None` where all are taken, by as many
/// replacements that were cut off.
fn under_another(tick: &Tick, taken: &HashSet<String>) -> Option<Tick> {
    let other = |n: u32| Tick { nth: tick.nth + n * OTHER_IDENTITY, ..tick.clone() };
    (1..=MOST_OTHERS).map(other).find(|other| !taken.contains(&other.uuid()))
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
        let unsound =
            TickUnit { days_with_skipped_rows: BTreeSet::from([rows[0].timestamp.date()]), ..unit(&rows, true) };
        assert_eq!(plan(&unsound, old.to_vec()).remove.len(), 0, "a day of which a row was refused removes nothing");
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
        // An answer that lacks what this worker has stored is another thing.
        let fewer = plan(&unit(&rows[..1], false), rows.iter().map(stored).collect());
        assert_eq!((fewer.insert.len(), fewer.remove.len()), (0, 0));

        // Copies, and the row that was to replace them: it is not inserted a second time and then removed.
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
