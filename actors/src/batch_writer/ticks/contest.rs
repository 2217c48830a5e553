// Upstream: write
// Downstream: domain, plan, ports
// Role: Finds days of ticks that two workers wrote at the same moment, and decides whose answer stays.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{NaiveDate, NaiveDateTime};

use crate::batch_writer::ticks::plan::{TickPlan, TickUnit, by_day, in_version};
use crate::domain::Tick;
use crate::domain::row_version::{RowName, RowVersion, order};
use crate::ports::StoredTick;

/// The days that a task wrote.
///
/// The ticks of a day are one answer of the vendor, so of two answers one must stay whole. As with bars
/// (`bars/contest.rs`), the writer of the row with the highest version acts: it writes its answer once more, with a
/// higher version, and then removes the rows it saw. The others look again until the day is one answer. A day only gains
/// ticks during trading: rows after the last minute of an answer belong to a later answer, and are left to its writer.
pub struct DayContest<'a> {
    days: BTreeMap<NaiveDate, OurDay<'a>>,
}

/// A day as this task wrote it.
struct OurDay<'a> {
    ticks: Vec<&'a Tick>,
    names: HashSet<RowName>,
    /// The minute of the last tick.
    last: NaiveDateTime,
    version: RowVersion,
    /// The UUIDs that this task inserted.
    inserted: HashSet<String>,
}

/// What to do after a look at the store.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// Each day is one answer.
    Settled,
    /// Another worker has to act.
    Theirs,
    /// Write these changes, then look again.
    Ours(TickPlan),
}

impl<'a> DayContest<'a> {
    /// The days that a plan writes.
    pub fn new(unit: &'a TickUnit, plan: &TickPlan) -> Self {
        let mut contest = Self { days: BTreeMap::new() };
        for (day, ticks) in by_day(&unit.rows) {
            let (Some(version), Some(last)) = (plan.days.get(&day), ticks.iter().map(|tick| tick.timestamp).max())
            else {
                continue;
            };
            let names = ticks.iter().map(|tick| tick.name()).collect();
            contest.days.insert(day, OurDay { ticks, names, last, version: *version, inserted: HashSet::new() });
        }
        contest.wrote(plan);
        contest
    }

    /// The first and the last written day; `None` if nothing was written.
    pub fn span(&self) -> Option<(NaiveDate, NaiveDate)> {
        Some((*self.days.first_key_value()?.0, *self.days.last_key_value()?.0))
    }

    /// Adds a plan that was written.
    fn wrote(&mut self, plan: &TickPlan) {
        for row in &plan.insert {
            if let Some(day) = self.days.get_mut(&row.timestamp.date()) {
                day.inserted.insert(row.uuid());
            }
        }
    }

    /// Judges the stored rows of the days. With `take_over` the task also acts where another worker has to: it may be
    /// gone.
    pub fn judge(&mut self, stored: Vec<StoredTick>, now: RowVersion, take_over: bool) -> Verdict {
        let mut found: BTreeMap<NaiveDate, Vec<StoredTick>> = BTreeMap::new();
        for row in stored {
            found.entry(row.timestamp.date()).or_default().push(row);
        }
        let mut plan = TickPlan::default();
        let mut is_settled = true;
        for (day, ours) in &mut self.days {
            let rows = ours.without_later(found.remove(day).unwrap_or_default());
            if ours.is_settled(&rows) {
                continue;
            }
            is_settled = false;
            if take_over || ours.has_highest(&rows) {
                ours.version = now.above(rows.iter().map(|row| row.uuid.as_str()));
                plan.insert.extend(ours.ticks.iter().map(|tick| in_version(tick, ours.version)));
                plan.remove.extend(rows);
                plan.days.insert(*day, ours.version);
            }
        }
        match (is_settled, plan.insert.is_empty()) {
            (true, _) => Verdict::Settled,
            (false, true) => Verdict::Theirs,
            (false, false) => {
                self.wrote(&plan);
                Verdict::Ours(plan)
            }
        }
    }
}

impl OurDay<'_> {
    /// The rows without those of a later answer.
    fn without_later(&self, mut rows: Vec<StoredTick>) -> Vec<StoredTick> {
        rows.retain(|row| row.timestamp <= self.last);
        rows
    }

    /// Whether the rows are this answer, or another one that was written above it.
    fn is_settled(&self, rows: &[StoredTick]) -> bool {
        let names: HashSet<Option<RowName>> = rows.iter().map(|row| RowName::of(&row.uuid)).collect();
        let versions: BTreeSet<RowVersion> = rows.iter().map(|row| RowVersion::of(&row.uuid)).collect();
        let is_one_answer = names.len() == rows.len() && versions.len() == 1;
        let is_ours =
            || names.len() == self.names.len() && names.iter().flatten().all(|name| self.names.contains(name));
        is_one_answer && (versions.first().is_some_and(|version| *version > self.version) || is_ours())
    }

    /// Whether this task inserted the row with the highest version. Where no row is left, it acts as well.
    fn has_highest(&self, rows: &[StoredTick]) -> bool {
        let highest = rows.iter().map(|row| row.uuid.as_str()).max_by_key(|uuid| order(uuid));
        highest.is_none_or(|uuid| self.inserted.contains(uuid))
    }
}
