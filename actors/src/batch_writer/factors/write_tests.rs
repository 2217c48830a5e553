// Upstream: cargo
// Downstream: domain, settings, simulation
// Role: Writes of factors between models: a whole series also after an exchange of the store in mid-task.

use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveDate, NaiveTime};
use rust_decimal::Decimal;

use crate::domain::{AdjustFactor, FetchedFactor, Field};
use crate::settings::ActorSettings;
use crate::simulation::{ModelStore, World, code};

const COMMAND: &str = r#"{"command":"adjustfactor","params":{"code":"000001.SZ"}}"#;

/// The vendor has these factors, in hundredths, on the days from 2024-01-02 on.
fn offer(world: &World, factors: &[i64]) {
    let first: NaiveDate = "2024-01-02".parse().unwrap();
    let rows = first.iter_days().zip(factors).map(|(day, factor)| FetchedFactor {
        timestamp: Field::Value(day.and_time(NaiveTime::MIN)),
        factor: Field::Value(Decimal::new(*factor, 2)),
    });
    let rows = rows.collect();
    world.source.edit(|data| {
        data.factors.insert(code(1), rows);
    });
}

/// `fore` and `back` of the stored series.
fn stored(store: &ModelStore) -> Vec<(Decimal, Decimal)> {
    store.factors().iter().map(|factor| (factor.fore.to_decimal(), factor.back.to_decimal())).collect()
}

#[test]
fn a_reload_in_mid_task_leaves_a_whole_series() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.running().await;
        offer(&world, &[100, 100, 200]);
        world.feed.send(COMMAND);
        world.until("the first series", |world| world.feed.resolved().len() == 1).await;
        offer(&world, &[100, 100, 200, 400]);
        world.source.set_delay(Duration::from_secs(30));
        world.feed.send(COMMAND);
        let calls = world.source.num_calls();
        world.until("the increment is under way", |world| world.source.num_calls() > calls).await;
        let other = Arc::new(ModelStore::deduplicating());
        world.stores.exchange(Arc::new(ModelStore::ports(&other)));
        world.until("the command", |world| world.feed.resolved().len() == 2).await;
        let number = |text: &str| text.parse::<Decimal>().unwrap();
        let expected =
            [("4", "1"), ("4", "1"), ("2", "2"), ("1", "4")].map(|(fore, back)| (number(fore), number(back)));
        assert_eq!(stored(&other), expected);
    });
}

/// Lets two workers write one series with these answers at the same moment, on top of `before`.
async fn race(seed: u64, before: &[i64], answers: [&[i64]; 2], params: &str) {
    let mut store = ModelStore::default();
    store.deduplicates = seed.is_multiple_of(2);
    store.faults.set_latency(seed, Duration::from_millis(20));
    let store = Arc::new(store);
    let workers = [(); 2].map(|()| World::start_on(store.clone(), ActorSettings::default()));
    for worker in &workers {
        worker.running().await;
    }
    let mut done = 0;
    if !before.is_empty() {
        offer(&workers[0], before);
        workers[0].feed.send(COMMAND);
        workers[0].until("the first series", |world| world.feed.resolved().len() == 1).await;
        done = 1;
    }
    let command = format!(r#"{{"command":"adjustfactor","params":{{"code":"000001.SZ"{params}}}}}"#);
    for (worker, answer) in workers.iter().zip(answers) {
        offer(worker, answer);
        worker.feed.send(&command);
    }
    workers[0].until("the first worker", |world| world.feed.resolved().len() == 1 + done).await;
    workers[1].until("the second worker", |world| world.feed.resolved().len() == 1).await;
    assert_whole(seed, &store, answers);
}

/// Each day has one row, its raw factor is one of the answers, and `fore` and `back` follow from the series.
fn assert_whole(seed: u64, store: &ModelStore, answers: [&[i64]; 2]) {
    let rows = store.factors();
    let raw: Vec<i64> = rows.iter().map(|row| row.raw.factor.0 / 10_000).collect();
    let longest = answers.iter().map(|answer| answer.len()).max().unwrap();
    assert_eq!(raw.len(), longest, "seed {seed}: {raw:?}");
    for (n, factor) in raw.iter().enumerate() {
        assert!(answers.iter().any(|answer| answer.get(n) == Some(factor)), "seed {seed}: {raw:?}");
    }
    let (first, last) = (rows[0].raw.factor, rows[rows.len() - 1].raw.factor);
    for row in &rows {
        let wanted = AdjustFactor::of(row.code, row.raw, first, last).unwrap();
        assert_eq!((row.fore, row.back), (wanted.fore, wanted.back), "seed {seed}: {rows:?}");
    }
}

#[test]
fn two_series_at_once_leave_one_that_is_whole() {
    for seed in 0..40 {
        let (some, other) = (&[100, 200, 200][..], &[300, 300, 900][..]);
        World::run(race(seed, &[100, 100], [some, other], r#","full":true"#));
        World::run(race(seed, &[], [some, other], ""));
        World::run(race(seed, &[], [some, some], ""));
    }
}

#[test]
fn an_appended_day_fits_a_series_that_is_rewritten_at_once() {
    for seed in 0..40 {
        World::run(race(seed, &[100, 100], [&[100, 100, 100], &[100, 100, 200]], ""));
    }
}
