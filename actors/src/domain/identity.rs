// Upstream: data_worker, domain, heartbeat, notifications, supervisor
// Downstream: none
// Role: The name and place of a worker.

use std::sync::Arc;

/// Who this worker is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The instance's name; no colon in it.
    pub node_id: Arc<str>,
    /// The host's name.
    pub host: Arc<str>,
    /// Where it can be asked over HTTP, if it can: `http://host:port`.
    pub http_address: Option<Arc<str>>,
}
