// Upstream: cargo
// Downstream: ports, settings, simulation
// Role: Attempts at a model source: three for transient errors, one for permanent ones.

use crate::ports::SourceErrorKind;
use crate::settings::ActorSettings;
use crate::simulation::{World, full_command};

/// Two failures with this error cost no command; three make a dead letter.
fn assert_three_attempts(error: SourceErrorKind) {
    World::run(async move {
        let world = World::start(ActorSettings::default());
        world.running().await;
        world.offer(1, &[1000]);
        world.source.fail([error.clone(), error.clone()]);
        world.feed.send(&full_command(&[1]));
        world.until("the third attempt", |world| world.feed.resolved().len() == 1).await;
        assert_eq!((world.source.num_calls(), world.outbox.dead_letters().len()), (3, 0));
        world.source.fail([error.clone(), error.clone(), error]);
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
fn a_failing_fetch_has_three_attempts() {
    assert_three_attempts(SourceErrorKind::Server("503".to_owned()));
}

#[test]
fn a_bad_answer_has_three_attempts() {
    assert_three_attempts(SourceErrorKind::BadAnswer("<html>".to_owned()));
}

#[test]
fn a_fetch_that_never_ends_becomes_a_dead_letter() {
    World::run(async {
        let mut settings = ActorSettings::default();
        settings.fetch.attempt_timeout_ms = 60_000;
        let world = World::start(settings);
        world.running().await;
        world.offer(1, &[1000]);
        world.source.set_delay(std::time::Duration::from_secs(1_000_000));
        world.feed.send(&full_command(&[1]));
        world.until("the dead letter", |world| world.outbox.dead_letters().len() == 1).await;
        let letter = &world.outbox.dead_letters()[0];
        assert_eq!((letter.class, letter.attempts), ("source_error", 3));
        assert_eq!(world.feed.resolved().len(), 1);
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
