// Upstream: many
// Downstream: board, progress
// Role: What an actor carries of its supervision: its name, its pulse, its fault points for tests.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use crate::supervision::board::StatusBoard;
use crate::supervision::progress::ActorVitals;

/// Between two pulses of an actor: short against every limit that is judged by them, long against their cost.
const PULSE: Duration = Duration::from_millis(250);

/// Given to each actor when it is built; cheap to clone.
#[derive(Debug, Clone)]
pub struct Vitals {
    actor: Arc<ActorVitals>,
    board: Arc<StatusBoard>,
}

impl Vitals {
    /// Registers an actor on the board.
    pub fn register(name: &'static str, board: &Arc<StatusBoard>) -> Self {
        Self { actor: board.progress.register(name), board: board.clone() }
    }

    /// The board of the whole worker.
    pub fn board(&self) -> &Arc<StatusBoard> {
        &self.board
    }

    /// The actor's record on the board.
    pub fn actor(&self) -> &Arc<ActorVitals> {
        &self.actor
    }

    /// Starts the pulse. Called in `started()`, that is, at every restart too.
    pub fn begin<A: Actor<Context = Context<A>>>(&self, ctx: &mut Context<A>) {
        self.actor.set_down(false);
        self.board.progress.pulse(&self.actor);
        let vitals = self.clone();
        ctx.run_interval(PULSE, move |_, ctx| {
            vitals.board.progress.pulse(&vitals.actor);
            vitals.fail_point("interval");
            if cfg!(feature = "failpoints") {
                let vitals = vitals.clone();
                ctx.spawn(actix::fut::wrap_future(async move { vitals.fail_point("future") }));
            }
        });
    }

    /// A place where a test may make this actor panic (`FAILPOINTS=fetcher::handler=1*panic`); nothing in a release.
    pub fn fail_point(&self, place: &str) {
        #[cfg(feature = "failpoints")]
        fail::fail_point!(&format!("{}::{place}", self.actor.name));
        #[cfg(not(feature = "failpoints"))]
        let _ = place;
    }
}
