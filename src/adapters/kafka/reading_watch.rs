// Upstream: consumer_tests, membership_watch
// Downstream: clients, feed_shared, intake, log_probe
// Role: Looks at partitions that do not move: passes ends without records, reports what cannot be read or was deleted.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::adapters::kafka::clients::KafkaClients;
use crate::adapters::kafka::feed_shared::{FeedShared, lock};
use crate::adapters::kafka::intake::{Gap, PartitionKey, Waiting};
use crate::adapters::kafka::log_probe::{Following, LogProbe};

/// Time for one round of looks. What is left is looked at in the next round.
const ROUND: Duration = Duration::from_secs(5);

/// The least time for the answer about one partition.
const MIN_ANSWER: Duration = Duration::from_secs(1);

/// Maximum number of partitions named in a fault.
const MAX_NAMED: usize = 3;

/// Looks at partitions that hold more than was delivered and do not move. It runs beside the watch over the membership.
pub struct ReadingWatch {
    clients: Arc<KafkaClients>,
    client_id: String,
    shared: Arc<FeedShared>,
    /// The partitions that were behind at the last look: one that is behind once is just being read.
    behind: HashSet<Waiting>,
    /// What cannot be read, by partition.
    unreadable: BTreeMap<PartitionKey, String>,
    /// Since when the broker has not answered for a partition, and why.
    unanswered: BTreeMap<PartitionKey, (Instant, String)>,
    /// Gaps that the broker was not asked about yet.
    gaps: Vec<Gap>,
}

impl ReadingWatch {
    /// A watch that has seen nothing yet.
    pub fn new(clients: Arc<KafkaClients>, node_id: &str, shared: Arc<FeedShared>) -> Self {
        let client_id = format!("{node_id}.probe");
        Self {
            clients,
            client_id,
            shared,
            behind: HashSet::new(),
            unreadable: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            gaps: Vec::new(),
        }
    }

    /// Looks once. Returns why partitions cannot be read, if so. While the whole broker does not answer (`is_answering`
    /// is false), which is reported as such, nothing is known of a partition.
    pub fn look(&mut self, is_answering: bool) -> Option<String> {
        // A gap is kept for the next look while the broker does not answer. It has an end, because gaps come with
        // records.
        self.gaps.extend(lock(&self.shared.intake).take_gaps());
        let unmoved = self.unmoved();
        self.forget_moved();
        if !is_answering {
            self.unanswered.clear();
        } else if !unmoved.is_empty() || !self.gaps.is_empty() {
            match LogProbe::new(&self.clients, &self.client_id) {
                Ok(probe) => self.ask(&probe, &unmoved),
                Err(error) => tracing::warn!(%error, "cannot look at partitions that do not move"),
            }
        }
        let faults: Vec<String> = self.unreadable.values().cloned().chain(self.long_unanswered()).collect();
        if faults.is_empty() {
            return None;
        }
        let (named, others) = faults.split_at(faults.len().min(MAX_NAMED));
        let more = if others.is_empty() { String::new() } else { format!("; and {} more partitions", others.len()) };
        Some(format!("{}{more}", named.join("; ")))
    }

    /// The partitions without an answer for a session: in that time a leader is elected.
    fn long_unanswered(&self) -> impl Iterator<Item = String> {
        let session = Duration::from_millis(self.clients.section().session_timeout_ms);
        let long = self.unanswered.iter().filter(move |(_, (since, _))| since.elapsed() >= session);
        long.map(|((topic, partition), (since, reason))| {
            format!("{topic}[{partition}] cannot be read: {reason} (for {} s)", since.elapsed().as_secs())
        })
    }

    /// The partitions that have been behind for two looks, without a record in between. After a failed poll all count.
    fn unmoved(&mut self) -> Vec<Waiting> {
        let may_read = !self.shared.is_paused.load(Ordering::Acquire);
        let has_failed = lock(&self.shared.poll_error).is_some();
        let behind = match (may_read, has_failed) {
            (false, _) => Vec::new(),
            (true, false) => self.shared.behind(),
            (true, true) => lock(&self.shared.intake).waiting(),
        };
        let unmoved = behind.iter().filter(|waiting| self.behind.contains(waiting)).cloned().collect();
        self.behind = behind.into_iter().collect();
        unmoved
    }

    /// Partitions that have moved on can be read, and those that are gone are of no concern.
    fn forget_moved(&mut self) {
        let behind: HashSet<&PartitionKey> = self.behind.iter().map(|waiting| &waiting.key).collect();
        let is_paused = self.shared.is_paused.load(Ordering::Acquire);
        self.unreadable.retain(|key, _| is_paused || behind.contains(key));
        self.unanswered.retain(|key, _| behind.contains(key));
    }

    fn ask(&mut self, probe: &LogProbe, unmoved: &[Waiting]) {
        let end = Instant::now() + ROUND;
        let number = u32::try_from(unmoved.len() + self.gaps.len()).unwrap_or(u32::MAX).max(1);
        // One that is not answered must not take the time of the others.
        let deadline = || end.min(Instant::now() + (ROUND / number).max(MIN_ANSWER));
        let shared = &self.shared;
        self.gaps.retain(|gap| match probe.bounds(&gap.key, deadline()) {
            Ok((first, _)) => {
                report_deleted(shared, gap, first);
                false
            }
            Err(error) => {
                tracing::debug!(%error, ?gap, "cannot ask why offsets were passed over");
                true
            }
        });
        let mut num_answered = 0;
        for waiting in unmoved.iter().take_while(|_| Instant::now() < end) {
            match probe.following(&waiting.key, waiting.next, deadline()) {
                Ok(following) => {
                    num_answered += 1;
                    self.take_answer(waiting, following);
                }
                Err(error) => {
                    let (_, reason) =
                        self.unanswered.entry(waiting.key.clone()).or_insert((Instant::now(), String::new()));
                    *reason = error.to_string();
                }
            }
        }
        if self.unreadable.is_empty() && num_answered == unmoved.len() {
            *lock(&self.shared.poll_error) = None;
        }
    }

    fn take_answer(&mut self, waiting: &Waiting, following: Following) {
        self.unanswered.remove(&waiting.key);
        if let Following::Unreadable(reason) = following {
            self.unreadable.insert(waiting.key.clone(), unreadable_text(waiting, &reason));
            return;
        }
        self.unreadable.remove(&waiting.key);
        if let Following::Nothing { first, end } = following {
            pass_tail(&self.shared, waiting, first, end);
        }
    }
}

/// Passes over an end without records, and reports the records that retention deleted from it before they were read.
pub fn pass_tail(shared: &FeedShared, waiting: &Waiting, first: i64, end: i64) {
    let (generation, next) = (waiting.generation, waiting.next);
    if lock(&shared.intake).pass_tail(waiting, end) {
        tracing::debug!(topic = %waiting.key.0, partition = waiting.key.1, generation, next, end, "no records up to the end");
        // A position that is not known begins at 0, and nothing is said about what was deleted before.
        if next > 0 {
            report_deleted(shared, &Gap { key: waiting.key.clone(), from: next, to: end }, first);
        }
    }
}

/// Reports a gap that retention made: `first` is the first record that the partition holds.
fn report_deleted(shared: &FeedShared, Gap { key: (topic, partition), from, to }: &Gap, first: i64) {
    let end = first.min(*to);
    if *from < end {
        shared.report_break(format!(
            "{topic}[{partition}]: the broker deleted the records {from} to {} before they were read; see the topic's \
             retention",
            end - 1
        ));
    }
}

fn unreadable_text(Waiting { key: (topic, partition), next, .. }: &Waiting, reason: &str) -> String {
    format!(
        "{topic}[{partition}] cannot be read from offset {next} on: {reason}. Its commands wait. What stays unreadable can \
         be deleted with kafka-delete-records.sh, a compressed batch as a whole"
    )
}
