// Upstream: cargo
// Downstream: ports, settings, simulation
// Role: Attempts at a model source: three for transient errors, one for permanent ones.

use crate::ports::SourceErrorKind;
use crate::settings::ActorSettings;
use crate::simulation::{World, full_command};

#[test]
fn a_failing_fetch_has_three_attempts() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.running().await;
        world.offer(1, &[1000]);
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
