// Upstream: batch_writer, contest, validator, write
// Downstream: domain, ports
// Role: Compares fetched raw factors with stored factors and decides which rows to insert and which to remove.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::NaiveDateTime;

use crate::domain::row_version::{RowVersion, order};
use crate::domain::{AdjustFactor, Code, RawFactor, SyncMode, TaskCounts};
use crate::ports::{SeriesEnds, StoredFactor};

/// The valid raw factors of one task, oldest first. Their timestamps are unique.
#[derive(Debug, Clone)]
pub struct FactorUnit {
    /// The security.
    pub code: Code,
    /// Whether these rows replace the stored series or are added to it.
    pub mode: SyncMode,
    /// A replacement leaves later rows than this: they came from another worker since the request.
    pub removable_until: NaiveDateTime,
    /// The rows.
    pub rows: Vec<RawFactor>,
}

/// The changes to the store.
#[derive(Debug, Default, PartialEq)]
pub struct FactorPlan {
    /// Rows to insert. Rows that replace stored rows are inserted before the removal, newer rows after it.
    pub insert: Vec<AdjustFactor>,
    /// Rows to remove after the insertion of their replacements.
    pub remove: Vec<StoredFactor>,
    /// The newest stored day of the series whose rows are replaced.
    pub replaced_until: HashMap<Code, NaiveDateTime>,
    /// The ends of each series after the write.
    pub ends: HashMap<Code, SeriesEnds>,
    /// Per unit: the counts of its rows.
    pub counts: Vec<TaskCounts>,
}

/// Whether the unit only appends rows with the last stored factor, as on every day without an ex-right. Then no stored
/// row changes, because `fore` is relative to the last factor, and the ends of the stored series are enough to plan.
fn only_appends(unit: &FactorUnit, ends: &SeriesEnds) -> bool {
    unit.mode == SyncMode::Incremental
        && unit.rows.iter().all(|row| row.timestamp > ends.last_at && row.factor == ends.last)
}

/// The codes whose whole stored series must be read to plan these units. `contested` are codes that another worker
/// wrote at the same moment.
pub fn codes_to_read(units: &[&FactorUnit], ends: &HashMap<Code, SeriesEnds>, contested: &HashSet<Code>) -> Vec<Code> {
    let mut seen = HashSet::new();
    let mut twice = contested.clone();
    for unit in units {
        if !seen.insert(unit.code) {
            twice.insert(unit.code);
        }
    }
    let needs = |unit: &&&FactorUnit| {
        ends.get(&unit.code).is_some_and(|ends| twice.contains(&unit.code) || !only_appends(unit, ends))
    };
    let codes: HashSet<Code> = units.iter().filter(needs).map(|unit| unit.code).collect();
    let mut codes: Vec<Code> = codes.into_iter().collect();
    codes.sort_unstable();
    codes
}

/// Plans the units in their order. `stored` contains the series of [`codes_to_read`]. Rows that replace others get the
/// version `now`, or the next one after the highest stored version.
pub fn plan(
    units: &[&FactorUnit],
    ends: &HashMap<Code, SeriesEnds>,
    stored: Vec<StoredFactor>,
    now: RowVersion,
) -> FactorPlan {
    let version = now.above(stored.iter().map(|row| row.uuid.as_str()));
    let mut series: HashMap<Code, Vec<StoredFactor>> = HashMap::new();
    for row in stored {
        series.entry(row.code).or_default().push(row);
    }
    let mut wanted: HashMap<Code, BTreeMap<NaiveDateTime, RawFactor>> = HashMap::new();
    let mut result = FactorPlan::default();
    for unit in units {
        match ends.get(&unit.code) {
            Some(ends) if !series.contains_key(&unit.code) && only_appends(unit, ends) => {
                let rows = unit.rows.iter().filter_map(|row| AdjustFactor::of(unit.code, *row, ends.first, ends.last));
                result.insert.extend(rows);
                let last_at = unit.rows.iter().map(|row| row.timestamp).max().unwrap_or(ends.last_at);
                result.ends.insert(unit.code, SeriesEnds { last_at, ..*ends });
                result.counts.push(TaskCounts { written: unit.rows.len() as u64, ..TaskCounts::default() });
            }
            _ => {
                let known = series.get(&unit.code).map(Vec::as_slice).unwrap_or_default();
                let rows = wanted.entry(unit.code).or_insert_with(|| raw_of(known));
                result.counts.push(merge_rows(unit, rows));
            }
        }
    }
    for (code, rows) in wanted {
        replace(code, &rows, series.remove(&code).unwrap_or_default(), version, &mut result);
    }
    // Oldest day first, as with bars.
    result.insert.sort_by_key(|row| (row.raw.timestamp, row.code));
    let replaced = result.remove.iter().filter_map(|row| Some((row.code, ends.get(&row.code)?.last_at)));
    result.replaced_until = replaced.collect();
    result
}

impl FactorPlan {
    /// Whether a row is inserted after the removal: it is after the newest stored day of a replaced series. If the
    /// worker crashes before that, the next increment requests the code again and finishes the replacement. With the
    /// newest rows stored, old and new rows would stay side by side.
    pub fn is_inserted_last(&self, row: &AdjustFactor) -> bool {
        // A row with a version replaces a stored one, which another worker added since the ends were read.
        row.version.is_none() && self.replaced_until.get(&row.code).is_some_and(|until| row.raw.timestamp > *until)
    }
}

/// The raw factors of a series. Of several rows of a day, the one with the highest version counts.
fn raw_of(stored: &[StoredFactor]) -> BTreeMap<NaiveDateTime, RawFactor> {
    let mut rows: Vec<&StoredFactor> = stored.iter().collect();
    rows.sort_by_key(|row| order(&row.uuid));
    rows.into_iter().map(|row| (row.raw.timestamp, row.raw)).collect()
}

/// Applies the rows of a unit to a series.
fn merge_rows(unit: &FactorUnit, rows: &mut BTreeMap<NaiveDateTime, RawFactor>) -> TaskCounts {
    let mut counts = TaskCounts::default();
    if unit.mode == SyncMode::Replace {
        let fetched: HashSet<NaiveDateTime> = unit.rows.iter().map(|row| row.timestamp).collect();
        rows.retain(|timestamp, _| fetched.contains(timestamp) || *timestamp > unit.removable_until);
    }
    for row in &unit.rows {
        match rows.insert(row.timestamp, *row) {
            Some(old) if old.factor == row.factor => counts.unchanged += 1,
            _ => counts.written += 1,
        }
    }
    counts
}

/// Plans the changes that turn the stored series into `rows`. The only stored row of a day stays if it is correct. In
/// all other cases the day's row is inserted and its stored rows are removed: a row may only be removed by a writer
/// that inserted one with a higher version before.
fn replace(
    code: Code,
    rows: &BTreeMap<NaiveDateTime, RawFactor>,
    stored: Vec<StoredFactor>,
    version: RowVersion,
    result: &mut FactorPlan,
) {
    let end = |row: Option<(&NaiveDateTime, &RawFactor)>| row.map(|(_, row)| row.factor);
    let (Some(first), Some(last)) = (end(rows.first_key_value()), end(rows.last_key_value())) else { return };
    if let Some((last_at, _)) = rows.last_key_value() {
        result.ends.insert(code, SeriesEnds { first, last, last_at: *last_at });
    }
    let mut days: BTreeMap<NaiveDateTime, Vec<StoredFactor>> = BTreeMap::new();
    for row in stored {
        days.entry(row.raw.timestamp).or_default().push(row);
    }
    for wanted in rows.values().filter_map(|row| AdjustFactor::of(code, *row, first, last)) {
        let found = days.remove(&wanted.raw.timestamp).unwrap_or_default();
        match found.as_slice() {
            [row] if wanted.is_stored_as(&row.uuid) => {}
            [] => result.insert.push(wanted),
            _ => {
                result.insert.push(AdjustFactor { version: Some(version), ..wanted });
                result.remove.extend(found);
            }
        }
    }
    result.remove.extend(days.into_values().flatten());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Millionths, SourceId};
    use chrono::{Duration, NaiveDate};
    use proptest::prelude::*;

    fn code() -> Code {
        "000001.SZ".parse().unwrap()
    }

    fn day(n: i64) -> NaiveDateTime {
        NaiveDate::from_ymd_opt(2024, 1, 1).unwrap().and_hms_opt(0, 0, 0).unwrap() + Duration::days(n)
    }

    fn raw(n: i64, factor: i64) -> RawFactor {
        RawFactor { timestamp: day(n), factor: Millionths(factor * 1_000_000), source: SourceId::TUSHARE }
    }

    fn unit(mode: SyncMode, rows: &[(i64, i64)]) -> FactorUnit {
        FactorUnit {
            code: code(),
            mode,
            removable_until: NaiveDateTime::MAX,
            rows: rows.iter().map(|(n, factor)| raw(*n, *factor)).collect(),
        }
    }

    fn as_stored(rows: &[AdjustFactor]) -> Vec<StoredFactor> {
        rows.iter().map(|row| StoredFactor { code: row.code, raw: row.raw, uuid: row.uuid() }).collect()
    }

    fn ends(stored: &[StoredFactor]) -> HashMap<Code, SeriesEnds> {
        let (Some(first), Some(last)) = (stored.first(), stored.last()) else { return HashMap::new() };
        HashMap::from([(
            code(),
            SeriesEnds { first: first.raw.factor, last: last.raw.factor, last_at: last.raw.timestamp },
        )])
    }

    /// Runs units one after the other against a model store and returns the stored rows.
    fn run(units: &[FactorUnit]) -> Vec<AdjustFactor> {
        let mut rows: Vec<AdjustFactor> = Vec::new();
        for unit in units {
            rows.sort_by_key(|row| row.raw.timestamp);
            let stored = as_stored(&rows);
            let ends = ends(&stored);
            let read = codes_to_read(&[unit], &ends, &HashSet::new());
            let plan = plan(&[unit], &ends, if read.is_empty() { vec![] } else { stored }, RowVersion::now());
            rows.extend(plan.insert);
            rows.retain(|row| !plan.remove.iter().any(|gone| gone.uuid == row.uuid()));
        }
        rows.sort_by_key(|row| row.raw.timestamp);
        unversioned(rows)
    }

    fn unversioned(rows: Vec<AdjustFactor>) -> Vec<AdjustFactor> {
        rows.into_iter().map(|row| AdjustFactor { version: None, ..row }).collect()
    }

    fn expected(series: &[(i64, i64)]) -> Vec<AdjustFactor> {
        let (first, last) = (raw(0, series[0].1).factor, raw(0, series[series.len() - 1].1).factor);
        series.iter().map(|(n, factor)| AdjustFactor::of(code(), raw(*n, *factor), first, last).unwrap()).collect()
    }

    #[test]
    fn a_replacement_leaves_days_that_came_since_its_request() {
        let stored =
            plan(&[&unit(SyncMode::Replace, &[(1, 1), (2, 1), (3, 2)])], &HashMap::new(), vec![], RowVersion::now());
        let (ends, stored) = (stored.ends, as_stored(&stored.insert));
        let days = |removable_until| {
            let older = FactorUnit { removable_until, ..unit(SyncMode::Replace, &[(1, 1), (2, 1)]) };
            let plan = plan(&[&older], &ends, stored.clone(), RowVersion::now());
            (plan.insert.len(), plan.remove.len())
        };
        assert_eq!(days(day(2)), (0, 0), "the third day came since");
        assert_eq!(days(day(3)), (2, 3), "the vendor no longer has the third day");
    }

    #[test]
    fn day_without_ex_right_writes_one_row() {
        let history = run(&[unit(SyncMode::Incremental, &[(1, 2), (2, 4)])]);
        let stored = as_stored(&history);
        let new = unit(SyncMode::Incremental, &[(3, 4)]);
        assert_eq!(codes_to_read(&[&new], &ends(&stored), &HashSet::new()), []);
        let plan = plan(&[&new], &ends(&stored), vec![], RowVersion::now());
        assert_eq!((plan.insert.len(), plan.remove.len()), (1, 0));
        assert_eq!(plan.insert[0], expected(&[(1, 2), (2, 4), (3, 4)])[2]);
    }

    #[test]
    fn ex_right_rewrites_series_and_removes_old_rows() {
        let mut stored = as_stored(&run(&[unit(SyncMode::Incremental, &[(1, 2), (2, 4)])]));
        stored[0].uuid = "a random one".to_owned();
        let new = unit(SyncMode::Incremental, &[(3, 8)]);
        assert_eq!(codes_to_read(&[&new], &ends(&stored), &HashSet::new()), [code()]);
        let plan = plan(&[&new], &ends(&stored), stored.clone(), RowVersion::now());
        assert_eq!(unversioned(plan.insert), expected(&[(1, 2), (2, 4), (3, 8)]));
        assert_eq!(plan.remove, stored);
        assert_eq!(plan.counts[0].written, 1);
    }

    proptest! {
        #[test]
        fn series_follows_raw_factors(
            steps in prop::collection::vec((any::<bool>(), prop::collection::btree_map(0..12_i64, 1..5_i64, 1..6)), 1..6),
        ) {
            let mut model: BTreeMap<i64, i64> = BTreeMap::new();
            let mut units = Vec::new();
            for (replace, rows) in steps {
                if replace {
                    model.clear();
                }
                model.extend(rows.iter().map(|(n, factor)| (*n, *factor)));
                let rows: Vec<(i64, i64)> = rows.into_iter().collect();
                units.push(unit(if replace { SyncMode::Replace } else { SyncMode::Incremental }, &rows));
            }
            let series: Vec<(i64, i64)> = model.into_iter().collect();
            prop_assert_eq!(run(&units), expected(&series));
        }
    }
}
