// Upstream: baostock_server, benches::pipeline, tests::it, tushare_server, yahoo_server
// Downstream: none
// Role: The fault that a protocol server currently injects, and the number of requests it lasts for.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

/// How long a fault lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultDuration {
    /// For this many requests.
    Next(u64),
    /// Until [`Faults::clear`].
    UntilCleared,
}

/// The current fault of a server, if any.
#[derive(Debug)]
pub struct Faults<F> {
    current: Mutex<Option<(F, FaultDuration)>>,
    clearings: watch::Sender<u64>,
}

impl<F> Default for Faults<F> {
    fn default() -> Self {
        Self { current: Mutex::new(None), clearings: watch::Sender::new(0) }
    }
}

impl<F: Clone> Faults<F> {
    /// Injects a fault.
    pub fn set(&self, fault: F, lasting: FaultDuration) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some((fault, lasting));
    }

    /// Clears the fault.
    pub fn clear(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.clearings.send_modify(|count| *count += 1);
    }

    /// Notifies of every later [`Self::clear`].
    pub fn clearings(&self) -> watch::Receiver<u64> {
        self.clearings.subscribe()
    }

    /// The fault of this request. A fault for the next `n` requests becomes one for `n - 1`.
    pub fn take(&self) -> Option<F> {
        self.take_if(|_| true)
    }

    /// Like [`Self::take`], but only if the fault concerns this kind of request.
    pub fn take_if(&self, concerns: impl FnOnce(&F) -> bool) -> Option<F> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let (met, lasting) = current.clone().filter(|(fault, _)| concerns(fault))?;
        *current = match lasting {
            FaultDuration::Next(0) => return current.take().and(None),
            FaultDuration::Next(1) => None,
            FaultDuration::Next(n) => Some((met.clone(), FaultDuration::Next(n - 1))),
            FaultDuration::UntilCleared => Some((met.clone(), lasting)),
        };
        Some(met)
    }
}
