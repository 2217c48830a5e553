// Upstream: actors::failure_alerts, actors::quality_alerts
// Downstream: actors::domain::notification
// Role: What is told of a trouble that lasts: its beginning, its worsening, now and then that it lasts, its end.

use std::time::{Duration, Instant};

use crate::domain::Level;

/// What an alert says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It began.
    Raised,
    /// It is worse than what was told.
    Escalated,
    /// It lasts.
    Lasting,
    /// It is over.
    Resolved,
}

impl Word {
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

/// One kind of trouble.
#[derive(Debug, Default)]
pub struct AlertState {
    open: bool,
    /// The last level that was told, and when; kept after the end, so that a trouble that comes and goes is no flood.
    told: Option<(Level, Instant)>,
}

impl AlertState {
    /// What to tell now that the trouble is of this level, or none.
    pub fn judge(&mut self, level: Option<Level>, now: Instant, cool_down: Duration) -> Option<Word> {
        let Some(level) = level else {
            return std::mem::take(&mut self.open).then_some(Word::Resolved);
        };
        let is_quiet = self.told.is_some_and(|(_, at)| now.saturating_duration_since(at) < cool_down);
        let is_worse = self.told.is_some_and(|(told, _)| level > told);
        if is_quiet && !is_worse {
            return None;
        }
        let word = match self.open {
            false => Word::Raised,
            true if is_worse => Word::Escalated,
            true => Word::Lasting,
        };
        self.open = true;
        self.told = Some((level, now));
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOL_DOWN: Duration = Duration::from_secs(60);

    fn told(course: &[(u64, Option<Level>)]) -> Vec<Option<Word>> {
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
            Some(Word::Raised),
            None,
            Some(Word::Escalated),
            None,
            Some(Word::Lasting),
            Some(Word::Resolved),
            None,
        ];
        assert_eq!(told(&course), words);
    }

    #[test]
    fn a_trouble_that_comes_and_goes_is_no_flood() {
        let error = Some(Level::Error);
        let course = [(0, error), (1, None), (2, error), (3, None), (59, error), (60, error)];
        assert_eq!(told(&course), [Some(Word::Raised), Some(Word::Resolved), None, None, None, Some(Word::Raised)]);
    }
}
