// Upstream: many
// Downstream: alert_state, domain
// Role: What a worker sees of the cause of an alert, with the words for it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Level, Notification};
use crate::quality_monitor::alert_state::AlertTransition;

/// Writes the message for a transition.
type Words = Arc<dyn Fn(AlertTransition) -> Notification + Send + Sync>;

/// What a worker sees of the cause of an alert. The state that all workers share decides whether it is reported.
#[derive(Clone)]
pub struct AlertDraft {
    /// Names the cause: equal names in two workers mean the same alert.
    pub name: String,
    /// The level; `None` if the condition does not hold.
    pub level: Option<Level>,
    /// Time between two messages on a condition that lasts; `None`: it is reported once.
    pub cool_down: Option<Duration>,
    /// The message.
    pub words: Words,
}

impl AlertDraft {
    /// A condition that holds or does not.
    pub fn new(
        name: impl Into<String>,
        level: Option<Level>,
        cool_down: Option<Duration>,
        words: impl Fn(AlertTransition) -> Notification + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), level, cool_down, words: Arc::new(words) }
    }
}

impl fmt::Debug for AlertDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlertDraft").field("name", &self.name).field("level", &self.level).finish_non_exhaustive()
    }
}

/// Alerts of one worker alone, whose messages are all published.
#[cfg(test)]
#[derive(Debug, Default)]
pub struct LoneAlerts(std::collections::BTreeMap<String, crate::quality_monitor::alert_state::AlertState>);

#[cfg(test)]
impl LoneAlerts {
    /// The messages about drafts at this second.
    pub fn tell(&mut self, drafts: impl IntoIterator<Item = AlertDraft>, second: u64) -> Vec<Notification> {
        use crate::quality_monitor::alert_state::Observation;
        let mut messages = Vec::new();
        for AlertDraft { name, level, cool_down, words } in drafts {
            let seen = Observation {
                node_id: "n1",
                level,
                now: 1_700_000_000_000 + 1_000 * second as i64,
                cool_down: cool_down.unwrap_or_default().as_millis() as i64,
                window: 120_000,
                repeats: cool_down.is_some(),
            };
            let state = self.0.entry(name).or_default();
            if let Some(transition) = state.judge(&seen) {
                state.said(transition);
                messages.push(words(transition));
            }
        }
        messages
    }
}
