// Upstream: cluster, main, run
// Downstream: actors
// Role: Virtual wall clocks: one start for all workers, and an error of each worker's own clock.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use actors::domain::{clock, random_id};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::LocalSet;
use tokio::time::Instant;

/// The begin of each simulation: 18:00 in Shanghai on a trading day.
const BEGIN: &str = "2024-01-12T10:00:00Z";

thread_local! {
    static STARTED: Cell<Option<Instant>> = const { Cell::new(None) };
    static ERROR: Cell<TimeDelta> = const { Cell::new(TimeDelta::zero()) };
}

/// Lets wall clock and random numbers of this thread follow from virtual time and a seed.
pub fn simulate(seed: u64) {
    STARTED.set(Some(Instant::now()));
    fastrand::seed(seed);
    clock::replace(Some(now));
    random_id::replace(Some(|| fastrand::u128(..)));
}

fn now() -> DateTime<Utc> {
    let begin: DateTime<Utc> = BEGIN.parse().expect("a time");
    let passed = STARTED
        .get()
        .map_or(TimeDelta::zero(), |started| TimeDelta::from_std(started.elapsed()).expect("a simulation is short"));
    begin + passed + ERROR.get()
}

/// Runs the tasks of one worker, whose clock has this error.
pub async fn with_clock_error(mut tasks: LocalSet, error: Rc<Cell<TimeDelta>>) {
    std::future::poll_fn(|context| {
        ERROR.set(error.get());
        // The worker's end is the end of its process, not of its tasks.
        let _ended = Pin::new(&mut tasks).poll(context);
        ERROR.set(TimeDelta::zero());
        Poll::Pending
    })
    .await
}

/// The virtual time of log lines.
pub struct VirtualTime;

impl tracing_subscriber::fmt::time::FormatTime for VirtualTime {
    fn format_time(&self, line: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        let passed = STARTED.get().map_or(0.0, |started| started.elapsed().as_secs_f64());
        write!(line, "{passed:9.3}")
    }
}
