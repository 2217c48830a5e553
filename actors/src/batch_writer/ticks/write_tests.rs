// Upstream: cargo
// Downstream: domain, settings, simulation
// Role: Writes of ticks between models: every day also after an exchange of the store in mid-task.

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use rust_decimal::Decimal;

use crate::domain::{FetchedTick, Field};
use crate::settings::ActorSettings;
use crate::simulation::{ModelStore, World, code};

const DAYS: [&str; 3] = ["2024-01-02", "2024-01-03", "2024-01-04"];

/// The vendor has one trade on each day.
fn offer(world: &World) {
    let tick = |day: NaiveDate| FetchedTick {
        timestamp: Field::Value(day.and_hms_opt(10, 0, 0).unwrap()),
        price: Field::Value(Decimal::from(10)),
        volume: Field::Value(Decimal::from(1)),
        direction: Field::Value(Decimal::ONE),
    };
    world.source.edit(|data| {
        for day in DAYS.map(|day| day.parse::<NaiveDate>().unwrap()) {
            data.ticks.insert((code(1), day), vec![tick(day)]);
        }
    });
}

#[test]
fn a_reload_in_mid_task_leaves_every_day() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.running().await;
        offer(&world);
        let command = |end: &str| {
            format!(
                r#"{{"command":"tick","params":{{"code":"000001.SZ","start_date":"20240102","end_date":"{end}"}}}}"#
            )
        };
        world.feed.send(&command("20240103"));
        world.until("two days", |world| world.feed.resolved().len() == 1).await;
        world.source.set_delay(Duration::from_secs(30));
        let calls = world.source.num_calls();
        world.feed.send(&command("20240104"));
        world.until("the third day is under way", |world| world.source.num_calls() > calls).await;
        let other = Arc::new(ModelStore::deduplicating());
        world.stores.exchange(Arc::new(ModelStore::ports(&other)));
        world.until("the command", |world| world.feed.resolved().len() == 2).await;
        let days: Vec<String> = other.ticks().iter().map(|tick| tick.timestamp.date().to_string()).collect();
        assert_eq!(days, DAYS);
    });
}
