// Upstream: calendar_alert, failure_alerts, health_alert, refused_source_alert, threshold_alerts
// Downstream: domain
// Role: The state of one alert: when it is raised, escalated, repeated and resolved.

use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

use crate::domain::Level;

/// A reported change of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertTransition {
    /// The condition started.
    Raised,
    /// The level is higher than the last reported level.
    Escalated,
    /// The condition still holds; reported again after the cool-down.
    Lasting,
    /// The condition ended.
    Resolved,
}

impl AlertTransition {
    /// The value of `state` in notifications.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Escalated => "escalated",
            Self::Lasting => "lasting",
            Self::Resolved => "resolved",
        }
    }
}

/// Number of times that an alert is raised within a cool-down before its end is no longer reported at once. The end is
/// reported when fewer raises lie within the cool-down.
const FLAPPING_LIMIT: usize = 3;

/// The state of one kind of alert. The start of a condition is always reported. For a flapping condition, the end is
/// reported late.
#[derive(Debug, Default)]
pub struct AlertState {
    open: bool,
    /// The last reported level and its time.
    messages: Option<(Level, Instant)>,
    /// Times of the raises within the cool-down.
    raised_at: VecDeque<Instant>,
    /// Whether the condition ended and the end is not reported yet.
    away: bool,
}

impl AlertState {
    /// The transition to report for the current level. `None` as level means that the condition does not hold.
    pub fn judge(&mut self, level: Option<Level>, now: Instant, cool_down: Duration) -> Option<AlertTransition> {
        let Some(level) = level else { return self.went(now, cool_down) };
        self.away = false;
        let is_quiet = self.messages.is_some_and(|(_, at)| now.saturating_duration_since(at) < cool_down);
        let is_worse = self.messages.is_some_and(|(messages, _)| level > messages);
        let word = match self.open {
            false => AlertTransition::Raised,
            true if is_worse => AlertTransition::Escalated,
            true if is_quiet => return None,
            true => AlertTransition::Lasting,
        };
        if word == AlertTransition::Raised {
            self.raised_at.push_back(now);
        }
        self.open = true;
        self.messages = Some((level, now));
        Some(word)
    }

    /// The delayed end of a flapping condition, if it is due now.
    pub fn settle(&mut self, now: Instant, cool_down: Duration) -> Option<AlertTransition> {
        if self.away { self.went(now, cool_down) } else { None }
    }

    fn went(&mut self, now: Instant, cool_down: Duration) -> Option<AlertTransition> {
        if !self.open {
            return None;
        }
        self.raised_at.retain(|at| now.saturating_duration_since(*at) < cool_down);
        self.away = self.raised_at.len() >= FLAPPING_LIMIT;
        if self.away {
            return None;
        }
        (self.open, self.messages) = (false, None);
        Some(AlertTransition::Resolved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOL_DOWN: Duration = Duration::from_secs(60);

    fn messages(course: &[(u64, Option<Level>)]) -> Vec<Option<AlertTransition>> {
        let begin = Instant::now();
        let mut state = AlertState::default();
        let judge = |(seconds, level): &(u64, Option<Level>)| {
            state.judge(*level, begin + Duration::from_secs(*seconds), COOL_DOWN)
        };
        course.iter().map(judge).collect()
    }

    #[test]
    fn alert_is_raised_escalated_repeated_and_resolved() {
        let (warning, error) = (Some(Level::Warning), Some(Level::Error));
        let course =
            [(0, None), (1, warning), (2, warning), (3, error), (4, warning), (64, warning), (65, None), (66, None)];
        let words = [
            None,
            Some(AlertTransition::Raised),
            None,
            Some(AlertTransition::Escalated),
            None,
            Some(AlertTransition::Lasting),
            Some(AlertTransition::Resolved),
            None,
        ];
        assert_eq!(messages(&course), words);
    }

    #[test]
    fn flapping_alerts_are_limited() {
        let error = Some(Level::Error);
        let (raised, resolved) = (Some(AlertTransition::Raised), Some(AlertTransition::Resolved));
        let twice = [(0, error), (1, None), (2, error), (3, None), (4, None)];
        assert_eq!(messages(&twice), [raised, resolved, raised, resolved, None], "the last report is true");
        let often = [(4, error), (5, None), (6, error), (7, None), (40, None), (66, None), (67, None), (68, error)];
        let words = messages(&[&twice[..], &often[..]].concat());
        assert_eq!(words[5..], [raised, None, None, None, None, resolved, None, raised]);
    }
}
