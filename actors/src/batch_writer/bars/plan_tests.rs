// Upstream: cargo
// Downstream: domain, plan, ports
// Role: Tests the write plan, with a property test against a simple model of the store.

use std::collections::{BTreeMap, HashSet};

use chrono::{Duration, NaiveDate, NaiveDateTime, NaiveTime};
use proptest::prelude::*;

use crate::batch_writer::bars::plan::{WritePlan, WriteUnit, plan};
use crate::domain::bar_identity::bar_uuid;
use crate::domain::row_version::{RowVersion, is_same_row};
use crate::domain::{Bar, Code, Frequency, Hundredths, Price, SourceId, SyncMode};
use crate::ports::{KeySpan, StoredBar};

fn code(n: u8) -> Code {
    format!("60000{n}.SH").parse().unwrap()
}

fn day(n: u8) -> NaiveDateTime {
    NaiveDate::from_ymd_opt(2024, 1, 1).unwrap().and_time(NaiveTime::MIN) + Duration::days(n.into())
}

fn bar(c: u8, d: u8, value: u8) -> Bar {
    let price = Price::fen(1000 + i64::from(value));
    Bar {
        code: code(c),
        frequency: Frequency::Day,
        timestamp: day(d),
        open: price,
        high: price,
        low: price,
        close: price,
        volume: 1,
        amount: Hundredths(1),
        source: SourceId::OTHER,
    }
}

fn unit(mode: SyncMode, c: u8, rows: &[(u8, u8)], span: (Option<u8>, Option<u8>)) -> WriteUnit {
    WriteUnit {
        frequency: Frequency::Day,
        mode,
        span: KeySpan { code: code(c), from: span.0.map(day), to: span.1.map(day) },
        rows: rows.iter().map(|(d, value)| bar(c, *d, *value)).collect(),
        keep: HashSet::new(),
        keep_unmatched: false,
    }
}

fn stored(c: u8, d: u8, uuid: &str) -> StoredBar {
    StoredBar { code: code(c), timestamp: day(d), uuid: uuid.to_owned() }
}

/// The store after the plan: the UUIDs of each key, with duplicates. The rows are inserted before others are removed.
fn apply(before: &[StoredBar], plan: &WritePlan) -> BTreeMap<(Code, NaiveDateTime), Vec<String>> {
    let mut after: BTreeMap<_, Vec<String>> = BTreeMap::new();
    let inserted = plan.insert.iter().map(|row| (row.bar.code, row.bar.timestamp, row.uuid.clone()));
    let old = before.iter().map(|row| (row.code, row.timestamp, row.uuid.clone()));
    for (code, time, uuid) in old.chain(inserted) {
        let gone = StoredBar { code, timestamp: time, uuid: uuid.clone() };
        if !plan.remove.contains(&gone) {
            after.entry((code, time)).or_default().push(uuid);
        }
    }
    after
}

#[test]
fn incremental_inserts_only_missing_rows() {
    let unit = unit(SyncMode::Incremental, 1, &[(1, 0), (2, 0), (3, 0)], (None, None));
    let plan = plan(&[&unit], vec![stored(1, 2, "python's own")], RowVersion::now());
    assert_eq!(plan.insert.iter().map(|row| row.bar.timestamp).collect::<Vec<_>>(), [day(1), day(3)]);
    assert_eq!(*plan.remove, []);
    assert_eq!((plan.counts[0].written, plan.counts[0].unchanged), (2, 1));
}

/// A server may store the first partitions of an INSERT alone. With 2024-01-09 of the second security stored and its
/// older days lost, no increment would bring these.
#[test]
fn the_oldest_days_of_all_codes_come_first() {
    let newest = unit(SyncMode::Incremental, 1, &[(9, 0)], (None, None));
    let history = unit(SyncMode::Incremental, 2, &[(1, 0), (2, 0), (9, 0)], (None, None));
    let plan = plan(&[&newest, &history], vec![], RowVersion::now());
    let rows: Vec<_> = plan.insert.iter().map(|row| (row.bar.timestamp, row.bar.code)).collect();
    assert_eq!(rows, [(day(1), code(2)), (day(2), code(2)), (day(9), code(1)), (day(9), code(2))]);
}

#[test]
fn the_same_rows_twice_in_one_batch_are_inserted_once() {
    let unit = unit(SyncMode::Incremental, 1, &[(1, 0), (2, 0)], (None, None));
    let plan = plan(&[&unit, &unit], vec![], RowVersion::now());
    assert_eq!(plan.insert.len(), 2);
    assert_eq!((plan.counts[0].written, plan.counts[1].unchanged), (2, 2));
}

#[test]
fn full_replacement_keeps_only_served_rows() {
    let same = bar_uuid(&bar(1, 1, 0));
    let before =
        [stored(1, 1, &same), stored(1, 2, "old"), stored(1, 9, "no longer served"), stored(2, 9, "another code")];
    let unit = unit(SyncMode::Replace, 1, &[(1, 0), (2, 7), (3, 0)], (None, None));
    let plan = plan(&[&unit], before.to_vec(), RowVersion::now());
    assert_eq!(plan.insert.iter().map(|row| row.bar.timestamp).collect::<Vec<_>>(), [day(2), day(3)]);
    assert_eq!(*plan.remove, [stored(1, 2, "old"), stored(1, 9, "no longer served")]);
    let counts = &plan.counts[0];
    assert_eq!((counts.written, counts.unchanged, counts.replaced), (2, 1, 2));
}

#[test]
fn keeps_rows_outside_range_or_with_invalid_update() {
    let before = [stored(1, 1, "before"), stored(1, 3, "came invalid"), stored(1, 4, "goes"), stored(1, 9, "after")];
    let mut unit = unit(SyncMode::Replace, 1, &[(2, 0)], (Some(2), Some(5)));
    unit.keep.insert(day(3));
    assert_eq!(plan(&[&unit], before.to_vec(), RowVersion::now()).remove.as_slice(), [stored(1, 4, "goes")]);
    unit.keep_unmatched = true;
    assert_eq!(plan(&[&unit], before.to_vec(), RowVersion::now()).remove.as_slice(), []);
}

#[test]
fn identical_copies_become_one_row() {
    let usual = bar_uuid(&bar(1, 1, 0));
    let before = [stored(1, 1, &usual), stored(1, 1, &usual)];
    let unit = unit(SyncMode::Replace, 1, &[(1, 0)], (None, None));
    let first = plan(&[&unit], before.to_vec(), RowVersion::now());
    let after = apply(&before, &first);
    let left = &after[&(code(1), day(1))];
    assert_eq!(left.len(), 1);
    assert_eq!((first.counts[0].written, first.counts[0].unchanged, first.counts[0].replaced), (0, 1, 1));
    assert_ne!(left[0], usual);
    let second = plan(&[&unit], vec![stored(1, 1, &left[0])], RowVersion::now());
    assert_eq!((second.insert.len(), second.remove.len(), second.counts[0].unchanged), (0, 0, 1));
}

/// A stored row: code, day, value, and its UUID: derived from the row (0) or another one.
type StoredSketch = (u8, u8, u8, u8);

/// A unit: whether it replaces, code, rows by day, first and last day of its span.
type UnitSketch = (bool, u8, BTreeMap<u8, u8>, Option<u8>, Option<u8>);

/// Random stored rows (own UUIDs, foreign UUIDs, duplicates) and a random sequence of units.
fn scene() -> impl Strategy<Value = (Vec<StoredSketch>, Vec<UnitSketch>)> {
    let stored = prop::collection::vec((0..2_u8, 0..6_u8, 0..3_u8, 0..3_u8), 0..12);
    let rows = prop::collection::btree_map(0..6_u8, 0..3_u8, 1..6);
    let unit = (any::<bool>(), 0..2_u8, rows, prop::option::of(0..3_u8), prop::option::of(3..6_u8));
    (stored, prop::collection::vec(unit, 1..4))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn plan_matches_model_and_never_empties_a_key((stored_rows, units) in scene()) {
        let before: Vec<StoredBar> = stored_rows
            .iter()
            .map(|(c, d, value, kind)| match kind {
                0 => stored(*c, *d, &bar_uuid(&bar(*c, *d, *value))),
                n => stored(*c, *d, &format!("foreign {n}")),
            })
            .collect();
        let units: Vec<WriteUnit> = units
            .into_iter()
            .map(|(replace, c, rows, from, to)| {
                let rows: Vec<(u8, u8)> =
                    rows.into_iter().filter(|(d, _)| from.is_none_or(|f| f <= *d) && to.is_none_or(|t| *d <= t)).collect();
                let mode = if replace { SyncMode::Replace } else { SyncMode::Incremental };
                unit(mode, c, &rows, (from, to))
            })
            .filter(|unit| !unit.rows.is_empty())
            .collect();
        let plan = plan(&units.iter().collect::<Vec<_>>(), before.clone(), RowVersion::now());
        let after = apply(&before, &plan);

        // The model: the row that each key must hold; `None` if the stored rows of the key stay.
        let mut model: BTreeMap<(Code, NaiveDateTime), Option<Bar>> =
            before.iter().map(|row| ((row.code, row.timestamp), None)).collect();
        for unit in &units {
            if unit.mode == SyncMode::Replace {
                model.retain(|(code, time), _| {
                    let inside = unit.span.from.is_none_or(|from| from <= *time) && unit.span.to.is_none_or(|to| *time <= to);
                    *code != unit.span.code || !inside || unit.rows.iter().any(|row| row.timestamp == *time)
                });
            }
            for row in &unit.rows {
                let key = (row.code, row.timestamp);
                if unit.mode == SyncMode::Replace || !model.contains_key(&key) {
                    model.insert(key, Some(row.clone()));
                }
            }
        }
        prop_assert_eq!(after.keys().collect::<Vec<_>>(), model.keys().collect::<Vec<_>>());
        for (key, expected) in &model {
            let Some(row) = expected else { continue };
            let left = &after[key];
            prop_assert_eq!(left.len(), 1, "{:?}", key);
            let written = plan.insert.iter().find(|inserted| inserted.uuid == left[0]);
            let is_right = written.map_or(is_same_row(&left[0], &bar_uuid(row)), |inserted| inserted.bar == *row);
            prop_assert!(is_right, "{:?} holds {:?}", key, left);
        }
        // After the insertion and before the removal, each key of the result has a row.
        for key in after.keys() {
            prop_assert!(before.iter().any(|row| (row.code, row.timestamp) == *key)
                || plan.insert.iter().any(|row| (row.bar.code, row.bar.timestamp) == *key));
        }
    }
}
