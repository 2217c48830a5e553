// Upstream: write
// Downstream: batch_writer, domain, plan, ports
// Role: Finds days of ticks that two workers wrote at the same moment, and decides whose answer stays.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{NaiveDate, NaiveDateTime};

use crate::batch_writer::looks::Verdict;
use crate::batch_writer::ticks::plan::{TickPlan, TickUnit, by_day, in_version, stored_by_day};
use crate::domain::Tick;
use crate::domain::row_version::{RowName, RowVersion, order};
use crate::ports::StoredTick;

/// The days that a task wrote.
///
/// The ticks of a day are one answer of the vendor, so of two answers one must stay whole. As with bars
/// (`bars/contest.rs`), the writer of the row with the highest version acts: it writes its answer once more, with a
/// higher version, and then removes the rows it saw. The others look again until the day is one answer. A day only
/// gains ticks during trading: rows after the last minute of an answer belong to a later answer, and are left to its
/// writer.
pub struct DayContest<'a> {
    unit: &'a TickUnit,
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

impl<'a> DayContest<'a> {
    /// No written days yet.
    pub fn new(unit: &'a TickUnit) -> Self {
        Self { unit, days: BTreeMap::new() }
    }

    /// The first and the last written day; `None` if nothing was written.
    pub fn span(&self) -> Option<(NaiveDate, NaiveDate)> {
        Some((*self.days.first_key_value()?.0, *self.days.last_key_value()?.0))
    }

    /// Adds a plan that is about to be written.
    pub fn wrote(&mut self, plan: &TickPlan) {
        if plan.days.keys().any(|day| !self.days.contains_key(day)) {
            for (day, ticks) in by_day(&self.unit.rows) {
                let Some(last) = ticks.iter().map(|tick| tick.timestamp).max() else { continue };
                if plan.days.contains_key(&day) {
                    self.days.entry(day).or_insert_with(|| OurDay::new(ticks, last));
                }
            }
        }
        for (day, version) in &plan.days {
            if let Some(day) = self.days.get_mut(day) {
                day.version = *version;
            }
        }
        for row in &plan.insert {
            if let Some(day) = self.days.get_mut(&row.timestamp.date()) {
                day.inserted.insert(row.uuid());
            }
        }
    }

    /// Judges the stored rows of the days. With `take_over` the task also acts where another worker has to: it may be
    /// gone.
    pub fn judge(&mut self, stored: Vec<StoredTick>, now: RowVersion, take_over: bool) -> Verdict<TickPlan> {
        let mut found = stored_by_day(stored);
        let mut plan = TickPlan::default();
        let (mut is_settled, mut missing) = (true, 0);
        for (day, ours) in &mut self.days {
            let rows = ours.without_later(found.remove(day).unwrap_or_default());
            if ours.is_settled(&rows) {
                continue;
            }
            is_settled = false;
            if let Some(number) = ours.missing(&rows) {
                missing += number;
                continue;
            }
            if take_over || ours.has_highest(&rows) {
                ours.version = now.above(rows.iter().map(|row| row.uuid.as_str()));
                plan.insert.extend(ours.ticks.iter().map(|tick| in_version(tick, ours.version)));
                plan.remove.extend(rows);
                plan.days.insert(*day, ours.version);
            }
        }
        if !plan.insert.is_empty() {
            self.wrote(&plan);
            return Verdict::Ours(plan);
        }
        match (is_settled, missing) {
            (true, _) => Verdict::Settled,
            (false, 0) => Verdict::Theirs,
            (false, missing) => Verdict::missing(format!("tick table of {}", self.unit.code), missing),
        }
    }
}

impl<'a> OurDay<'a> {
    fn new(ticks: Vec<&'a Tick>, last: NaiveDateTime) -> Self {
        let names = ticks.iter().map(|tick| tick.name()).collect();
        Self { ticks, names, last, version: RowVersion::FIRST, inserted: HashSet::new() }
    }

    /// The number of ticks that are not stored, if all stored rows are those of this answer. Another worker removes
    /// rows only after it inserted rows with a higher version, so the server did not store them.
    fn missing(&self, rows: &[StoredTick]) -> Option<u64> {
        let is_ours = |row: &StoredTick| {
            RowVersion::of(&row.uuid) == self.version
                && RowName::of(&row.uuid).is_some_and(|name| self.names.contains(&name))
        };
        let found: HashSet<&str> = rows.iter().map(|row| row.uuid.as_str()).collect();
        let missing = self.names.len().checked_sub(found.len()).filter(|missing| *missing > 0)?;
        (found.len() == rows.len() && rows.iter().all(is_ours)).then_some(missing as u64)
    }

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
