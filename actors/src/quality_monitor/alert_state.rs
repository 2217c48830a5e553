// Upstream: failure_alerts, threshold_alerts
// Downstream: domain
// Role: What is told of a trouble that lasts: its beginning, its worsening, now and then that it lasts, its end.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::domain::Level;

/// What an alert says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertTransition {
    /// It began.
    Raised,
    /// It is worse than what was told.
    Escalated,
    /// It lasts.
    Lasting,
    /// It is over.
    Resolved,
}

impl AlertTransition {
    /// The word in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Escalated => "escalated",
            Self::Lasting => "lasting",
            Self::Resolved => "resolved",
        }
    }
}

/// Comings and goings that are told within a cool-down. After that many a trouble counts as lasting, until the first of them
/// are that old.
const MOST_COMINGS: usize = 3;

/// One kind of trouble. A trouble that is there was told of; one that came and went often may be over before that is told.
#[derive(Debug, Default)]
pub struct AlertState {
    open: bool,
    /// The last level that was told, and when.
    told: Option<(Level, Instant)>,
    /// When it was raised, within the cool-down.
    comings: VecDeque<Instant>,
    /// Whether it is away, and that is not told yet.
    away: bool,
}

impl AlertState {
    /// What to tell now that the trouble is of this level, or none.
    pub fn judge(&mut self, level: Option<Level>, now: Instant, cool_down: Duration) -> Option<AlertTransition> {
        let Some(level) = level else { return self.went(now, cool_down) };
        self.away = false;
        let is_quiet = self.told.is_some_and(|(_, at)| now.saturating_duration_since(at) < cool_down);
        let is_worse = self.told.is_some_and(|(told, _)| level > told);
        let word = match self.open {
            false => AlertTransition::Raised,
            true if is_worse => AlertTransition::Escalated,
            true if is_quiet => return None,
            true => AlertTransition::Lasting,
        };
        if word == AlertTransition::Raised {
            self.comings.push_back(now);
        }
        self.open = true;
        self.told = Some((level, now));
        Some(word)
    }

    /// What to tell if it is still away, of a trouble that came and went too often to be told of each time.
    pub fn settle(&mut self, now: Instant, cool_down: Duration) -> Option<AlertTransition> {
        if self.away { self.went(now, cool_down) } else { None }
    }

    fn went(&mut self, now: Instant, cool_down: Duration) -> Option<AlertTransition> {
        if !self.open {
            return None;
        }
        self.comings.retain(|at| now.saturating_duration_since(*at) < cool_down);
        self.away = self.comings.len() >= MOST_COMINGS;
        if self.away {
            return None;
        }
        (self.open, self.told) = (false, None);
        Some(AlertTransition::Resolved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOL_DOWN: Duration = Duration::from_secs(60);

    fn told(course: &[(u64, Option<Level>)]) -> Vec<Option<AlertTransition>> {
        let begin = Instant::now();
        let mut state = AlertState::default();
        let judge = |(seconds, level): &(u64, Option<Level>)| {
            state.judge(*level, begin + Duration::from_secs(*seconds), COOL_DOWN)
        };
        course.iter().map(judge).collect()
    }

    #[test]
    fn a_trouble_is_told_once_when_it_worsens_when_it_lasts_and_when_it_is_over() {
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
        assert_eq!(told(&course), words);
    }

    #[test]
    fn a_trouble_that_comes_back_is_told_again_and_one_that_comes_and_goes_is_no_flood() {
        let error = Some(Level::Error);
        let (raised, resolved) = (Some(AlertTransition::Raised), Some(AlertTransition::Resolved));
        let twice = [(0, error), (1, None), (2, error), (3, None), (4, None)];
        assert_eq!(told(&twice), [raised, resolved, raised, resolved, None], "the last word is true");
        let often = [(4, error), (5, None), (6, error), (7, None), (40, None), (66, None), (67, None), (68, error)];
        let words = told(&[&twice[..], &often[..]].concat());
        assert_eq!(words[5..], [raised, None, None, None, None, resolved, None, raised]);
    }
}
