// Upstream: cargo
// Downstream: messages, ports, settings, simulation
// Role: The start and the stop of a worker between models.

use std::sync::Arc;
use std::time::Duration;

use crate::ports::StoreErrorClass;
use crate::settings::ActorSettings;
use crate::simulation::{Fault, ModelStore, World, full_command};
use crate::supervisor::ExitReport;

#[test]
fn waits_for_a_store_at_the_start() {
    World::run(async {
        let store = Arc::new(ModelStore::deduplicating());
        store.faults.queue("bars.prepare", [Fault::Refuse(StoreErrorClass::Transient); 4]);
        let world = World::start_on(store, ActorSettings::default());
        world.running().await;
        assert_eq!(world.store.faults.num_calls("bars.prepare"), 5);
    });
}

#[test]
fn a_wrong_table_ends_the_start() {
    World::run(async {
        let store = Arc::new(ModelStore::deduplicating());
        store.faults.queue("bars.prepare", [Fault::Refuse(StoreErrorClass::Schema)]);
        let mut world = World::start_on(store, ActorSettings::default());
        assert!(matches!(world.ended().await, ExitReport::Failed(_)));
    });
}

#[test]
fn a_stop_finishes_what_is_begun() {
    World::run(async {
        let mut world = World::start(ActorSettings::default());
        world.running().await;
        world.offer(1, &[1000, 1010]);
        world.source.set_delay(Duration::from_secs(10));
        world.feed.send(&full_command(&[1]));
        world.until("the fetch is under way", |world| world.source.num_calls() == 1).await;
        assert_eq!(world.stop().await, ExitReport::Drained);
        assert_eq!((world.feed.resolved().len(), world.store.closes(1)), (1, vec![1000, 1010]));
    });
}

#[test]
fn a_stop_ends_at_its_deadline() {
    World::run(async {
        let mut world = World::start(ActorSettings::default());
        world.running().await;
        world.source.set_delay(Duration::from_secs(3600));
        world.feed.send(&full_command(&[1]));
        world.until("the fetch is under way", |world| world.source.num_calls() == 1).await;
        let ExitReport::DrainedTooLate(late) = world.stop().await else { panic!("the fetch takes an hour") };
        assert!(late.starts_with("1 command unresolved"), "{late}");
        assert!(world.feed.resolved().is_empty());
    });
}
