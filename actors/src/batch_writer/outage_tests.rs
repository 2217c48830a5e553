// Upstream: cargo
// Downstream: domain, ports, settings, simulation
// Role: Outages of one kind of data while another is stored: one alert, and none is resolved while its cause lasts.

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveTime;
use rust_decimal::Decimal;

use crate::domain::{FetchedFactor, Field};
use crate::ports::StoreErrorClass;
use crate::settings::ActorSettings;
use crate::simulation::{Fault, ModelStore, World, code, full_command};

/// The states of the alerts on writes so far.
fn states(world: &World) -> Vec<String> {
    let notifications = world.outbox.notifications().into_iter();
    let alerts = notifications.filter(|sent| sent["data"]["alert_type"] == "write_error");
    alerts.map(|sent| sent["data"]["state"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn refused_factors_are_one_alert_while_bars_are_stored() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.running().await;
        world.offer(1, &[1000]);
        world.source.edit(|data| {
            let timestamp = Field::Value("2024-01-02".parse::<chrono::NaiveDate>().unwrap().and_time(NaiveTime::MIN));
            let factor = FetchedFactor { timestamp, factor: Field::Value(Decimal::ONE) };
            data.factors.insert(code(1), vec![factor]);
        });
        world.source.set_delay(Duration::from_millis(20));
        world.store.faults.queue("factors.insert", [Fault::Refuse(StoreErrorClass::Refused); 6]);
        world.feed.send(r#"{"command":"adjustfactor","params":{"code":"000001.SZ"}}"#);
        world.feed.send(&full_command(&[1]));
        world.feed.send(r#"{"command":"bar_snapshot","params":{"code":"000001.SZ"}}"#);
        world.until("the bars", |world| world.store.closes(1) == [1000]).await;
        world.until("five attempts", |world| world.store.faults.num_calls("factors.insert") > 5).await;
        assert_eq!(states(&world), ["raised"], "stored bars prove nothing about factors");
        assert!(!world.feed.is_open());
        world.until("the factors", |world| world.store.factors().len() == 1).await;
        world.until("the end of the alert", |world| states(world).len() == 2).await;
        assert_eq!(states(&world), ["raised", "resolved"]);
        assert!(world.feed.is_open());
    });
}

#[test]
fn a_plain_table_that_refuses_writes_raises_an_alert() {
    World::run(async {
        // Each attempt reads the stored keys anew, because the table does not recognize a repeated INSERT.
        let world = World::start_on(Arc::new(ModelStore::default()), ActorSettings::default());
        world.running().await;
        world.offer(1, &[1000]);
        world.store.faults.queue("bars.insert", [Fault::Refuse(StoreErrorClass::Transient); 6]);
        world.feed.send(&full_command(&[1]));
        world.until("the alert", |world| states(world) == ["raised"]).await;
        world.until("the row", |world| world.store.closes(1) == [1000]).await;
        world.until("the end of the alert", |world| states(world) == ["raised", "resolved"]).await;
    });
}
