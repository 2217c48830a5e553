// Upstream: baostock_server, tests::it, tushare_server, yahoo_server
// Downstream: none
// Role: What a protocol server does wrong at the moment, and for how many requests.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

/// How long a fault lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// For so many requests.
    Next(u64),
    /// Until [`Faults::clear`].
    UntilCleared,
}

/// The fault a server has, if any.
#[derive(Debug)]
pub struct Faults<F> {
    current: Mutex<Option<(F, Lasting)>>,
    clearings: watch::Sender<u64>,
}

impl<F> Default for Faults<F> {
    fn default() -> Self {
        Self { current: Mutex::new(None), clearings: watch::Sender::new(0) }
    }
}

impl<F: Clone> Faults<F> {
    /// From now on requests meet this fault.
    pub fn set(&self, fault: F, lasting: Lasting) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some((fault, lasting));
    }

    /// Right answers again.
    pub fn clear(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.clearings.send_modify(|count| *count += 1);
    }

    /// Hears of clearings from now on.
    pub fn clearings(&self) -> watch::Receiver<u64> {
        self.clearings.subscribe()
    }

    /// The fault this request meets; a fault for the next `n` requests becomes one for `n - 1`.
    pub fn take(&self) -> Option<F> {
        self.take_if(|_| true)
    }

    /// The same, if the fault is one of such requests at all.
    pub fn take_if(&self, concerns: impl FnOnce(&F) -> bool) -> Option<F> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let (met, lasting) = current.clone().filter(|(fault, _)| concerns(fault))?;
        *current = match lasting {
            Lasting::Next(0) => return current.take().and(None),
            Lasting::Next(1) => None,
            Lasting::Next(n) => Some((met.clone(), Lasting::Next(n - 1))),
            Lasting::UntilCleared => Some((met.clone(), lasting)),
        };
        Some(met)
    }
}
