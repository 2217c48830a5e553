// Upstream: cargo
// Downstream: many
// Role: A source that refuses the account: few requests, few dead letters, one alert, and all tasks end.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, advance};

use crate::domain::{FetchedBar, SourceId};
use crate::fetcher::source_circuit::SourceCircuits;
use crate::ports::{BarRequest, MarketSource, MarketSources, SourceError, SourceErrorKind};
use crate::settings::ActorSettings;
use crate::simulation::{ModelSource, ModelSources, World, code, full_command};
use crate::supervision::StatusBoard;
use crate::supervisor::ExitReport;

fn refused() -> SourceErrorKind {
    SourceErrorKind::Unauthorized("40101".to_owned())
}

fn source() -> Arc<dyn MarketSource> {
    Arc::new(ModelSource::default())
}

fn circuits() -> (SourceCircuits, Arc<StatusBoard>) {
    let board = Arc::new(StatusBoard::default());
    (SourceCircuits::new(board.clone()), board)
}

/// Sends a request with this outcome. Returns whether the circuit admitted it, and whether its task has to wait.
fn ask(circuits: &SourceCircuits, source: &Arc<dyn MarketSource>, kind: Option<SourceErrorKind>) -> Option<bool> {
    let error = kind.map(|kind| SourceError { source_name: source.name(), request: "bars".to_owned(), kind });
    circuits.admit(source).ok().map(|permit| permit.ended(error.as_ref()))
}

#[tokio::test(start_paused = true)]
async fn three_refusals_in_a_row_open_the_circuit() {
    let ((circuits, board), source) = (circuits(), source());
    let forbidden = SourceErrorKind::Forbidden("no rights".to_owned());
    for ends_the_row in [None, Some(forbidden.clone())] {
        for kind in [Some(refused()), Some(refused()), ends_the_row] {
            assert_eq!(ask(&circuits, &source, kind), Some(false));
        }
    }
    for _ in 0..10 {
        assert_eq!(ask(&circuits, &source, Some(forbidden.clone())), Some(false), "one interface, not the source");
    }
    let in_flight = circuits.admit(&source).unwrap();
    for _ in 0..3 {
        assert!(!board.refused_sources.has("model"));
        assert_eq!(ask(&circuits, &source, Some(refused())), Some(false), "the first ones fail");
    }
    assert!(board.refused_sources.list()[0].reason.contains("40101"));
    assert_eq!(ask(&circuits, &source, None), None, "not asked");
    let error = SourceError { source_name: "model", request: "bars".to_owned(), kind: refused() };
    assert!(in_flight.ended(Some(&error)), "its task waits");
}

#[tokio::test(start_paused = true)]
async fn probes_are_sent_one_by_one_after_growing_delays() {
    let ((circuits, board), source) = (circuits(), source());
    (0..3).for_each(|_| assert_eq!(ask(&circuits, &source, Some(refused())), Some(false)));
    for minutes in [1, 2, 4, 8, 15, 15] {
        advance(Duration::from_secs(60 * minutes - 1)).await;
        assert_eq!(ask(&circuits, &source, None), None, "before {minutes} min");
        advance(Duration::from_secs(1)).await;
        drop(circuits.admit(&source).unwrap());
        let probe = circuits.admit(&source).expect("the one before ended without an outcome");
        assert!(circuits.admit(&source).is_err(), "a second probe");
        let undecided = SourceErrorKind::Unreachable("reset".to_owned());
        let kind = if minutes == 4 { undecided } else { refused() };
        probe.ended(Some(&SourceError { source_name: "model", request: "bars".to_owned(), kind }));
    }
    advance(Duration::from_secs(15 * 60)).await;
    assert_eq!(ask(&circuits, &source, None), Some(false));
    assert_eq!(ask(&circuits, &source, None), Some(false));
    assert!(board.refused_sources.list().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_replaced_source_is_asked_at_once() {
    let ((circuits, board), old, new) = (circuits(), source(), source());
    (0..3).for_each(|_| assert_eq!(ask(&circuits, &old, Some(refused())), Some(false)));
    assert!(!circuits.wait(std::slice::from_ref(&old), Duration::from_secs(1)).await);
    assert!(circuits.wait(std::slice::from_ref(&new), Duration::from_secs(1)).await);
    assert_eq!(ask(&circuits, &new, Some(refused())), Some(true), "its task waits and does not fail");
    assert_eq!(ask(&circuits, &new, None), None, "another wrong token");
    circuits.keep(|name| name == "model");
    assert!(board.refused_sources.has("model"));
    circuits.keep(|_| false);
    assert!(board.refused_sources.list().is_empty());
    assert_eq!(ask(&circuits, &new, None), Some(false));
}

const NUM_COMMANDS: u32 = 100;

/// A worker whose source refuses a hundred commands, once its circuit is open.
async fn refusing_world() -> World {
    let world = World::start(ActorSettings::default());
    world.running().await;
    world.source.refuse_all(Some(refused()));
    for number in 1..=NUM_COMMANDS {
        world.offer(number, &[1000]);
        world.feed.send(&full_command(&[number]));
    }
    world.until("waiting fetches", |world| world.board.refused_sources.num_waiting() == 32).await;
    world
}

/// The alerts on failures so far, with their states.
fn alerts(world: &World) -> Vec<Value> {
    let brief = |sent: Value| json!([sent["data"]["alert_type"], sent["data"]["state"]]);
    let of_interest = |alert: &Value| {
        ["source_refused", "source_error", "worker_error"].contains(&alert[0].as_str().unwrap_or_default())
    };
    world.outbox.notifications().into_iter().map(brief).filter(of_interest).collect()
}

#[test]
fn refused_commands_wait_until_the_source_accepts() {
    World::run(async {
        let world = refusing_world().await;
        world.until("three dead letters", |world| world.outbox.dead_letters().len() == 3).await;
        tokio::time::sleep(Duration::from_secs(1_200)).await;
        let num_calls = world.source.num_calls();
        assert!(num_calls <= 3 + 32 + 5, "{num_calls} calls: the first ones, and five probes in 20 min");
        let reason = world.board.unhealthy_reason().unwrap();
        assert!(reason.contains("32 fetches wait") && reason.contains("40101"), "{reason}");
        assert_eq!(alerts(&world), [json!(["source_refused", "raised"])]);

        world.source.refuse_all(None);
        tokio::time::sleep(Duration::from_secs(15 * 60)).await;
        world.until("all other commands", |world| world.feed.resolved().len() == NUM_COMMANDS as usize).await;
        assert_eq!(world.outbox.dead_letters().len(), 3);
        assert_eq!(world.store.bars().len(), NUM_COMMANDS as usize - 3);
        world.until("a healthy worker", |world| world.board.unhealthy_reason().is_none()).await;
        assert_eq!(alerts(&world), [json!(["source_refused", "raised"]), json!(["source_refused", "resolved"])]);
    });
}

#[test]
fn another_login_ends_the_wait_at_once() {
    World::run(async {
        let world = refusing_world().await;
        let other = Arc::new(ModelSource::default());
        world.source.edit(|data| other.edit(|new| *new = data.clone()));
        let begun = Instant::now();
        world.sources.exchange(Arc::new(ModelSources(vec![other])) as Arc<dyn MarketSources>);
        world.until("all commands", |world| world.feed.resolved().len() == NUM_COMMANDS as usize).await;
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert_eq!(world.store.bars().len(), NUM_COMMANDS as usize - 3);
    });
}

#[test]
fn waiting_commands_return_when_their_partition_goes() {
    World::run(async {
        let world = refusing_world().await;
        world.until("three dead letters", |world| world.outbox.dead_letters().len() == 3).await;
        world.feed.withdraw();
        world.until("all returned", |world| world.feed.returned().len() == NUM_COMMANDS as usize - 3).await;
        assert_eq!(world.board.refused_sources.num_waiting(), 0);
    });
}

#[test]
fn a_worker_whose_fetches_all_wait_stops_at_once() {
    World::run(async {
        let mut world = refusing_world().await;
        world.until("three dead letters", |world| world.feed.resolved().len() == 3).await;
        let begun = Instant::now();
        let report = world.stop().await;
        assert!(matches!(report, ExitReport::DrainedTooLate(_)), "{report:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(world.feed.resolved().len(), 3, "nothing that waits is committed");
    });
}

/// The securities that only the refusing source has: more than there are fetch slots.
const NUM_LACKING: u32 = 40;

/// A vendor without some securities, as TDX is without those of Beijing.
struct Without(ModelSource);

#[async_trait::async_trait]
impl MarketSource for Without {
    fn name(&self) -> &'static str {
        "without"
    }

    fn id(&self) -> SourceId {
        SourceId::OTHER
    }

    async fn bars(&self, request: &BarRequest) -> Result<Vec<FetchedBar>, SourceError> {
        if (1..=NUM_LACKING).any(|number| code(number) == request.code) {
            let kind = SourceErrorKind::NotCovered("no such security".to_owned());
            return Err(SourceError { source_name: "without", request: "bars".to_owned(), kind });
        }
        self.0.bars(request).await
    }
}

#[test]
fn the_fallback_answers_and_what_it_lacks_waits() {
    World::run(async {
        let world = World::start(ActorSettings::default());
        world.running().await;
        world.source.refuse_all(Some(refused()));
        (1..=NUM_COMMANDS).for_each(|number| world.offer(number, &[1000]));
        let fallback = Without(ModelSource::default());
        world.source.edit(|data| fallback.0.edit(|same| *same = data.clone()));
        world.sources.exchange(Arc::new(ModelSources(vec![world.source.clone(), Arc::new(fallback)])));
        // The first commands open the circuit; then come those that nobody else answers.
        for number in (NUM_LACKING + 1..=NUM_LACKING + 3).chain(1..=NUM_LACKING).chain(NUM_LACKING + 4..=NUM_COMMANDS) {
            world.feed.send(&full_command(&[number]));
        }
        let num_covered = (NUM_COMMANDS - NUM_LACKING) as usize;
        world.until("all that the fallback has", |world| world.feed.resolved().len() == num_covered).await;
        assert!(world.source.num_calls() <= 32 + 3, "{}", world.source.num_calls());
        assert_eq!(world.outbox.dead_letters().len(), 0);
        let num_waiting = u64::from(NUM_LACKING);
        world.until("those that wait", |world| world.board.refused_sources.num_waiting() == num_waiting).await;
        world.source.refuse_all(None);
        world.until("the last ones", |world| world.feed.resolved().len() == NUM_COMMANDS as usize).await;
        assert_eq!(world.store.bars().len(), NUM_COMMANDS as usize);
        assert_eq!(world.outbox.dead_letters().len(), 0);
    });
}
