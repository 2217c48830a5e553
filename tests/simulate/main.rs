// Upstream: cargo
// Downstream: clock, run
// Role: Simulates groups of workers with faults, each from a seed, and checks that nothing is lost, doubled or stuck.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod broker;
mod checks;
mod client;
mod clock;
mod cluster;
mod consumer;
mod market;
mod outbox;
mod run;
mod scenario;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Number of seeds, if `SIMULATION_RUNS` names none.
const RUNS: u64 = 1_000;

/// A number from the environment.
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

/// Prints the log of a single run, with virtual times. `SIMULATION_LOG` is a filter such as `debug`.
fn log() {
    let filter = std::env::var("SIMULATION_LOG").unwrap_or_else(|_| "info".to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(clock::VirtualTime)
        .with_ansi(false)
        .with_test_writer()
        .init();
}

/// Injected panics are part of the scenarios and need no message.
fn hide_injected_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<&str>();
        let is_injected = text.is_some_and(|text| text.contains("an injected panic"));
        if !is_injected {
            print(panic);
        }
    }));
}

/// Runs these seeds on all cores and returns the failures.
fn run_all(first: u64, runs: u64) -> Vec<(u64, String)> {
    hide_injected_panics();
    let (next, failures) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + runs {
                        return;
                    }
                    if let Err(reason) = run::simulate(seed) {
                        eprintln!("seed {seed}: {reason}");
                        failures.lock().unwrap().push((seed, reason));
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap()
}

#[test]
fn no_seed_loses_doubles_or_sticks() {
    let (first, runs) = match number("SIMULATION_SEED") {
        Some(seed) => {
            log();
            (seed, 1)
        }
        None => (0, number("SIMULATION_RUNS").unwrap_or(RUNS)),
    };
    let failures = run_all(first, runs);
    assert!(failures.is_empty(), "{} of {runs} seeds failed, the first: {:?}", failures.len(), failures.first());
}

#[test]
fn a_seed_always_gives_the_same_run() {
    for seed in 0..10 {
        assert_eq!(run::simulate(seed), run::simulate(seed), "seed {seed}");
    }
}
