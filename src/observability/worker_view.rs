// Upstream: app, observability::http, observability::metrics, standalone
// Downstream: actors, certificates
// Role: Read-only view of a running worker for HTTP endpoints and metrics.

use actors::ports::Swappable;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use actors::domain::{Identity, Lifecycle};
use actors::ports::{CommandFeed, DataKind, InterfaceFigures, MarketSource, MarketSources, PartitionState};
use actors::supervision::StatusBoard;

use crate::observability::certificates::CertificateEnds;

/// A read-only view of a worker. Every read is cheap.
#[derive(Clone)]
pub struct WorkerView {
    /// Node id and host.
    pub identity: Identity,
    /// The shared status of the actors.
    pub board: Arc<StatusBoard>,
    /// The source of the commands.
    pub feed: Arc<dyn CommandFeed>,
    /// The market data sources in force.
    pub sources: Arc<Swappable<dyn MarketSources>>,
    /// The ends of certificates.
    pub certificates: Arc<CertificateEnds>,
}

impl fmt::Debug for WorkerView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerView").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Maximum number of partitions in an answer, to bound its size.
const MAX_PARTITIONS: usize = 500;

impl WorkerView {
    /// The lifecycle state, as in the heartbeat. `Error` also applies to a running worker that is unhealthy.
    pub fn lifecycle(&self) -> Lifecycle {
        match self.board.lifecycle() {
            Lifecycle::Running if self.board.unhealthy_reason().is_some() => Lifecycle::Error,
            lifecycle => lifecycle,
        }
    }

    /// Generation of the configuration in force: 1 at the start, plus 1 for each change.
    pub fn config_generation(&self) -> u64 {
        1 + self.board.counters.reloads_applied.get()
    }

    /// The requests and waits for rate limits, by source in force and interface.
    pub fn interface_figures(&self) -> BTreeMap<(&'static str, &'static str), InterfaceFigures> {
        let sources = DataKind::ALL.into_iter().flat_map(|kind| self.sources.pin().of(kind));
        let of = |source: Arc<dyn MarketSource>| {
            let name = source.name();
            source.interface_figures().into_iter().map(move |figures| ((name, figures.name), figures))
        };
        sources.flat_map(of).collect()
    }

    /// The sources in force, each with whether it refuses the account.
    pub fn refusals(&self) -> BTreeMap<&'static str, bool> {
        let all = self.sources.pin().all().into_iter();
        all.map(|source| (source.name(), self.board.refused_sources.has(source.name()))).collect()
    }

    /// The assigned partitions, ordered by topic and number.
    pub fn partitions(&self) -> Vec<PartitionState> {
        let mut partitions = self.feed.partitions();
        partitions.truncate(MAX_PARTITIONS);
        partitions
    }
}
