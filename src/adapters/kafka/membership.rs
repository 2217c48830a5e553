// Upstream: membership_watch
// Downstream: intake
// Role: Judges from the broker's answers whether this worker has its share of the partitions, and what to do if not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use crate::adapters::kafka::intake::{PartitionKey, names_of};

/// What the broker reports about the group and its topics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupView {
    /// The state of the group, such as `Stable`; see Kafka's `GroupState`.
    pub state: String,
    /// The partitions of each member, by client id.
    pub members: BTreeMap<String, BTreeSet<PartitionKey>>,
    /// All partitions of the subscribed topics.
    pub partitions: BTreeSet<PartitionKey>,
    /// The subscribed topics that cannot be read, each with the reason.
    pub unavailable: BTreeMap<String, String>,
}

/// The place of this worker in its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The worker is a member, and each partition has a member that reads it. A member without a partition is in order
    /// when there are more members than partitions.
    Sound,
    /// The group distributes its partitions, or the broker does not describe it: nothing can be judged.
    Rebalancing,
    /// The broker did not answer; contains the reason.
    Unknown(String),
    /// The broker does not list this worker as a member.
    NotAMember,
    /// The broker assigned other partitions to this worker than the client has.
    Differs {
        /// The partitions on the broker.
        assigned: String,
        /// The partitions of the client.
        held: String,
    },
    /// These partitions are assigned to no member.
    Unassigned(String),
    /// A topic does not exist, or the broker refuses access to it or to the group; contains the reason. The client
    /// tries again by itself.
    Refused(String),
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sound => write!(f, "the worker has its share of the partitions"),
            Self::Rebalancing => write!(f, "the consumer group may be distributing its partitions"),
            Self::Unknown(reason) => write!(f, "Kafka does not answer: {reason}"),
            Self::NotAMember => write!(f, "the broker does not list this worker as a member of the consumer group"),
            Self::Differs { assigned, held } => {
                write!(f, "the broker assigned [{assigned}] to this worker, and its client has [{held}]")
            }
            Self::Refused(reason) => write!(f, "commands cannot be read: {reason}"),
            Self::Unassigned(partitions) => write!(f, "no member of the consumer group reads {partitions}"),
        }
    }
}

impl GroupView {
    /// The standing of the member `client_id`, whose client has the partitions `held`.
    pub fn standing(&self, client_id: &str, held: &BTreeSet<PartitionKey>) -> Standing {
        if let Some((topic, reason)) = self.unavailable.first_key_value() {
            return Standing::Refused(format!("topic {topic}: {reason}; create it, or see kafka.command_topics"));
        }
        // The other states pass when all members have answered, or have missed their deadline.
        if !matches!(self.state.as_str(), "Stable" | "Empty" | "Dead") {
            return Standing::Rebalancing;
        }
        let Some(assigned) = self.members.get(client_id) else { return Standing::NotAMember };
        if assigned != held {
            return Standing::Differs { assigned: names_of(assigned, MAX_NAMED), held: names_of(held, MAX_NAMED) };
        }
        let read: BTreeSet<&PartitionKey> = self.members.values().flatten().collect();
        let unassigned: Vec<&PartitionKey> = self.partitions.iter().filter(|key| !read.contains(key)).collect();
        if unassigned.is_empty() { Standing::Sound } else { Standing::Unassigned(names_of(unassigned, MAX_NAMED)) }
    }

    /// The place of a member among all, from 0: members act one after the other.
    pub fn place_of(&self, client_id: &str) -> usize {
        self.members.keys().take_while(|member| member.as_str() < client_id).count()
    }
}

/// Maximum number of partitions in a text.
const MAX_NAMED: usize = 8;

/// The partitions in a member's assignment, in the format of the consumer protocol: version (16 bits), then an array of
/// topics, each with a name and an array of partition numbers; numbers are big-endian. Source: Kafka's
/// `ConsumerProtocolAssignment.json`. `None` if the bytes end early.
pub fn partitions_of(assignment: &[u8]) -> Option<BTreeSet<PartitionKey>> {
    let mut rest = assignment.get(2..)?;
    let mut take = |number: usize| {
        let (taken, left) = rest.split_at_checked(number)?;
        rest = left;
        Some(taken)
    };
    let long = |bytes: &[u8]| bytes.try_into().ok().map(i32::from_be_bytes);
    let mut partitions = BTreeSet::new();
    for _ in 0..long(take(4)?)? {
        let length = take(2)?.try_into().ok().map(u16::from_be_bytes)?;
        let topic: std::sync::Arc<str> = std::str::from_utf8(take(length.into())?).ok()?.into();
        for _ in 0..long(take(4)?)? {
            partitions.insert((topic.clone(), long(take(4)?)?));
        }
    }
    Some(partitions)
}

/// What the consumer thread has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Unsubscribe and subscribe: the client leaves the group and joins it again.
    Rejoin,
    /// Replace the client.
    Rebuild,
}

/// Decides from the course of standings when a fault is reported and what is done about it.
///
/// A standing that is not sound is normal for a moment: answers and rebalances cross. It is a fault after a whole
/// session, in which the group removes members that are gone. Then the client joins again; after another session it is
/// replaced, and both once more in turns. The members of a group act one after the other, because one that joins
/// suffices.
#[derive(Debug)]
pub struct MembershipJudge {
    session: Duration,
    since: Option<Instant>,
    unanswered_since: Option<Instant>,
    num_remedies: u32,
}

/// The result of one judgement.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// The fault, if there is one.
    pub fault: Option<String>,
    /// Why the standing is unknown, if the broker has not answered for a session.
    pub unknown: Option<String>,
    /// What to do now.
    pub remedy: Option<Remedy>,
}

impl MembershipJudge {
    /// A judge for a group with this session timeout.
    pub fn new(session: Duration) -> Self {
        Self { session, since: None, unanswered_since: None, num_remedies: 0 }
    }

    /// Judges a standing. `place` is the place of this worker among the members.
    pub fn judge(&mut self, standing: &Standing, place: usize, now: Instant) -> Judgement {
        if let Standing::Unknown(_) = standing {
            let since = *self.unanswered_since.get_or_insert(now);
            let lasts = now.saturating_duration_since(since);
            // Nothing can be done, and nothing is known to be wrong.
            self.since = None;
            let unknown = (lasts >= self.session).then(|| format!("{standing} (for {} s)", lasts.as_secs()));
            return Judgement { unknown, ..Judgement::default() };
        }
        self.unanswered_since = None;
        if matches!(standing, Standing::Sound | Standing::Rebalancing) {
            (self.since, self.num_remedies) = (None, 0);
            return Judgement::default();
        }
        let lasts = now.saturating_duration_since(*self.since.get_or_insert(now));
        if lasts < self.session {
            return Judgement::default();
        }
        // Each remedy has a session to take effect; others of the group have had theirs before.
        let turn =
            self.session * (2 * self.num_remedies + 2) / 2 + self.session / 2 * u32::try_from(place).unwrap_or(0);
        let can_act = !matches!(standing, Standing::Refused(_));
        let remedy = (can_act && lasts >= turn).then(|| {
            self.num_remedies += 1;
            if self.num_remedies % 2 == 1 { Remedy::Rejoin } else { Remedy::Rebuild }
        });
        let fault = Some(format!("{standing} (for {} s)", lasts.as_secs()));
        Judgement { fault, unknown: None, remedy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(numbers: &[i32]) -> BTreeSet<PartitionKey> {
        numbers.iter().map(|number| ("t".into(), *number)).collect()
    }

    fn view(members: &[(&str, &[i32])]) -> GroupView {
        let members = members.iter().map(|(member, numbers)| ((*member).to_owned(), keys(numbers)));
        let state = "Stable".to_owned();
        GroupView { state, members: members.collect(), partitions: keys(&[0, 1]), unavailable: BTreeMap::new() }
    }

    #[test]
    fn a_member_without_a_part_is_sound_when_others_read_all() {
        let view = view(&[("a", &[0]), ("b", &[1]), ("c", &[])]);
        assert_eq!(view.standing("c", &keys(&[])), Standing::Sound);
        assert_eq!(view.standing("a", &keys(&[0])), Standing::Sound);
        assert_eq!((view.place_of("a"), view.place_of("c")), (0, 2));
    }

    #[test]
    fn lost_and_unread_partitions_are_found() {
        assert_eq!(view(&[("b", &[0, 1])]).standing("a", &keys(&[])), Standing::NotAMember);
        let empty = GroupView { state: "Empty".to_owned(), ..view(&[]) };
        assert_eq!(empty.standing("a", &keys(&[])), Standing::NotAMember);
        let half = view(&[("a", &[0])]);
        assert_eq!(half.standing("a", &keys(&[0])).to_string(), "no member of the consumer group reads t[1]");
        assert_eq!(
            half.standing("a", &keys(&[])).to_string(),
            "the broker assigned [t[0]] to this worker, and its client has []"
        );
        let moving = GroupView { state: "PreparingRebalance".to_owned(), ..view(&[]) };
        assert_eq!(moving.standing("a", &keys(&[0])), Standing::Rebalancing);
    }

    #[test]
    fn an_assignment_is_read_to_its_last_byte() {
        let bytes = [&[0, 3, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0][..], &[0xff; 4]].concat();
        assert_eq!(partitions_of(&bytes), Some(keys(&[0, 1])));
        for length in 0..21 {
            assert_eq!(partitions_of(&bytes[..length]), None, "{length}");
        }
    }

    #[test]
    fn a_fault_is_reported_after_a_session_and_treated_in_turns() {
        let (session, begin) = (Duration::from_secs(10), Instant::now());
        let mut judge = MembershipJudge::new(session);
        let mut at = |seconds, standing, place| judge.judge(&standing, place, begin + Duration::from_secs(seconds));
        assert_eq!(at(0, Standing::NotAMember, 0), Judgement::default());
        assert_eq!(at(9, Standing::NotAMember, 0), Judgement::default(), "it may be a rebalance");
        let first = at(10, Standing::NotAMember, 0);
        assert!(first.fault.is_some_and(|fault| fault.ends_with("(for 10 s)")));
        assert_eq!(first.remedy, Some(Remedy::Rejoin));
        assert_eq!(at(15, Standing::NotAMember, 0).remedy, None);
        assert_eq!(at(20, Standing::NotAMember, 0).remedy, Some(Remedy::Rebuild));
        assert_eq!(at(21, Standing::Sound, 0), Judgement::default());
        let unread = || Standing::Unassigned("t[1]".to_owned());
        assert_eq!(at(30, unread(), 1), Judgement::default());
        assert_eq!(at(40, unread(), 1).remedy, None, "the first member acts before");
        assert_eq!(at(45, unread(), 1).remedy, Some(Remedy::Rejoin));
    }

    #[test]
    fn a_missing_topic_is_a_fault_without_a_remedy() {
        let unavailable = [("t".to_owned(), "unknown".to_owned())].into();
        let standing = GroupView { unavailable, ..view(&[("a", &[])]) }.standing("a", &keys(&[]));
        let (session, begin) = (Duration::from_secs(10), Instant::now());
        let mut judge = MembershipJudge::new(session);
        assert_eq!(judge.judge(&standing, 0, begin), Judgement::default());
        let later = judge.judge(&standing, 0, begin + session * 9);
        assert!(later.fault.is_some_and(|fault| fault.contains("topic t: unknown")));
        assert_eq!(later.remedy, None);
    }

    #[test]
    fn silence_is_unknown_and_no_fault() {
        let begin = Instant::now();
        let mut judge = MembershipJudge::new(Duration::from_secs(10));
        let silent = Standing::Unknown("timed out".to_owned());
        assert_eq!(judge.judge(&silent, 0, begin), Judgement::default());
        let later = judge.judge(&silent, 0, begin + Duration::from_secs(12));
        assert_eq!((later.fault, later.remedy), (None, None));
        assert_eq!(later.unknown.as_deref(), Some("Kafka does not answer: timed out (for 12 s)"));
        let answered = judge.judge(&Standing::NotAMember, 0, begin + Duration::from_secs(13));
        assert_eq!(answered, Judgement::default(), "a session begins with the first answer");
    }
}
