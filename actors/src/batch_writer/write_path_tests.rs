// Upstream: cargo
// Downstream: domain, ports, settings, simulation
// Role: INSERTs that store less than they say, and look-ups that find too much, for every kind of rows.

use std::sync::Arc;

use chrono::{NaiveDate, NaiveTime};
use rust_decimal::Decimal;

use crate::domain::{Bar, FetchedFactor, FetchedTick, Field};
use crate::ports::StoreErrorClass;
use crate::settings::ActorSettings;
use crate::simulation::{Fault, ModelStore, World, code, full_command};

/// Commands for three bars, three factors and three ticks of one security, in this order.
fn offer(world: &World) -> [(&'static str, String); 3] {
    world.offer(1, &[1000, 1010, 1020]);
    let first: NaiveDate = "2024-01-02".parse().unwrap();
    world.source.edit(|data| {
        let factor = |day: NaiveDate| FetchedFactor {
            timestamp: Field::Value(day.and_time(NaiveTime::MIN)),
            factor: Field::Value(Decimal::ONE),
        };
        data.factors.insert(code(1), first.iter_days().take(3).map(factor).collect());
        let tick = |minute| FetchedTick {
            timestamp: Field::Value(first.and_hms_opt(10, minute, 0).unwrap()),
            price: Field::Value(Decimal::TEN),
            volume: Field::Value(Decimal::ONE),
            direction: Field::Value(Decimal::ONE),
        };
        data.ticks.insert((code(1), first), (0..3).map(tick).collect());
    });
    let ticks = r#"{"command":"tick","params":{"code":"000001.SZ","start_date":"2024-01-02","end_date":"2024-01-02"}}"#;
    let factors = r#"{"command":"adjustfactor","params":{"code":"000001.SZ"}}"#;
    [("bars.insert", full_command(&[1])), ("factors.insert", factors.to_owned()), ("ticks.insert", ticks.to_owned())]
}

fn num_rows(store: &ModelStore) -> [usize; 3] {
    [store.bars().len(), store.factors().len(), store.ticks().len()]
}

#[test]
fn rows_lost_by_a_confirmed_insert_are_inserted_again() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.running().await;
        let mut expected = [0; 3];
        for (n, (_, command)) in offer(&world).into_iter().enumerate() {
            world.store.lose_rows(2);
            world.feed.send(&command);
            world.until("the command", |world| world.feed.resolved().len() == n + 1).await;
            expected[n] = 3;
            assert_eq!(num_rows(&world.store), expected);
            let error = world.board.last_error().unwrap_or_default();
            assert!(error.contains("2 of its rows are not stored"), "{error}");
        }
    });
}

#[test]
fn a_part_of_an_insert_is_completed_without_copies() {
    for deduplicates in [true, false] {
        World::run(async move {
            let mut store = ModelStore::default();
            store.deduplicates = deduplicates;
            let world = World::start_on(Arc::new(store), ActorSettings::default());
            world.running().await;
            let mut expected = [0; 3];
            for (n, (insert, command)) in offer(&world).into_iter().enumerate() {
                world.store.faults.queue(insert, [Fault::InPart(StoreErrorClass::OutcomeUnknown); 3]);
                world.feed.send(&command);
                world.until("the command", |world| world.feed.resolved().len() == n + 1).await;
                expected[n] = 3;
                assert_eq!(num_rows(&world.store), expected, "{insert}, deduplicates: {deduplicates}");
            }
        });
    }
}

/// The settings of a worker whose batches may hold few rows.
fn small_batches(max_rows: usize) -> ActorSettings {
    let mut settings = ActorSettings::default();
    (settings.batch.max_rows, settings.batch.due_rows, settings.batch.min_rows) = (max_rows, max_rows, max_rows);
    settings
}

#[test]
fn a_batch_of_bars_that_finds_too_many_rows_is_halved() {
    World::run(async {
        let world = World::start(small_batches(12));
        world.running().await;
        for number in 1..=4 {
            world.offer(number, &[1000, 1010, 1020]);
        }
        world.feed.send(&full_command(&[1, 2, 3, 4]));
        world.until("the first command", |world| world.feed.resolved().len() == 1).await;
        let stored = world.store.bars();
        for (place, (_, bar)) in stored.iter().enumerate() {
            world.store.put_bar(&format!("copy {place}"), bar.clone());
        }
        let before = world.store.faults.num_calls("bars.stored");
        world.feed.send(&full_command(&[1, 2, 3, 4]));
        world.until("the second command", |world| world.feed.resolved().len() == 2).await;
        let keys = |bars: &[(String, Bar)]| bars.iter().map(|(_, bar)| bar.clone()).collect::<Vec<_>>();
        assert_eq!(keys(&world.store.bars()), keys(&stored), "the copies are gone");
        // 24 rows are stored, 6 of each code: one look-up of four codes fails, and two of two codes each find all.
        // After its INSERT each half looks once more.
        assert_eq!(world.store.faults.num_calls("bars.stored") - before, 5);
    });
}

#[test]
fn a_batch_of_factors_that_finds_too_many_rows_is_halved() {
    World::run(async {
        let world = World::start(small_batches(12));
        world.running().await;
        let first: NaiveDate = "2024-01-02".parse().unwrap();
        let offer = |factors: &[i64]| {
            let row = |(day, factor): (NaiveDate, &i64)| FetchedFactor {
                timestamp: Field::Value(day.and_time(NaiveTime::MIN)),
                factor: Field::Value(Decimal::from(*factor)),
            };
            let rows: Vec<FetchedFactor> = first.iter_days().zip(factors).map(row).collect();
            world.source.edit(|data| data.factors.extend((1..=4).map(|number| (code(number), rows.clone()))));
        };
        let command =
            r#"{"command":"adjustfactor","params":{"codes":["000001.SZ","000002.SZ","000003.SZ","000004.SZ"]}}"#;
        offer(&[1, 1, 1, 1, 1]);
        world.feed.send(command);
        world.until("the first command", |world| world.feed.resolved().len() == 1).await;
        let before = world.store.faults.num_calls("factors.series");
        // The new factor changes `fore` on every day of the four series.
        offer(&[1, 1, 1, 1, 1, 2]);
        world.feed.send(command);
        world.until("the second command", |world| world.feed.resolved().len() == 2).await;
        let fore: Vec<Decimal> = world.store.factors().iter().map(|factor| factor.fore.to_decimal()).collect();
        assert_eq!(fore, [2, 2, 2, 2, 2, 1].repeat(4).into_iter().map(Decimal::from).collect::<Vec<_>>());
        assert!(
            world.store.faults.num_calls("factors.series") - before >= 3,
            "one look-up of all, and one of each half"
        );
    });
}
