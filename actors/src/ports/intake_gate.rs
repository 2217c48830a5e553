// Upstream: data_worker, delivery, ports, store_retry, supervision, supervisor
// Downstream: none
// Role: Whether new commands are taken, and why not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// Why no new commands are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum IntakePause {
    /// The store does not take rows.
    StoreOutage = 1,
    /// An operator paused the worker.
    Paused = 2,
}

impl IntakePause {
    /// The reason's name in figures.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StoreOutage => "store_outage",
            Self::Paused => "paused",
        }
    }
}

/// Whether new commands may be taken: while there is no reason against it.
#[derive(Debug, Clone, Default)]
pub struct IntakeGate(Arc<AtomicU8>);

impl IntakeGate {
    /// Takes no new commands until this reason is gone.
    pub fn close(&self, reason: IntakePause) {
        self.0.fetch_or(reason as u8, Ordering::AcqRel);
    }

    /// This reason is gone.
    pub fn open(&self, reason: IntakePause) {
        self.0.fetch_and(!(reason as u8), Ordering::AcqRel);
    }

    /// Whether this reason keeps commands out.
    pub fn is_closed_by(&self, reason: IntakePause) -> bool {
        self.0.load(Ordering::Acquire) & (reason as u8) != 0
    }

    /// Whether commands may be taken.
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}
