// Upstream: budget
// Downstream: none
// Role: What a group leaves to one worker while their common counts of requests cannot be asked. Pure.

//! While the counts answer, they decide alone, and a worker may use the whole limit. When they are lost, the workers
//! cannot see each other, so the sum of what each may use must stay within the limit at every moment:
//!
//! 1. For a minute each goes on with what it has in the window: it sends a request for each of its own that leaves the
//!    window, and its part of what was free. The sum of what the workers have in the window is at most the limit.
//! 2. In the second minute those that have more than an equal share come down to it.
//! 3. After it each has an equal share: nobody has more now.
//!
//! When the counts answer again, they do not know the requests of the outage. For a minute the limit of the outage
//! remains beside them.

use std::time::Duration;

use tokio::time::Instant;

/// The oldest answer from which the free part of the window is taken. Later the others may have used it. Answers come
/// every second; on a busy machine a few of them may be late.
const FRESH: Duration = Duration::from_secs(5);

/// What is known of the group.
#[derive(Debug, Default)]
pub struct GroupShare {
    /// The last answer: the requests in the window, the members, and its time.
    last: Option<(u32, u32, Instant)>,
    outage: Option<Outage>,
}

#[derive(Debug, Clone, Copy)]
struct Outage {
    since: Instant,
    /// The end, if the counts answer again.
    until: Option<Instant>,
    /// What this worker may have in the window at first.
    base: u32,
    num_members: u32,
}

impl GroupShare {
    /// The counts answered.
    pub fn answered(&mut self, num_sent: u32, num_members: u32, now: Instant) {
        self.last = Some((num_sent, num_members, now));
        if let Some(outage) = &mut self.outage {
            outage.until.get_or_insert(now);
        }
    }

    /// The counts did not answer a question that was asked at `asked`. `num_own` requests of this worker are in the
    /// window. `num_known` members use another interface of the account, if that is known. Returns whether this begins
    /// an outage.
    pub fn failed(&mut self, num_own: u32, per_minute: u32, asked: Instant, num_known: Option<u32>) -> bool {
        if let Some(outage) = &mut self.outage {
            // A second outage within a minute of the first: nobody knows what was sent between them.
            outage.until = None;
            return false;
        }
        let (base, num_members) = match (self.last, num_known) {
            (Some((num_sent, num_members, at)), _) => {
                let is_fresh = asked.duration_since(at) <= FRESH;
                let free = if is_fresh { per_minute.saturating_sub(num_sent) / num_members.max(1) } else { 0 };
                (num_own.saturating_add(free), num_members)
            }
            // The first request to this interface: what the others sent is not known, how many they are is.
            (None, Some(num_members)) => ((per_minute / num_members.max(1)).max(1), num_members),
            // Nothing is known of a group that never answered. This worker then has the whole limit.
            (None, None) => return false,
        };
        self.outage = Some(Outage { since: asked, until: None, base, num_members });
        true
    }

    /// The members that use the interface, by the last answer.
    pub fn num_members(&self) -> Option<u32> {
        self.last.map(|(_, num_members, _)| num_members)
    }

    /// The number of requests that this worker may have in the window.
    pub fn limit(&mut self, per_minute: u32, now: Instant, minute: Duration) -> u32 {
        let Some(outage) = self.outage else { return per_minute };
        let Outage { since, until, base, num_members } = outage;
        if until.is_some_and(|until| now.duration_since(until) >= minute) {
            self.outage = None;
            return per_minute;
        }
        let share = (per_minute / num_members.max(1)).max(1);
        let elapsed = until.unwrap_or(now).duration_since(since);
        match () {
            () if elapsed < minute => base,
            () if elapsed < 2 * minute => base.min(share),
            () => share,
        }
        .min(per_minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A share after an answer and a loss of the counts right after it.
    fn lost(num_own: u32, num_sent: u32, num_members: u32) -> (GroupShare, Instant) {
        let (mut share, now) = (GroupShare::default(), Instant::now());
        share.answered(num_sent, num_members, now);
        assert!(share.failed(num_own, 500, now, None));
        assert!(!share.failed(num_own, 500, now, None), "one outage");
        (share, now)
    }

    #[test]
    fn shares_of_an_outage_never_exceed_the_limit() {
        // What each worker has in the window when the counts are lost.
        for own in [[400, 50, 0, 0], [125, 125, 125, 125], [500, 0, 0, 0], [10, 20, 30, 40], [0, 0, 0, 0]] {
            let sent = own.iter().sum();
            let mut workers = own.map(|num_own| lost(num_own, sent, 4));
            for second in 0..240 {
                let at = |now: Instant| now + Duration::from_secs(second);
                let limits: Vec<u32> =
                    workers.iter_mut().map(|(share, now)| share.limit(500, at(*now), MINUTE)).collect();
                let sum: u32 = limits.iter().sum();
                assert!(sum <= 500, "{own:?} after {second} s: {limits:?}");
                // After two minutes work goes on everywhere.
                assert!(second < 120 || limits == [125; 4], "{own:?} after {second} s: {limits:?}");
            }
        }
    }

    #[test]
    fn nobody_rises_to_its_share_before_others_came_down() {
        let (mut rich, now) = lost(400, 450, 2);
        let (mut poor, _) = lost(50, 450, 2);
        let at = |second| now + Duration::from_secs(second);
        let mut limits = |second| (rich.limit(500, at(second), MINUTE), poor.limit(500, at(second), MINUTE));
        assert_eq!(limits(30), (425, 75), "each has half of what was free");
        assert_eq!(limits(90), (250, 75));
        assert_eq!(limits(121), (250, 250));
    }

    #[test]
    fn an_old_answer_leaves_nothing_that_was_free() {
        let (mut share, now) = (GroupShare::default(), Instant::now());
        share.answered(100, 2, now);
        let later = now + Duration::from_secs(6);
        assert!(share.failed(30, 500, later, None));
        assert_eq!(share.limit(500, later, MINUTE), 30);
    }

    #[test]
    fn limit_of_an_outage_remains_for_a_minute_after_it() {
        let (mut share, now) = lost(10, 100, 4);
        let at = |second| now + Duration::from_secs(second);
        assert_eq!(share.limit(500, at(30), MINUTE), 110);
        share.answered(100, 4, at(40));
        share.answered(300, 4, at(50));
        assert_eq!(share.limit(500, at(99), MINUTE), 110);
        assert_eq!(share.limit(500, at(100), MINUTE), 500, "all requests are counted again");
        assert!(share.failed(10, 500, at(110), None), "a new outage");
    }

    #[test]
    fn a_new_interface_has_the_share_of_known_members() {
        let (mut share, now) = (GroupShare::default(), Instant::now());
        assert!(share.failed(0, 500, now, Some(4)));
        let limits = [0, 90, 130].map(|second| share.limit(500, now + Duration::from_secs(second), MINUTE));
        assert_eq!(limits, [125; 3]);
    }

    #[test]
    fn a_group_that_never_answered_limits_nothing() {
        let mut share = GroupShare::default();
        assert!(!share.failed(10, 500, Instant::now(), None));
        assert_eq!(share.limit(500, Instant::now(), MINUTE), 500);
    }
}
