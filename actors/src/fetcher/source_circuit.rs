// Upstream: actor, cross_check, row_context, source_caller, source_circuit_tests
// Downstream: ports, supervision
// Role: Stops requests to a source that refuses the account, until a probe succeeds or a reload brings another login.

//! A refused token or a blocked account refuses every request of the source. The first tasks fail, so that their
//! commands say why; then the source's circuit is open. While it is open, one task at a time asks as a probe, after a
//! delay that doubles. A missing permission ([`SourceErrorKind::Forbidden`]) concerns one interface and opens no
//! circuit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::ports::{MarketSource, SourceError, SourceErrorKind};
use crate::supervision::StatusBoard;

/// Number of refusals in a row that open a circuit. So many tasks fail.
const MAX_REFUSALS: u32 = 3;

/// Delay from the opening to the first probe.
const FIRST_DELAY: Duration = Duration::from_secs(60);

/// Maximum delay between probes.
const MAX_DELAY: Duration = Duration::from_secs(15 * 60);

/// The circuits of all sources.
pub(crate) struct SourceCircuits {
    circuits: Mutex<BTreeMap<&'static str, Circuit>>,
    changes: watch::Sender<()>,
    board: Arc<StatusBoard>,
}

/// What is known of the login of a source.
enum Circuit {
    /// Requests are sent. Contains the number of refusals since the last success.
    Closed(u32),
    /// The source refuses all requests.
    Open(Open),
}

struct Open {
    /// The source that refused. A reload that replaces it makes a probe due at once.
    source: Weak<dyn MarketSource>,
    error: SourceError,
    delay: Duration,
    next_probe: Instant,
    is_probing: bool,
}

/// Permission to send one request. If it is dropped without an outcome, a probe is due at once.
pub(crate) struct Permit<'a> {
    circuits: &'a SourceCircuits,
    source: Arc<dyn MarketSource>,
    is_probe: bool,
}

impl SourceCircuits {
    pub(crate) fn new(board: Arc<StatusBoard>) -> Self {
        Self { circuits: Mutex::default(), changes: watch::Sender::new(()), board }
    }

    /// Permits a request to this source, or returns the refusal for which it is not asked now.
    pub(crate) fn admit(&self, source: &Arc<dyn MarketSource>) -> Result<Permit<'_>, SourceError> {
        let mut circuits = self.lock();
        let is_probe = match circuits.get_mut(source.name()) {
            None | Some(Circuit::Closed(_)) => false,
            Some(Circuit::Open(open)) if open.admits_probe(source) => {
                open.is_probing = true;
                true
            }
            Some(Circuit::Open(open)) => return Err(open.error.clone()),
        };
        Ok(Permit { circuits: self, source: source.clone(), is_probe })
    }

    /// Whether the next request to this source would be admitted.
    fn admits(&self, source: &Arc<dyn MarketSource>) -> bool {
        match self.lock().get(source.name()) {
            Some(Circuit::Open(open)) => open.admits_probe(source),
            None | Some(Circuit::Closed(_)) => true,
        }
    }

    /// Waits until a request to one of these sources would be admitted, or for `longest`. Returns whether it would be.
    pub(crate) async fn wait(&self, sources: &[Arc<dyn MarketSource>], longest: Duration) -> bool {
        let mut changes = self.changes.subscribe();
        let is_due = || sources.iter().any(|source| self.admits(source));
        if !is_due() {
            // An error means that the worker ends.
            let _changed_or_over = tokio::time::timeout(longest, changes.changed()).await;
        }
        is_due()
    }

    /// Whether the source refuses all requests.
    pub(crate) fn is_open(&self, name: &str) -> bool {
        matches!(self.lock().get(name), Some(Circuit::Open(_)))
    }

    /// Forgets the circuits of sources that are no longer configured.
    pub(crate) fn keep(&self, is_configured: impl Fn(&str) -> bool) {
        self.lock().retain(|name, _| {
            let stays = is_configured(name);
            if !stays {
                self.board.refused_sources.remove(name);
            }
            stays
        });
        self.changes.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Circuit>> {
        self.circuits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn admits_probe(&self, source: &Arc<dyn MarketSource>) -> bool {
        !self.is_probing && (self.next_probe <= Instant::now() || !self.is_of(source))
    }

    fn is_of(&self, source: &Arc<dyn MarketSource>) -> bool {
        Weak::ptr_eq(&self.source, &Arc::downgrade(source))
    }

    /// Delays the next probe after one that did not succeed.
    fn delay_probe(&mut self, source: &Arc<dyn MarketSource>) {
        self.delay = if self.is_of(source) { (self.delay * 2).min(MAX_DELAY) } else { FIRST_DELAY };
        self.source = Arc::downgrade(source);
        self.next_probe = Instant::now() + self.delay;
    }
}

impl Permit<'_> {
    /// Reports the outcome of the request. Returns whether its task has to wait for the source, because the circuit was
    /// open already and the source still refuses.
    pub(crate) fn ended(self, error: Option<&SourceError>) -> bool {
        match error.map(|error| (error, &error.kind)) {
            // The vendor knows the account.
            None | Some((_, SourceErrorKind::Forbidden(_))) => self.accepted(),
            Some((error, SourceErrorKind::Unauthorized(_))) => return self.refused(error),
            // Nothing was sent.
            Some((_, SourceErrorKind::Replaced | SourceErrorKind::NotCovered(_) | SourceErrorKind::NotOffered(_))) => {}
            Some(_) => self.undecided(),
        }
        false
    }

    fn accepted(&self) {
        let before = self.circuits.lock().remove(self.source.name());
        if matches!(before, Some(Circuit::Open(_))) {
            let source = self.source.name();
            tracing::info!(source, "the source accepts the account again; waiting fetches go on");
            self.circuits.board.refused_sources.remove(source);
            self.circuits.changes.send_replace(());
        }
    }

    fn refused(&self, error: &SourceError) -> bool {
        let (name, board) = (self.source.name(), &self.circuits.board);
        let mut circuits = self.circuits.lock();
        let circuit = circuits.entry(name).or_insert(Circuit::Closed(0));
        match circuit {
            Circuit::Open(open) => {
                if self.is_probe {
                    open.error = error.clone();
                    open.delay_probe(&self.source);
                    tracing::warn!(%error, next_probe_in = ?open.delay, "the source still refuses all requests");
                    board.refused_sources.add(name, error.to_string());
                }
                return true;
            }
            Circuit::Closed(refusals) if *refusals + 1 < MAX_REFUSALS => *refusals += 1,
            Circuit::Closed(_) => {
                let (source, next_probe) = (Arc::downgrade(&self.source), Instant::now() + FIRST_DELAY);
                let error = error.clone();
                tracing::error!(%error, "the source refuses all requests; it is not asked until it accepts the account");
                board.refused_sources.add(name, error.to_string());
                *circuit = Circuit::Open(Open { source, error, delay: FIRST_DELAY, next_probe, is_probing: false });
            }
        }
        false
    }

    /// The source neither accepted nor refused the account.
    fn undecided(&self) {
        if self.is_probe
            && let Some(Circuit::Open(open)) = self.circuits.lock().get_mut(self.source.name())
        {
            open.delay_probe(&self.source);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.is_probe {
            return;
        }
        if let Some(Circuit::Open(open)) = self.circuits.lock().get_mut(self.source.name()) {
            open.is_probing = false;
        }
        self.circuits.changes.send_replace(());
    }
}
