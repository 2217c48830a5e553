// Upstream: command_router, data_worker, quality_report, row_version, store_retry, tests::simulate
// Downstream: none
// Role: Random UUIDs. A simulation makes them follow from its seed.

use uuid::Uuid;

/// A random UUID (version 4).
pub fn random_uuid() -> Uuid {
    #[cfg(any(test, feature = "simulation"))]
    if let Some(random) = SIMULATED.get() {
        return uuid::Builder::from_random_bytes(random().to_le_bytes()).into_uuid();
    }
    Uuid::new_v4()
}

#[cfg(any(test, feature = "simulation"))]
thread_local! {
    static SIMULATED: std::cell::Cell<Option<fn() -> u128>> = const { std::cell::Cell::new(None) };
}

/// Replaces the source of random numbers of this thread; `None` restores the real one.
#[cfg(any(test, feature = "simulation"))]
pub fn replace(random: Option<fn() -> u128>) {
    SIMULATED.set(random);
}
