// Upstream: many
// Downstream: none
// Role: The wall clock of the worker. A simulation replaces it.

use chrono::{DateTime, Utc};

/// The current time.
pub fn utc_now() -> DateTime<Utc> {
    #[cfg(any(test, feature = "simulation"))]
    if let Some(clock) = SIMULATED.get() {
        return clock();
    }
    Utc::now()
}

/// A clock of a simulation.
#[cfg(any(test, feature = "simulation"))]
pub type SimulatedClock = fn() -> DateTime<Utc>;

#[cfg(any(test, feature = "simulation"))]
thread_local! {
    static SIMULATED: std::cell::Cell<Option<SimulatedClock>> = const { std::cell::Cell::new(None) };
}

/// Replaces the clock of this thread; `None` restores the real one.
#[cfg(any(test, feature = "simulation"))]
pub fn replace(clock: Option<SimulatedClock>) {
    SIMULATED.set(clock);
}
