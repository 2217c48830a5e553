// Upstream: ginkgo_json, text
// Downstream: none
// Role: Limits repeated warnings and errors, so that the log of a long outage stays readable.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Level, Metadata};

/// Maximum number of warnings and errors from one call site per window.
const MAX_LINES: u32 = 20;

/// Length of the window, which starts with its first line.
const WINDOW: Duration = Duration::from_secs(10);

/// Counters by call site; their number is bounded by the code.
#[derive(Debug, Default)]
pub(super) struct RepeatLimit(Mutex<HashMap<Identifier, Place>>);

#[derive(Debug)]
struct Place {
    window_began: Instant,
    num_shown: u32,
    num_kept_back: u64,
}

impl RepeatLimit {
    /// `None` if the line is suppressed, else the number of suppressed lines of this call site before it.
    pub(super) fn admit(&self, metadata: &Metadata<'_>) -> Option<u64> {
        if *metadata.level() > Level::WARN {
            return Some(0);
        }
        self.admit_at(metadata.callsite(), Instant::now())
    }

    fn admit_at(&self, place: Identifier, now: Instant) -> Option<u64> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(place).or_insert(Place { window_began: now, num_shown: 0, num_kept_back: 0 });
        if now.duration_since(place.window_began) >= WINDOW {
            (place.window_began, place.num_shown) = (now, 0);
        }
        if place.num_shown >= MAX_LINES {
            place.num_kept_back += 1;
            return None;
        }
        place.num_shown += 1;
        Some(std::mem::take(&mut place.num_kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_window_reports_suppressed_count() {
        let limit = RepeatLimit::default();
        let place = || {
            tracing::subscriber::with_default(tracing_subscriber::registry(), || {
                tracing::info_span!("place").metadata().unwrap().callsite()
            })
        };
        let begun = Instant::now();
        let shown = (0..50).filter(|_| limit.admit_at(place(), begun) == Some(0)).count();
        assert_eq!(shown, 20);
        assert_eq!(limit.admit_at(place(), begun + WINDOW), Some(30));
        assert_eq!(limit.admit_at(place(), begun + WINDOW), Some(0));
    }
}
