// Upstream: cargo
// Downstream: ports, settings, simulation, supervisor
// Role: A command between models: parsed, split, resolved, returned with its partition.

use std::time::Duration;

use crate::ports::StoreErrorClass;
use crate::settings::ActorSettings;
use crate::simulation::{Fault, World, code, full_command};
use crate::supervisor::ExitReport;

#[test]
fn resolves_a_command_after_its_rows_are_stored() {
    World::run(async {
        let mut world = World::start(ActorSettings::default());
        world.offer(1, &[1000, 1010, 1020]);
        world.running().await;
        let offset = world.feed.send(&full_command(&[1]));
        world.until("the command is resolved", |world| world.feed.resolved() == [offset]).await;
        assert_eq!(world.store.closes(1), [1000, 1010, 1020]);
        assert_eq!(world.stop().await, ExitReport::Drained);
        assert!(world.feed.is_closed());
        assert_eq!(world.heartbeats.last(), None, "a stopped worker leaves no heartbeat");
    });
}

#[test]
fn an_unreadable_command_is_a_dead_letter() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.running().await;
        for payload in ["{", "[]", r#"{"command":"nonsense"}"#] {
            world.feed.send(payload);
        }
        world.until("all are resolved", |world| world.feed.resolved().len() == 3).await;
        let classes: Vec<&str> = world.outbox.dead_letters().iter().map(|letter| letter.class).collect();
        assert_eq!(classes, ["bad_command"; 3]);
    });
}

#[test]
fn a_dead_letter_waits_for_the_broker() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.running().await;
        world.outbox.fail(3);
        world.feed.send("{");
        world.until("the record", |world| world.outbox.dead_letters().len() == 1).await;
        world.until("the command is resolved", |world| world.feed.resolved().len() == 1).await;
    });
}

#[test]
fn a_command_for_many_codes_is_split() {
    World::run(async {
        let mut settings = ActorSettings::default();
        settings.fetch.max_codes_per_command = 2;
        let world = World::start(settings);
        world.running().await;
        world.feed.send(&full_command(&[1, 2, 3, 4, 5]));
        world.until("the command is resolved", |world| world.feed.resolved().len() == 1).await;
        let keys: Vec<String> = world.outbox.parts().iter().map(|part| part.key.clone()).collect();
        assert_eq!(keys, ["000001.SZ", "000003.SZ", "000005.SZ"]);
        assert_eq!(world.source.num_calls(), 0);
    });
}

#[test]
fn all_codes_of_an_empty_list_is_a_dead_letter() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.running().await;
        world.reference.faults.queue("lists.listed_codes", [Fault::Refuse(StoreErrorClass::Transient)]);
        world.feed.send(r#"{"command":"bar_snapshot"}"#);
        world.until("the dead letter", |world| world.outbox.dead_letters().len() == 1).await;
        assert_eq!(world.outbox.dead_letters().first().map(|letter| letter.class), Some("no_codes"));
    });
}

#[test]
fn queued_work_returns_when_the_partition_is_withdrawn() {
    World::run(async {
        let mut settings = ActorSettings::default();
        settings.fetch.max_in_flight = 1;
        let world = World::start(settings);
        world.running().await;
        (1..=3).for_each(|number| world.offer(number, &[1000]));
        world.source.set_delay(Duration::from_secs(30));
        for number in 1..=3 {
            world.feed.send(&full_command(&[number]));
        }
        world.until("one fetch is under way", |world| world.source.num_calls() == 1).await;
        world.feed.withdraw();
        world.until("the rest returns", |world| world.feed.returned().len() == 2).await;
        world.until("the one under way is finished", |world| world.feed.resolved() == [0]).await;
        assert_eq!(world.feed.returned(), [1, 2]);
        assert_eq!(world.source.num_calls(), 1);
    });
}

#[test]
fn nothing_of_a_lost_partition_is_written() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.running().await;
        world.offer(1, &[1000]);
        world.source.set_delay(Duration::from_secs(30));
        world.feed.send(&full_command(&[1]));
        world.until("the fetch is under way", |world| world.source.num_calls() == 1).await;
        world.feed.lose();
        world.until("the command returns", |world| !world.feed.returned().is_empty()).await;
        assert!(world.store.bars().is_empty() && world.feed.resolved().is_empty());
    });
}

#[test]
fn a_backfill_of_ticks_ends_with_its_partition() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.running().await;
        world.source.set_delay(Duration::from_secs(1));
        world.feed.send(r#"{"command":"tick","params":{"code":"000001.SZ","full":true}}"#);
        world.until("the first part", |world| world.source.num_calls() > 5).await;
        world.feed.withdraw();
        world.until("the command returns", |world| world.feed.returned() == [0]).await;
        assert!(world.source.num_calls() <= 10, "{} requests: no further part began", world.source.num_calls());
    });
}

#[test]
fn a_blocked_kind_holds_up_no_other() {
    World::run(async {
        let mut settings = ActorSettings::default();
        settings.fetch.max_in_flight = 2;
        let world = World::start(settings);
        world.running().await;
        world.source.set_delay(Duration::from_secs(300));
        for number in 1..=8 {
            let code = code(number);
            world.feed.send(&format!(r#"{{"command":"adjustfactor","params":{{"code":"{code}"}}}}"#));
        }
        world.until("two fetches hang", |world| world.source.num_calls() == 2).await;
        world.source.set_delay(Duration::ZERO);
        world.offer(1, &[1000]);
        let begun = tokio::time::Instant::now();
        let offset = world.feed.send(&full_command(&[1]));
        world.until("the bars are stored", |world| world.feed.resolved().contains(&offset)).await;
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    });
}
