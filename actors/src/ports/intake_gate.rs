// Upstream: data_worker, delivery, ports, store_retry, supervision, supervisor
// Downstream: none
// Role: The intake gate: whether new commands are accepted, and the reasons for a pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// A reason for accepting no new commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum IntakePause {
    /// The store fails.
    StoreOutage = 1,
    /// An operator paused the worker.
    Paused = 2,
}

impl IntakePause {
    /// The reason's name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StoreOutage => "store_outage",
            Self::Paused => "paused",
        }
    }
}

/// Decides whether new commands may be accepted: the gate is open while no reason closes it.
#[derive(Debug, Clone, Default)]
pub struct IntakeGate(Arc<AtomicU8>);

impl IntakeGate {
    /// Closes the gate for this reason.
    pub fn close(&self, reason: IntakePause) {
        self.0.fetch_or(reason as u8, Ordering::AcqRel);
    }

    /// Removes this reason; the gate opens when no reason is left.
    pub fn open(&self, reason: IntakePause) {
        self.0.fetch_and(!(reason as u8), Ordering::AcqRel);
    }

    /// Whether this reason closes the gate.
    pub fn is_closed_by(&self, reason: IntakePause) -> bool {
        self.0.load(Ordering::Acquire) & (reason as u8) != 0
    }

    /// Whether new commands may be accepted.
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}
