// Upstream: cargo
// Downstream: ports, settings, simulation
// Role: Writes of bars on a model store: increments, replacements, lost answers, refusals, an exchanged store.

use std::sync::Arc;
use std::time::Duration;

use crate::ports::StoreErrorClass;
use crate::settings::ActorSettings;
use crate::simulation::{Fault, ModelStore, World, full_command};

#[test]
fn an_increment_adds_only_what_is_missing() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.offer(1, &[1000, 1010]);
        world.running().await;
        world.feed.send(&full_command(&[1]));
        world.until("the first command", |world| world.feed.resolved().len() == 1).await;
        world.offer(1, &[7, 7, 1020]);
        world.feed.send(r#"{"command":"bar_snapshot","params":{"code":"000001.SZ"}}"#);
        world.until("the increment", |world| world.feed.resolved().len() == 2).await;
        assert_eq!(world.store.closes(1), [1000, 1010, 1020]);
    });
}

#[test]
fn a_replacement_leaves_one_row_a_key() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.offer(1, &[1000, 1010, 1020]);
        world.running().await;
        world.feed.send(&full_command(&[1]));
        world.until("the first command", |world| world.feed.resolved().len() == 1).await;
        world.offer(1, &[1000, 1011]);
        world.feed.send(&full_command(&[1]));
        world.until("the replacement", |world| world.feed.resolved().len() == 2).await;
        assert_eq!(world.store.closes(1), [1000, 1011], "rows that the vendor no longer has are removed");
    });
}

#[test]
fn a_lost_answer_doubles_no_row() {
    for deduplicates in [true, false] {
        World::run(async move {
            let store = if deduplicates { ModelStore::deduplicating() } else { ModelStore::default() };
            let world = World::start_on(Arc::new(store), ActorSettings::default());
            world.store.faults.queue("bars.insert", [Fault::LoseAnswer, Fault::LoseAnswer]);
            world.offer(1, &[1000, 1010, 1020]);
            world.running().await;
            world.feed.send(&full_command(&[1]));
            world.until("the command", |world| world.feed.resolved().len() == 1).await;
            assert_eq!(world.store.closes(1), [1000, 1010, 1020], "deduplicates: {deduplicates}");
        });
    }
}

#[test]
fn a_refused_write_is_retried_until_stored() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.running().await;
        world.offer(1, &[1000]);
        world.store.faults.refuse_all(Some(StoreErrorClass::Transient));
        world.feed.send(&full_command(&[1]));
        world.until("the intake closes", |world| !world.feed.is_open()).await;
        assert!(world.feed.resolved().is_empty());
        world.store.faults.refuse_all(None);
        world.until("the command", |world| world.feed.resolved().len() == 1).await;
        assert_eq!(world.store.closes(1), [1000]);
        assert!(world.feed.is_open());
    });
}

#[test]
fn a_task_starts_again_on_an_exchanged_store() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.running().await;
        world.offer(1, &[1000, 1010]);
        world.store.faults.queue("bars.stored", [Fault::Refuse(StoreErrorClass::Transient); 100]);
        world.feed.send(&full_command(&[1]));
        world.until("the write fails", |world| world.store.faults.num_calls("bars.stored") > 0).await;
        let other = Arc::new(ModelStore::deduplicating());
        world.stores.exchange(Arc::new(ModelStore::ports(&other)));
        world.until("the command", |world| world.feed.resolved().len() == 1).await;
        assert_eq!((world.store.closes(1), other.closes(1)), (vec![], vec![1000, 1010]));
    });
}

#[test]
fn a_full_answer_leaves_days_that_came_since() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.running().await;
        world.offer(1, &[1000, 1010]);
        world.source.set_delay(Duration::from_secs(20));
        world.feed.send(&full_command(&[1]));
        world.until("the request", |world| world.source.num_calls() > 0).await;
        let other = World::start_on(world.store.clone(), ActorSettings::default());
        other.running().await;
        other.offer(1, &[1000, 1010, 1020]);
        other.feed.send(&full_command(&[1]));
        other.until("the newer answer", |other| other.feed.resolved().len() == 1).await;
        world.until("the older answer", |world| world.feed.resolved().len() == 1).await;
        assert_eq!(world.store.closes(1), [1000, 1010, 1020]);
    });
}

#[test]
fn a_silent_broker_delays_no_write_and_doubles_no_update() {
    World::run(async {
        let mut settings = ActorSettings::default();
        settings.events.price_update = true;
        let world = World::start(settings);
        world.running().await;
        world.outbox.fall_silent(true);
        world.offer(1, &[1000, 1010]);
        world.feed.send(&full_command(&[1]));
        world.until("the first command", |world| world.feed.resolved().len() == 1).await;
        world.offer(2, &[2000]);
        let begun = tokio::time::Instant::now();
        world.feed.send(&full_command(&[2]));
        world.until("the second command", |world| world.feed.resolved().len() == 2).await;
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?} of virtual time", begun.elapsed());
        world.until("both updates", |world| world.board.counters.price_updates_lost.get() == 2).await;
        let keys: Vec<_> = world.outbox.price_updates().iter().map(|update| update.key.to_string()).collect();
        assert_eq!(keys, ["000001.SZ", "000002.SZ"], "each arrived once");
    });
}
