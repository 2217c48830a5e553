// Upstream: cargo
// Downstream: domain, settings, simulation
// Role: Two workers write the ticks of the same day at the same moment: one answer stays, whole.

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde_json::json;

use crate::domain::{FetchedTick, Field};
use crate::settings::ActorSettings;
use crate::simulation::{ModelStore, World, code};

const DAY: &str = "2024-01-03";

/// The vendor has trades of this day at these prices in fen, one a minute; the first one twice.
fn offer(world: &World, prices: &[i64]) {
    let day: NaiveDate = DAY.parse().unwrap();
    let tick = |(minute, price): (u32, &i64)| FetchedTick {
        timestamp: Field::Value(day.and_hms_opt(10, minute, 0).unwrap()),
        price: Field::Value(Decimal::new(*price, 2)),
        volume: Field::Value(Decimal::ONE),
        direction: Field::Value(Decimal::ONE),
    };
    let mut ticks: Vec<FetchedTick> = (0..).zip(prices).map(tick).collect();
    ticks.extend(ticks.first().cloned());
    world.source.edit(|data| {
        data.ticks.insert((code(1), day), ticks);
    });
}

fn command(overwrite: bool) -> String {
    let params = json!({"code": "000001.SZ", "start_date": DAY, "end_date": DAY, "overwrite": overwrite});
    json!({"command": "tick", "params": params}).to_string()
}

/// Lets two workers write these prices at once above the prices `before`. Returns what is left.
fn race(seed: u64, overwrite: bool, before: &'static [i64], answers: [&'static [i64]; 2]) -> Vec<i64> {
    let (sender, receiver) = std::sync::mpsc::channel();
    World::run(async move {
        let store = Arc::new(ModelStore::default());
        store.faults.set_latency(seed, Duration::from_millis(200));
        let workers = [(); 2].map(|()| World::start_on(store.clone(), ActorSettings::default()));
        for worker in &workers {
            worker.running().await;
        }
        let done = usize::from(!before.is_empty());
        if done > 0 {
            offer(&workers[0], before);
            workers[0].feed.send(&command(overwrite));
            workers[0].until("the first ticks", |world| world.feed.resolved().len() == done).await;
        }
        store.watch_keys();
        for (worker, prices) in workers.iter().zip(answers) {
            offer(worker, prices);
            worker.feed.send(&command(overwrite));
        }
        workers[0].until("the first worker", |world| world.feed.resolved().len() == 1 + done).await;
        workers[1].until("the second worker", |world| world.feed.resolved().len() == 1).await;
        assert_eq!(store.lost_keys(), [], "seed {seed}: a reader did not find these");
        let mut ticks = store.ticks();
        ticks.sort_by_key(|tick| tick.timestamp);
        sender.send(ticks.iter().map(|tick| tick.price.to_fen()).collect()).unwrap();
    });
    receiver.recv().unwrap()
}

#[test]
fn two_equal_answers_leave_each_tick_once() {
    for seed in 0..60 {
        assert_eq!(race(seed, false, &[], [&[1001, 1011], &[1001, 1011]]), [1001, 1001, 1011], "seed {seed}");
    }
}

#[test]
fn of_two_answers_one_stays_whole() {
    for seed in 0..60 {
        for before in [&[][..], &[1000, 1010]] {
            let left = race(seed, true, before, [&[1001, 1011], &[1002, 1012]]);
            assert!(
                [[1001, 1001, 1011], [1002, 1002, 1012]].iter().any(|whole| left == whole),
                "seed {seed}: {left:?}"
            );
        }
    }
}

#[test]
fn a_later_answer_of_a_day_keeps_its_further_ticks() {
    for seed in 0..60 {
        let left = race(seed, false, &[], [&[1001, 1011], &[1001, 1011, 1021]]);
        assert_eq!(left, [1001, 1001, 1011, 1021], "seed {seed}");
    }
}
