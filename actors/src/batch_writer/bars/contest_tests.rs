// Upstream: cargo
// Downstream: domain, settings, simulation
// Role: Two workers write the same bars with different answers at the same moment, in many interleavings.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::Price;
use crate::domain::row_version::RowVersion;
use crate::settings::ActorSettings;
use crate::simulation::{ModelStore, World, full_command};

/// The number of interleavings.
const SEEDS: u64 = 60;

fn slow_store(seed: u64) -> Arc<ModelStore> {
    let mut store = ModelStore::default();
    (store.merges, store.deduplicates) = (seed.is_multiple_of(3), seed.is_multiple_of(2));
    store.faults.set_latency(seed, Duration::from_millis(20));
    Arc::new(store)
}

/// Lets two workers write one security with these answers and commands, and checks what is left.
async fn race(seed: u64, commands: [&str; 2], before: &[i64]) {
    let store = slow_store(seed);
    let workers = [(); 2].map(|()| World::start_on(store.clone(), ActorSettings::default()));
    for worker in &workers {
        worker.running().await;
    }
    if !before.is_empty() {
        workers[0].offer(1, before);
        workers[0].feed.send(&full_command(&[1]));
        workers[0].until("the first rows", |world| world.feed.resolved().len() == 1).await;
    }
    store.watch_keys();
    workers[0].offer(1, &[1001, 1011, 1021]);
    workers[1].offer(1, &[1002, 1012, 1022]);
    for (worker, command) in workers.iter().zip(commands) {
        worker.feed.send(command);
    }
    let done = usize::from(!before.is_empty());
    workers[0].until("the first worker", |world| world.feed.resolved().len() == 1 + done).await;
    workers[1].until("the second worker", |world| world.feed.resolved().len() == 1).await;
    let closes = store.closes(1);
    assert_eq!(closes.iter().map(|close| close / 10).collect::<Vec<_>>(), [100, 101, 102], "seed {seed}: {closes:?}");
    assert!(closes.iter().all(|close| [1, 2].contains(&(close % 10))), "seed {seed}: {closes:?}");
    assert_eq!(store.lost_keys(), [], "seed {seed}: a reader did not find these");
}

#[test]
fn two_replacements_at_once_leave_one_row_a_key() {
    for seed in 0..SEEDS {
        World::run(race(seed, [&full_command(&[1]), &full_command(&[1])], &[1000, 1010, 1020]));
    }
}

#[test]
fn two_first_writes_at_once_leave_one_row_a_key() {
    let increment = r#"{"command":"bar_snapshot","params":{"code":"000001.SZ"}}"#;
    for seed in 0..SEEDS {
        World::run(race(seed, [increment, increment], &[]));
        World::run(race(seed, [&full_command(&[1]), increment], &[]));
    }
}

#[test]
fn two_equal_answers_at_once_leave_no_copies() {
    for seed in 0..SEEDS {
        World::run(async move {
            let store = slow_store(seed);
            let workers = [(); 2].map(|()| World::start_on(store.clone(), ActorSettings::default()));
            for worker in &workers {
                worker.running().await;
                worker.offer(1, &[1000, 1010, 1020]);
                worker.feed.send(&full_command(&[1]));
            }
            for worker in &workers {
                worker.until("the command", |world| world.feed.resolved().len() == 1).await;
            }
            assert_eq!(store.closes(1), [1000, 1010, 1020], "seed {seed}");
        });
    }
}

#[test]
fn a_row_of_a_worker_that_died_is_replaced_in_the_end() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.running().await;
        world.offer(1, &[1000]);
        world.feed.send(&full_command(&[1]));
        world.until("the first row", |world| world.feed.resolved().len() == 1).await;
        world.offer(1, &[1001]);
        // The other worker inserted with a higher version between this worker's look-up and its insertion, and died.
        world.store.faults.set_latency(1, Duration::from_secs(2));
        world.feed.send(&full_command(&[1]));
        world.until("the look-up", |world| world.store.faults.num_calls("bars.stored") > 1).await;
        world.until("the insertion", |world| world.store.faults.num_calls("bars.insert") > 1).await;
        let (_, mut bar) = world.store.bars().remove(0);
        bar.close = Price::fen(1002);
        world.store.put_replacing_bar(RowVersion::now(), bar);
        world.until("the second command", |world| world.feed.resolved().len() == 2).await;
        assert_eq!(world.store.closes(1), [1001]);
    });
}
