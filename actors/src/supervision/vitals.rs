// Upstream: many
// Downstream: board, progress
// Role: An actor's connection to the status board: its name, its pulse and its fail points for tests.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use crate::supervision::board::StatusBoard;
use crate::supervision::progress::ActorRecord;

/// Interval between two pulses of an actor. It is short compared with all limits on pulses, and its cost is low.
const PULSE: Duration = Duration::from_millis(250);

/// The connection of an actor to the status board. Each actor receives one when it is created. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Vitals {
    actor: Arc<ActorRecord>,
    board: Arc<StatusBoard>,
}

impl Vitals {
    /// Registers an actor on the status board.
    pub fn register(name: &'static str, board: &Arc<StatusBoard>) -> Self {
        Self { actor: board.progress.register(name), board: board.clone() }
    }

    /// The status board of the worker.
    pub fn board(&self) -> &Arc<StatusBoard> {
        &self.board
    }

    /// The actor's entry on the status board.
    pub fn actor(&self) -> &Arc<ActorRecord> {
        &self.actor
    }

    /// Starts the pulse. Called in `started()`, so also after every restart.
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

    /// A point at which a test can make this actor panic (`FAILPOINTS=fetcher::handler=1*panic`). It does nothing
    /// without the feature `failpoints`.
    pub fn fail_point(&self, place: &str) {
        #[cfg(feature = "failpoints")]
        fail::fail_point!(&format!("{}::{place}", self.actor.name));
        #[cfg(not(feature = "failpoints"))]
        let _ = place;
    }
}
