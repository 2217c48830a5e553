// Upstream: cargo
// Downstream: domain, ports, settings, simulation
// Role: Tests a share that is listed again: no row of its first day is lost where price_limit skips rows.

use chrono::NaiveDate;
use rust_decimal::Decimal;

use crate::domain::bar_identity::bar_uuid;
use crate::domain::{Bar, FetchedBar, FetchedTick, Field, Frequency, Hundredths, Price, SourceId, Stock};
use crate::ports::ReferenceStore;
use crate::settings::ActorSettings;
use crate::settings::rules::RuleAction;
use crate::simulation::{World, bar_on, code};

/// 000792.SZ came back on this day after more than a year; it opened at 24.30 and rose to 43.90.
const DAY: &str = "2021-08-10";

/// The share with its last stored daily bar, at 8.84, and what the vendor has of [`DAY`].
async fn offer(world: &World, number: u32, last_stored: &str) {
    let midnight = |day: &str| day.parse::<NaiveDate>().unwrap().and_time(chrono::NaiveTime::MIN);
    let stock = Stock {
        code: code(number),
        name: "A".to_owned(),
        industry: String::new(),
        list_date: midnight("1997-09-04"),
        delist_date: midnight("2100-01-01"),
        source: SourceId::TUSHARE,
    };
    world.reference.merge_stocks(&[stock]).await.unwrap();
    let close = Price::fen(884);
    let stored = Bar {
        code: code(number),
        frequency: Frequency::Day,
        timestamp: midnight(last_stored),
        open: close,
        high: close,
        low: close,
        close,
        volume: 1,
        amount: Hundredths(88),
        source: SourceId::TUSHARE,
    };
    world.store.put_bar(&bar_uuid(&stored), stored);
    let fen = |fen: i64| Field::Value(Decimal::new(fen, 2));
    let bar = FetchedBar { open: fen(2_430), low: fen(2_430), high: fen(4_390), ..bar_on(DAY, 3_290) };
    let tick = |minute, price| FetchedTick {
        timestamp: Field::Value(midnight(DAY) + chrono::Duration::minutes(minute)),
        price: fen(price),
        volume: Field::Value(Decimal::ONE),
        direction: Field::Value(Decimal::ONE),
    };
    world.source.edit(|data| {
        data.bars.insert(code(number), vec![bar]);
        data.ticks.insert((code(number), DAY.parse().unwrap()), vec![tick(570, 2_430), tick(600, 4_390)]);
    });
}

#[test]
fn first_day_after_a_long_absence_is_stored_whole() {
    World::run(async {
        let mut settings = ActorSettings::default();
        settings.quality.rules.price_limit = RuleAction::Error;
        settings.quality.rules.average_price = RuleAction::Ignore;
        let world = World::start(settings);
        world.running().await;
        offer(&world, 792, "2020-05-21").await;
        offer(&world, 793, "2021-08-09").await;
        for command in [
            r#"{"command":"bar_snapshot","params":{"codes":["000792.SZ","000793.SZ"]}}"#,
            r#"{"command":"tick","params":{"code":"000792.SZ","start_date":"20210810","end_date":"20210810"}}"#,
            r#"{"command":"tick","params":{"code":"000793.SZ","start_date":"20210810","end_date":"20210810"}}"#,
        ] {
            let done = world.feed.resolved().len();
            world.feed.send(command);
            world.until("the command", |world| world.feed.resolved().len() > done).await;
        }
        assert_eq!((world.store.closes(792), world.store.closes(793)), (vec![884, 3_290], vec![884]));
        let ticks = |number| world.store.ticks().iter().filter(|tick| tick.code == code(number)).count();
        assert_eq!((ticks(792), ticks(793)), (2, 1), "a share that was traded the day before has limits");
    });
}
