// Upstream: cargo
// Downstream: domain, settings, simulation
// Role: Writes of factors between models: a whole series also after an exchange of the store in mid-task.

use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveDate, NaiveTime};
use rust_decimal::Decimal;

use crate::domain::{FetchedFactor, Field};
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
