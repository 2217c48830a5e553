// Upstream: many
// Downstream: none
// Role: The name and address of a worker.

use std::sync::Arc;

/// The identity of this worker.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The instance name; contains no colon.
    pub node_id: Arc<str>,
    /// The host name.
    pub host: Arc<str>,
    /// The address of the HTTP server, if it is enabled: `http://host:port`.
    pub http_address: Option<Arc<str>>,
}
