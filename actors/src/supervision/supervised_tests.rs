// Upstream: cargo
// Downstream: board, restart_policy, supervised, vitals
// Role: Tests of the supervisor: panics in handlers, futures and intervals, kept queue, reset state, escalation.

use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

use actix::prelude::*;

use crate::supervision::{ActorGaveUp, RestartPolicy, StatusBoard, Vitals, supervise};

/// Counts messages. A restart resets the count.
struct Tally {
    vitals: Vitals,
    count: u32,
    starts: u32,
    ticks: u32,
}

impl Actor for Tally {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.vitals.begin(ctx);
        self.starts += 1;
        ctx.run_interval(Duration::from_millis(5), |tally, _| tally.ticks += 1);
    }
}

impl Supervised for Tally {
    fn restarting(&mut self, _ctx: &mut Self::Context) {
        self.count = 0;
    }
}

#[derive(Message)]
#[rtype(result = "u32")]
struct Count;

#[derive(Message)]
#[rtype(result = "(u32, u32)")]
struct StartsAndTicks;

#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
enum Fail {
    InHandler,
    InFuture,
    InInterval,
    ByStopping,
}

impl Handler<Count> for Tally {
    type Result = u32;
    fn handle(&mut self, _: Count, _: &mut Self::Context) -> u32 {
        self.count += 1;
        self.count
    }
}

impl Handler<StartsAndTicks> for Tally {
    type Result = MessageResult<StartsAndTicks>;
    fn handle(&mut self, _: StartsAndTicks, _: &mut Self::Context) -> Self::Result {
        MessageResult((self.starts, self.ticks))
    }
}

impl Handler<Fail> for Tally {
    type Result = ();
    fn handle(&mut self, fail: Fail, ctx: &mut Self::Context) {
        match fail {
            Fail::InHandler => panic!("in the handler"),
            Fail::InFuture => {
                ctx.spawn(async { panic!("in a future") }.into_actor(self));
            }
            Fail::InInterval => {
                ctx.run_interval(Duration::from_millis(1), |_, _| panic!("in an interval"));
            }
            Fail::ByStopping => ctx.stop(),
        }
    }
}

/// Receives the message about an actor that is given up.
#[derive(Default)]
struct Listener(Option<tokio::sync::oneshot::Sender<ActorGaveUp>>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<ActorGaveUp> for Listener {
    type Result = ();
    fn handle(&mut self, gave_up: ActorGaveUp, _: &mut Self::Context) {
        if let Some(sender) = self.0.take() {
            sender.send(gave_up).unwrap();
        }
    }
}

struct Scene {
    board: Arc<StatusBoard>,
    tally: Addr<Tally>,
    gave_up: tokio::sync::oneshot::Receiver<ActorGaveUp>,
}

fn scene() -> Scene {
    let policy = RestartPolicy { first_delay: Duration::from_millis(10), ..RestartPolicy::default() };
    let (sender, gave_up) = tokio::sync::oneshot::channel();
    let listener = Listener(Some(sender)).start();
    let board = Arc::new(StatusBoard::default());
    let vitals = Vitals::register("tally", &board);
    let tally =
        supervise(None, vitals, policy, listener.recipient(), |vitals| Tally { vitals, count: 0, starts: 0, ticks: 0 });
    Scene { board, tally, gave_up }
}

async fn wait_until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition().await {
        assert!(Instant::now() < deadline, "not within 5 s: {what}");
        actix_rt::time::sleep(Duration::from_millis(1)).await;
    }
}

#[actix_rt::test]
async fn panic_restarts_actor_with_fresh_state() {
    for fail in [Fail::InHandler, Fail::InFuture, Fail::InInterval, Fail::ByStopping] {
        let scene = scene();
        assert_eq!(scene.tally.send(Count).await.unwrap(), 1);
        assert_eq!(scene.tally.send(Count).await.unwrap(), 2);
        let begun = Instant::now();
        scene.tally.do_send(fail);
        wait_until("one restart", async || scene.board.progress.num_restarts() == 1).await;
        let queued = [scene.tally.send(Count), scene.tally.send(Count), scene.tally.send(Count)];
        let answers = futures_util::future::join_all(queued).await;
        assert_eq!(answers, [Ok(1), Ok(2), Ok(3)], "the queue is kept and the state is new");
        assert!(begun.elapsed() < Duration::from_secs(1));
        assert!(scene.board.last_error().unwrap().contains("tally failed"), "{:?}", scene.board.last_error());
    }
}

#[actix_rt::test]
async fn keeps_messages_queued_behind_a_panic() {
    let scene = scene();
    scene.tally.do_send(Fail::InHandler);
    let behind = [scene.tally.send(Count), scene.tally.send(Count)];
    assert_eq!(futures_util::future::join_all(behind).await, [Ok(1), Ok(2)]);
}

#[actix_rt::test]
async fn timers_are_set_again_once_by_a_restart() {
    let scene = scene();
    scene.tally.do_send(Fail::InHandler);
    wait_until("the second start", async || scene.tally.send(StartsAndTicks).await.unwrap().0 == 2).await;
    let before = scene.tally.send(StartsAndTicks).await.unwrap().1;
    wait_until("ticks", async || scene.tally.send(StartsAndTicks).await.unwrap().1 > before).await;
    assert_eq!(scene.tally.send(StartsAndTicks).await.unwrap().0, 2);
}

#[actix_rt::test]
async fn the_sixth_failure_in_the_window_is_escalated() {
    let scene = scene();
    for _ in 0..6 {
        scene.tally.do_send(Fail::InHandler);
    }
    let gave_up = actix_rt::time::timeout(Duration::from_secs(5), scene.gave_up).await.unwrap().unwrap();
    assert_eq!(gave_up.actor, "tally");
    assert_eq!(gave_up.reason, "panic: in the handler");
    assert_eq!(scene.board.progress.num_restarts(), 5);
    wait_until("the address is closed", async || !scene.tally.connected()).await;
}

#[actix_rt::test]
async fn gives_up_actor_that_stops_at_every_start() {
    struct Quitter(Vitals);
    impl Actor for Quitter {
        type Context = Context<Self>;
        fn started(&mut self, ctx: &mut Self::Context) {
            self.0.begin(ctx);
            ctx.stop();
        }
    }
    impl Supervised for Quitter {}
    impl Handler<Count> for Quitter {
        type Result = u32;
        fn handle(&mut self, _: Count, _: &mut Self::Context) -> u32 {
            0
        }
    }
    let (sender, gave_up) = tokio::sync::oneshot::channel();
    let listener = Listener(Some(sender)).start();
    let vitals = Vitals::register("quitter", &Arc::new(StatusBoard::default()));
    let policy = RestartPolicy { first_delay: Duration::from_millis(1), ..RestartPolicy::default() };
    let _address = supervise(None, vitals, policy, listener.recipient(), Quitter);
    let gave_up = actix_rt::time::timeout(Duration::from_secs(5), gave_up).await.unwrap().unwrap();
    assert_eq!(gave_up.reason, "the actor stopped by itself");
}
