// Upstream: none
// Downstream: faults, kit, round
// Role: Rounds of random faults under mixed load against the real servers: kills, and broken connections.

//! The seed fixes the data, the commands and the faults of a round. What they meet depends on timing, so a seed that
//! failed may need several runs. `make crash-test N=300` runs many rounds.

mod content;
mod faults;
mod market;
mod round;
mod servers;
mod watcher;

use std::time::Instant;

use kit::random::Random;

use crate::crash::faults::Plan;
use crate::crash::round::Round;

/// The number in an environment variable.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// Says which round failed, when a check of it panics.
struct OnFailure {
    kind: &'static str,
    round: u64,
    seed: u64,
    plan: String,
}

impl Drop for OnFailure {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { kind, round, seed, plan } = self;
            eprintln!("{kind}: round {round} failed; again: make crash-test N=1 SEED={seed}\n{plan}");
        }
    }
}

/// Runs `CRASH_ROUNDS` rounds; round n has the seed `CRASH_SEED` + n, so that each can be run alone.
fn run(kind: &'static str, has_proxies: bool, plan: impl Fn(&mut Random) -> Plan) {
    let (rounds, first) = (number("CRASH_ROUNDS").unwrap_or(10), number("CRASH_SEED").unwrap_or(1));
    for round in 0..rounds {
        let begun = Instant::now();
        let mut random = Random(first + round);
        let plan = plan(&mut random);
        let failure = OnFailure { kind, round, seed: first + round, plan: format!("{plan:#?}") };
        let summary = Round::begin(kind, has_proxies, random).run(&plan);
        drop(failure);
        println!("{kind}: round {round} of {rounds}, seed {}, {:.1?}: {summary}", first + round, begun.elapsed());
    }
}

#[test]
fn workers_killed_at_random_leave_the_vendors_answer() {
    run("kills", false, Plan::of_kills);
}

#[test]
fn broken_connections_leave_the_vendors_answer() {
    run("connections", true, Plan::of_connections);
}
