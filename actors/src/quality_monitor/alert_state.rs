// Upstream: many
// Downstream: domain
// Role: The state of one alert of a group: when it is raised, escalated, repeated and resolved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::Level;

/// A reported change of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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

/// The most workers whose view is remembered, those with the newest one.
const MAX_WORKERS: usize = 16;

/// Time after which a message that nobody has confirmed counts as lost: longer than all attempts to publish it.
const UNSAID_MS: i64 = 60_000;

/// How far the clocks of two workers may differ before their times are not compared.
const CLOCK_SKEW_MS: i64 = 60_000;

/// What a worker sees of the cause of an alert. Times are in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// The worker.
    pub node_id: &'a str,
    /// The present level. `None` means that the condition does not hold.
    pub level: Option<Level>,
    /// The present time.
    pub now: i64,
    /// Time between two messages on a condition that lasts.
    pub cool_down: i64,
    /// For how long what another worker has seen keeps this one from reporting the end.
    pub window: i64,
    /// Whether a condition that lasts is reported again.
    pub repeats: bool,
}

/// The state of one alert. The start of a condition is always reported. The end is reported late while the condition
/// flaps, or another worker still sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertState {
    /// The time of the last change.
    at: i64,
    open: bool,
    /// The last reported level.
    level: Option<Level>,
    /// The time of the last report.
    told_at: i64,
    /// Times of the raises within the cool-down.
    raised_at: Vec<i64>,
    /// Whether the condition ended and the end is not reported yet.
    away: bool,
    /// When each worker has seen the condition last, to a quarter of the window.
    seen: BTreeMap<String, i64>,
    /// A message that is not confirmed to be published, and when it was decided.
    unsaid: Option<(AlertTransition, i64)>,
}

impl AlertState {
    /// Whether the condition ended and the end is not reported yet.
    pub fn is_away(&self) -> bool {
        self.away
    }

    /// The transition to report. A report that was lost with its worker is made again.
    pub fn judge(&mut self, seen: &Observation<'_>) -> Option<AlertTransition> {
        let before = self.clone();
        let transition = match seen.level {
            Some(level) => self.holds(level, seen),
            None => self.went(seen),
        };
        if let Some(transition) = transition {
            self.unsaid = Some((transition, seen.now));
        }
        if *self != before {
            self.at = seen.now;
        }
        transition
    }

    /// Confirms that a message is published.
    pub fn said(&mut self, transition: AlertTransition) {
        self.unsaid.take_if(|(unsaid, _)| *unsaid == transition);
    }

    /// Adds what a worker has decided alone, while it could not ask for the common state.
    pub fn join(&mut self, alone: &Self) {
        self.open |= alone.open;
        self.level = self.level.max(alone.level);
        self.told_at = self.told_at.max(alone.told_at);
        if alone.raised_at.len() > self.raised_at.len() {
            self.raised_at.clone_from(&alone.raised_at);
        }
        self.away |= alone.away;
    }

    fn holds(&mut self, level: Level, seen: &Observation<'_>) -> Option<AlertTransition> {
        self.away = false;
        self.note(seen);
        let is_lost = self.is_lost(seen.now);
        let is_quiet = !seen.repeats || is_within(self.told_at, seen.now, seen.cool_down);
        let is_worse = self.level.is_some_and(|told| level > told);
        let transition = match self.open {
            false => AlertTransition::Raised,
            true if is_lost => AlertTransition::Raised,
            true if is_worse => AlertTransition::Escalated,
            true if is_quiet => return None,
            true => AlertTransition::Lasting,
        };
        if !self.open {
            self.raised_at.retain(|at| is_within(*at, seen.now, seen.cool_down));
            self.raised_at.truncate(FLAPPING_LIMIT);
            self.raised_at.push(seen.now);
        }
        (self.open, self.level, self.told_at) = (true, Some(level), seen.now);
        Some(transition)
    }

    fn went(&mut self, seen: &Observation<'_>) -> Option<AlertTransition> {
        self.seen.remove(seen.node_id);
        if !self.open {
            let is_resolved = self.unsaid.is_some_and(|(unsaid, _)| unsaid == AlertTransition::Resolved);
            return (is_resolved && self.is_lost(seen.now)).then_some(AlertTransition::Resolved);
        }
        self.raised_at.retain(|at| is_within(*at, seen.now, seen.cool_down));
        let is_seen_by_others = self.seen.values().any(|at| is_within(*at, seen.now, seen.window));
        self.away = is_seen_by_others || self.raised_at.len() >= FLAPPING_LIMIT;
        if self.away {
            return None;
        }
        (self.open, self.level) = (false, None);
        self.seen.clear();
        Some(AlertTransition::Resolved)
    }

    fn note(&mut self, seen: &Observation<'_>) {
        let is_new = self.seen.get(seen.node_id).is_none_or(|at| !is_within(*at, seen.now, seen.window / 4));
        if is_new {
            self.seen.insert(seen.node_id.to_owned(), seen.now);
        }
        while self.seen.len() > MAX_WORKERS {
            let oldest = self.seen.iter().min_by_key(|(_, at)| **at).map(|(node_id, _)| node_id.clone());
            oldest.and_then(|node_id| self.seen.remove(&node_id));
        }
    }

    fn is_lost(&self, now: i64) -> bool {
        self.unsaid.is_some_and(|(_, at)| !is_within(at, now, UNSAID_MS))
    }
}

/// Whether a time of some worker lies less than a span before now.
fn is_within(at: i64, now: i64, span: i64) -> bool {
    (-CLOCK_SKEW_MS..span).contains(&now.saturating_sub(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOL_DOWN: i64 = 600_000;
    const WARNING: Option<Level> = Some(Level::Warning);
    const ERROR: Option<Level> = Some(Level::Error);
    const RAISED: Option<AlertTransition> = Some(AlertTransition::Raised);
    const RESOLVED: Option<AlertTransition> = Some(AlertTransition::Resolved);

    fn seen(node_id: &str, seconds: i64, level: Option<Level>) -> Observation<'_> {
        let now = 1_700_000_000_000 + 1_000 * seconds;
        Observation { node_id, level, now, cool_down: COOL_DOWN, window: 120_000, repeats: true }
    }

    /// What is reported if each message is published.
    fn messages(course: &[(i64, Option<Level>)]) -> Vec<Option<AlertTransition>> {
        let mut state = AlertState::default();
        let judge = |(seconds, level): &(i64, Option<Level>)| {
            let transition = state.judge(&seen("n1", *seconds, *level));
            transition.into_iter().for_each(|transition| state.said(transition));
            transition
        };
        course.iter().map(judge).collect()
    }

    #[test]
    fn alert_is_raised_escalated_repeated_and_resolved() {
        let course =
            [(0, None), (1, WARNING), (2, WARNING), (3, ERROR), (4, WARNING), (603, WARNING), (604, None), (605, None)];
        let words = [
            None,
            RAISED,
            None,
            Some(AlertTransition::Escalated),
            None,
            Some(AlertTransition::Lasting),
            RESOLVED,
            None,
        ];
        assert_eq!(messages(&course), words);
    }

    #[test]
    fn flapping_alerts_are_limited() {
        let twice = [(0, ERROR), (1, None), (2, ERROR), (3, None), (4, None)];
        assert_eq!(messages(&twice), [RAISED, RESOLVED, RAISED, RESOLVED, None], "the last report is true");
        let often = [(4, ERROR), (5, None), (6, ERROR), (7, None), (400, None), (606, None), (607, None), (608, ERROR)];
        let words = messages(&[&twice[..], &often[..]].concat());
        assert_eq!(words[5..], [RAISED, None, None, None, None, RESOLVED, None, RAISED]);
    }

    #[test]
    fn the_last_worker_that_sees_the_cause_ends_it() {
        let mut state = AlertState::default();
        assert_eq!(state.judge(&seen("n1", 0, ERROR)), RAISED);
        state.said(AlertTransition::Raised);
        assert_eq!(state.judge(&seen("n2", 1, ERROR)), None, "it is said already");
        assert_eq!((state.judge(&seen("n1", 60, None)), state.is_away()), (None, true), "n2 has seen it a minute ago");
        assert_eq!((state.judge(&seen("n2", 61, ERROR)), state.is_away()), (None, false));
        assert_eq!(state.judge(&seen("n2", 62, None)), RESOLVED);
        state.said(AlertTransition::Resolved);
        assert_eq!(state.judge(&seen("n1", 63, ERROR)), RAISED);
        state.said(AlertTransition::Raised);
        assert_eq!(state.judge(&seen("n2", 182, None)), None);
        assert_eq!(state.judge(&seen("n2", 183, None)), RESOLVED, "n1 is gone");
    }

    #[test]
    fn a_message_that_was_lost_is_said_again() {
        let mut state = AlertState::default();
        assert_eq!(state.judge(&seen("n1", 0, ERROR)), RAISED);
        assert_eq!(state.judge(&seen("n2", 59, ERROR)), None, "n1 may still publish it");
        assert_eq!(state.judge(&seen("n2", 60, ERROR)), RAISED);
        state.said(AlertTransition::Raised);
        assert_eq!(state.judge(&seen("n2", 300, None)), RESOLVED);
        assert_eq!(state.judge(&seen("n1", 330, None)), None);
        assert_eq!(state.judge(&seen("n1", 360, None)), RESOLVED);
        state.said(AlertTransition::Resolved);
        assert_eq!(state.judge(&seen("n1", 900, None)), None);
    }

    #[test]
    fn a_state_stays_small_and_survives_its_text() {
        let mut state = AlertState::default();
        for n in 0..1_000 {
            let node_id = format!("node{n}");
            state.judge(&seen(&node_id, n, if n % 3 == 2 { None } else { ERROR }));
        }
        let text = serde_json::to_string(&state).unwrap();
        assert!(text.len() < 1_000, "{text}");
        assert_eq!(serde_json::from_str::<AlertState>(&text).unwrap(), state);
    }

    #[test]
    fn a_clock_that_is_far_ahead_silences_nothing() {
        let mut state = AlertState::default();
        let year = 365 * 86_400;
        assert_eq!(state.judge(&seen("n1", year, ERROR)), RAISED);
        state.said(AlertTransition::Raised);
        assert_eq!(state.judge(&seen("n2", 0, ERROR)), Some(AlertTransition::Lasting));
        state.said(AlertTransition::Lasting);
        assert_eq!(state.judge(&seen("n2", 1, None)), RESOLVED);
    }
}
