// Upstream: many
// Downstream: none
// Role: The port to the states of alerts, which all workers of a group share.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

/// The states of alerts by name. A state is text that only workers read.
#[async_trait]
pub trait AlertStore: Send + Sync {
    /// The state of an alert; `None` if there is none.
    async fn state(&self, name: &str) -> Result<Option<String>, AlertStoreError>;

    /// Replaces the state that was read, if it is still `before`. `false` if another worker was faster.
    async fn replace(&self, name: &str, before: Option<&str>, state: &str) -> Result<bool, AlertStoreError>;
}

/// The states cannot be read or written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("alert store {store}: {reason}")]
pub struct AlertStoreError {
    /// Address and key; contains no credentials.
    pub store: String,
    /// The reason.
    pub reason: String,
}

/// The states of the workers of one process.
#[derive(Debug, Default)]
pub struct MemoryAlerts(Mutex<BTreeMap<String, String>>);

#[async_trait]
impl AlertStore for MemoryAlerts {
    async fn state(&self, name: &str) -> Result<Option<String>, AlertStoreError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned())
    }

    async fn replace(&self, name: &str, before: Option<&str>, state: &str) -> Result<bool, AlertStoreError> {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = states.get(name).map(String::as_str) == before;
        if is_same {
            states.insert(name.to_owned(), state.to_owned());
        }
        Ok(is_same)
    }
}
