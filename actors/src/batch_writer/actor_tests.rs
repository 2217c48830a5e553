// Upstream: cargo
// Downstream: settings, simulation
// Role: Rows of many commands between models: one INSERT for all.

use crate::settings::ActorSettings;
use crate::simulation::{World, full_command};

#[test]
fn many_commands_share_an_insert() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.running().await;
        for number in 1..=200 {
            world.offer(number, &[1000]);
            world.feed.send(&full_command(&[number]));
        }
        world.until("all are resolved", |world| world.feed.resolved().len() == 200).await;
        let inserts = world.store.faults.num_calls("bars.insert");
        assert!(world.store.bars().len() == 200 && inserts <= 5, "{inserts} INSERTs");
    });
}
