// Upstream: cargo
// Downstream: domain, plan, ports
// Role: The plan for ticks: growth of a day, replacement, duplicates, interrupted writes.

use chrono::NaiveDateTime;
use std::collections::BTreeSet;

use crate::batch_writer::ticks::plan::{TickPlan, TickUnit};
use crate::domain::row_version::RowVersion;
use crate::domain::{Price, SourceId, Tick};
use crate::ports::StoredTick;

fn tick(time: &str, price: i64, nth: u32) -> Tick {
    Tick {
        code: "000001.SZ".parse().unwrap(),
        timestamp: time.parse().unwrap(),
        price: Price::fen(price),
        volume: 7,
        direction: 0,
        source: SourceId::TDX,
        nth,
        version: None,
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

fn plan(unit: &TickUnit, stored: Vec<StoredTick>) -> TickPlan {
    super::plan::plan(unit, stored, RowVersion::now())
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
    let skipped = TickUnit { days_with_skipped_rows: BTreeSet::from([rows[0].timestamp.date()]), ..unit(&rows, true) };
    assert_eq!(plan(&skipped, old.to_vec()).remove.len(), 0, "a day with a skipped row removes nothing");
}

#[test]
fn duplicate_ticks_become_one_row() {
    let rows = [tick("2024-01-02T09:30:00", 1150, 0), tick("2024-01-02T09:31:00", 1151, 0)];
    let (first, second) = (stored(&rows[0]), stored(&rows[1]));
    let copies = vec![first.clone(), first.clone(), second.clone(), first];
    let healed = plan(&unit(&rows, false), copies.clone());
    assert_eq!((healed.insert.len(), healed.remove.as_slice()), (2, &copies[..]), "the day is written whole");
    let again = plan(&unit(&rows, false), healed.insert.iter().map(stored).collect());
    assert_eq!((again.insert.len(), again.remove.len(), again.counts.unchanged), (0, 0, 2));
}

#[test]
fn a_replaced_day_grows_in_its_version() {
    let rows = [tick("2024-01-02T09:30:00", 1150, 0), tick("2024-01-02T09:31:00", 1151, 0)];
    let replaced = plan(&unit(&rows[..1], true), vec![foreign("2024-01-02T09:30:00")]);
    let grown = plan(&unit(&rows, false), replaced.insert.iter().map(stored).collect());
    assert_eq!((grown.insert.len(), grown.remove.len(), grown.counts.unchanged), (1, 0, 1));
    assert_eq!(grown.insert[0].version, replaced.insert[0].version);
    assert!(grown.insert[0].version.is_some());
}

#[test]
fn finishes_interrupted_tick_replacement() {
    let rows = [tick("2024-01-02T09:30:00", 1150, 0), tick("2024-01-02T09:31:00", 1151, 0)];
    let old = [foreign("2024-01-02T09:30:00"), foreign("2024-01-02T09:31:00")];
    let new = plan(&unit(&rows, false), old.to_vec()).insert;
    let both: Vec<StoredTick> = new.iter().map(stored).chain(old).collect();
    let finished = plan(&unit(&rows, false), both.clone());
    assert_eq!((finished.insert.len(), finished.remove), (2, both));
    assert!(finished.insert[0].version > new[0].version, "above the rows that it removes");
    // A shorter answer does not remove rows that this worker stored.
    let fewer = plan(&unit(&rows[..1], false), rows.iter().map(stored).collect());
    assert_eq!((fewer.insert.len(), fewer.remove.len()), (0, 0));
    // Neither do two interrupted answers together look larger than the fetched one.
    let changed = [tick("2024-01-02T09:30:00", 1250, 0), rows[1].clone()];
    let third = plan(&unit(&rows, true), changed.iter().map(stored).collect());
    let mixed: Vec<StoredTick> = changed.iter().chain(&third.insert).map(stored).collect();
    assert_eq!(plan(&unit(&rows, false), mixed.clone()).remove, mixed);
}

#[test]
fn a_stored_day_that_was_not_fetched_is_left_alone() {
    let rows = [tick("2024-01-02T09:30:00", 1150, 0)];
    let plan = plan(&unit(&rows, true), vec![foreign("2024-01-03T09:30:00")]);
    assert_eq!((plan.insert.len(), plan.remove.len()), (1, 0));
}
