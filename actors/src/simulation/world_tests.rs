// Upstream: cargo
// Downstream: many
// Role: Tests commands through a whole worker with models: fetch, validation, write, resolution, and faults.

use std::sync::Arc;
use std::time::Duration;

use crate::ports::{SourceErrorKind, StoreErrorClass};
use crate::settings::ActorSettings;
use crate::simulation::{Fault, ModelStore, World, bar_on, code, full_command};
use crate::supervisor::ExitReport;

const DAYS: [&str; 3] = ["2024-01-02", "2024-01-03", "2024-01-04"];

/// Gives the vendor daily bars of one security with these closes, in fen.
fn offer(world: &World, number: u32, closes: &[i64]) {
    let bars = DAYS.iter().zip(closes).map(|(day, close)| bar_on(day, *close)).collect();
    world.source.edit(|data| {
        data.bars.insert(code(number), bars);
    });
}

/// The stored closes of one security, in the order of days.
fn closes(store: &ModelStore, number: u32) -> Vec<i64> {
    store.bars().iter().filter(|(_, bar)| bar.code == code(number)).map(|(_, bar)| bar.close.0).collect()
}

#[test]
fn resolves_a_command_after_its_rows_are_stored() {
    World::run(async {
        let mut world = World::start(ActorSettings::default());
        offer(&world, 1, &[1000, 1010, 1020]);
        world.running().await;
        let offset = world.feed.send(&full_command(&[1]));
        world.until("the command is resolved", |world| world.feed.resolved() == [offset]).await;
        assert_eq!(closes(&world.store, 1), [1000, 1010, 1020]);
        assert_eq!(world.stop().await, ExitReport::Drained);
        assert!(world.feed.is_closed());
        assert_eq!(world.heartbeats.last(), None, "a stopped worker leaves no heartbeat");
    });
}

#[test]
fn an_increment_adds_only_what_is_missing() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        offer(&world, 1, &[1000, 1010]);
        world.running().await;
        world.feed.send(&full_command(&[1]));
        world.until("the first command", |world| world.feed.resolved().len() == 1).await;
        offer(&world, 1, &[7, 7, 1020]);
        world.feed.send(r#"{"command":"bar_snapshot","params":{"code":"000001.SZ"}}"#);
        world.until("the increment", |world| world.feed.resolved().len() == 2).await;
        assert_eq!(closes(&world.store, 1), [1000, 1010, 1020]);
    });
}

#[test]
fn a_replacement_leaves_one_row_a_key() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        offer(&world, 1, &[1000, 1010, 1020]);
        world.running().await;
        world.feed.send(&full_command(&[1]));
        world.until("the first command", |world| world.feed.resolved().len() == 1).await;
        offer(&world, 1, &[1000, 1011]);
        world.feed.send(&full_command(&[1]));
        world.until("the replacement", |world| world.feed.resolved().len() == 2).await;
        assert_eq!(closes(&world.store, 1), [1000, 1011], "rows that the vendor no longer has are removed");
    });
}

#[test]
fn a_lost_answer_doubles_no_row() {
    for deduplicates in [true, false] {
        World::run(async move {
            let store = if deduplicates { ModelStore::deduplicating() } else { ModelStore::default() };
            let world = World::start_on(Arc::new(store), ActorSettings::default());
            world.store.faults.queue("bars.insert", [Fault::LoseAnswer, Fault::LoseAnswer]);
            offer(&world, 1, &[1000, 1010, 1020]);
            world.running().await;
            world.feed.send(&full_command(&[1]));
            world.until("the command", |world| world.feed.resolved().len() == 1).await;
            assert_eq!(closes(&world.store, 1), [1000, 1010, 1020], "deduplicates: {deduplicates}");
        });
    }
}

#[test]
fn a_refused_write_is_retried_until_stored() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.running().await;
        offer(&world, 1, &[1000]);
        world.store.faults.refuse_all(Some(StoreErrorClass::Transient));
        world.feed.send(&full_command(&[1]));
        world.until("the intake closes", |world| !world.feed.is_open()).await;
        assert!(world.feed.resolved().is_empty());
        world.store.faults.refuse_all(None);
        world.until("the command", |world| world.feed.resolved().len() == 1).await;
        assert_eq!(closes(&world.store, 1), [1000]);
        assert!(world.feed.is_open());
    });
}

#[test]
fn a_task_starts_again_on_an_exchanged_store() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.running().await;
        offer(&world, 1, &[1000, 1010]);
        world.store.faults.refuse_all(Some(StoreErrorClass::Transient));
        world.feed.send(&full_command(&[1]));
        world.until("the write fails", |world| world.store.faults.num_calls("bars.stored") > 0).await;
        let other = Arc::new(ModelStore::deduplicating());
        world.stores.exchange(Arc::new(ModelStore::ports(&other)));
        world.until("the command", |world| world.feed.resolved().len() == 1).await;
        assert_eq!((closes(&world.store, 1), closes(&other, 1)), (vec![], vec![1000, 1010]));
    });
}

#[test]
fn a_failing_fetch_has_three_attempts() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.running().await;
        offer(&world, 1, &[1000]);
        let error = || SourceErrorKind::Server("503".to_owned());
        world.source.fail([error(), error()]);
        world.feed.send(&full_command(&[1]));
        world.until("the third attempt", |world| world.feed.resolved().len() == 1).await;
        assert_eq!((world.source.num_calls(), world.outbox.dead_letters().len()), (3, 0));
        world.source.fail([error(), error(), error()]);
        world.feed.send(&full_command(&[1]));
        world.until("the dead letter", |world| world.feed.resolved().len() == 2).await;
        let letters = world.outbox.dead_letters();
        assert_eq!(
            letters.iter().map(|letter| (letter.class, letter.attempts)).collect::<Vec<_>>(),
            [("source_error", 3)]
        );
    });
}

#[test]
fn a_permanent_error_is_not_retried() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.running().await;
        world.source.fail([SourceErrorKind::Unauthorized("token".to_owned())]);
        world.feed.send(&full_command(&[1]));
        world.until("the dead letter", |world| world.outbox.dead_letters().len() == 1).await;
        assert_eq!(world.source.num_calls(), 1);
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
        (1..=3).for_each(|number| offer(&world, number, &[1000]));
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
        offer(&world, 1, &[1000]);
        world.source.set_delay(Duration::from_secs(30));
        world.feed.send(&full_command(&[1]));
        world.until("the fetch is under way", |world| world.source.num_calls() == 1).await;
        world.feed.lose();
        world.until("the command returns", |world| !world.feed.returned().is_empty()).await;
        assert!(world.store.bars().is_empty() && world.feed.resolved().is_empty());
    });
}

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
        offer(&world, 1, &[1000, 1010]);
        world.source.set_delay(Duration::from_secs(10));
        world.feed.send(&full_command(&[1]));
        world.until("the fetch is under way", |world| world.source.num_calls() == 1).await;
        assert_eq!(world.stop().await, ExitReport::Drained);
        assert_eq!((world.feed.resolved().len(), closes(&world.store, 1)), (1, vec![1000, 1010]));
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
        assert!(late.starts_with("1 commands unresolved"), "{late}");
        assert!(world.feed.resolved().is_empty());
    });
}

#[test]
fn many_commands_share_an_insert() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.running().await;
        for number in 1..=200 {
            offer(&world, number, &[1000]);
            world.feed.send(&full_command(&[number]));
        }
        world.until("all are resolved", |world| world.feed.resolved().len() == 200).await;
        let inserts = world.store.faults.num_calls("bars.insert");
        assert!(world.store.bars().len() == 200 && inserts <= 5, "{inserts} INSERTs");
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
        offer(&world, 1, &[1000]);
        let begun = tokio::time::Instant::now();
        let offset = world.feed.send(&full_command(&[1]));
        world.until("the bars are stored", |world| world.feed.resolved().contains(&offset)).await;
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    });
}
