// Upstream: cargo
// Downstream: domain, ports, settings, simulation
// Role: Tests that an increment asks for no days on which the exchanges were closed.

use chrono::{Days, NaiveDate, NaiveTime};
use rust_decimal::Decimal;

use crate::domain::{FetchedFactor, Field, SourceId, TradeDay, shanghai_clock};
use crate::ports::ReferenceStore;
use crate::settings::ActorSettings;
use crate::simulation::{World, code};

/// The exchanges are closed from the day after the last offered bar until today, and open tomorrow.
async fn close_exchanges(world: &World) {
    let (last, today): (NaiveDate, _) = ("2024-01-04".parse().unwrap(), shanghai_clock::today());
    let days = last.iter_days().skip(1).take_while(|day| *day <= today + Days::new(1));
    let trade_day = |day: NaiveDate| TradeDay {
        date: day.and_time(NaiveTime::MIN),
        is_open: day > today,
        source: SourceId::TUSHARE,
    };
    world.reference.merge_trade_days(&days.map(trade_day).collect::<Vec<_>>()).await.unwrap();
}

#[test]
fn increment_asks_for_no_closed_days() {
    World::run(async {
        let mut settings = ActorSettings::default();
        settings.fetch.whole_days_from_tasks = 0;
        let world = World::start(settings);
        close_exchanges(&world).await;
        world.running().await;
        world.offer(1, &[1_000, 1_010, 1_020]);
        world.source.edit(|data| {
            let timestamp = Field::Value("2024-01-04T00:00:00".parse().unwrap());
            data.factors.insert(code(1), vec![FetchedFactor { timestamp, factor: Field::Value(Decimal::ONE) }]);
        });
        for command in ["bar_snapshot", "adjustfactor"] {
            let mut num_calls = Vec::new();
            for _ in 0..2 {
                let done = world.feed.resolved().len();
                world.feed.send(&format!(r#"{{"command":"{command}","params":{{"code":"000001.SZ"}}}}"#));
                world.until("the command", |world| world.feed.resolved().len() > done).await;
                num_calls.push(world.source.num_calls());
            }
            assert_eq!(num_calls[0], num_calls[1], "{command}: all that the exchanges had is stored");
        }
        assert_eq!(world.store.closes(1), [1_000, 1_010, 1_020]);
    });
}
