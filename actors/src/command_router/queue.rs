// Upstream: actor
// Downstream: domain, open_command, ports, work
// Role: Tasks that wait for a fetch slot, by kind of data; a command's tasks are created when they are due.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::command_router::open_command::{CommandId, QueuedTask};
use crate::command_router::work::Work;
use crate::domain::{OpenRange, Subject};
use crate::ports::DataKind;

/// The tasks of one command of one kind: each subject with each range. They are counted, not kept: a command for many
/// codes and years has millions of them.
#[derive(Debug)]
struct TaskCursor {
    command: CommandId,
    work: Work,
    subjects: Arc<[Subject]>,
    ranges: Vec<OpenRange>,
    next: usize,
}

impl TaskCursor {
    fn num_left(&self) -> usize {
        (self.subjects.len() * self.ranges.len()).saturating_sub(self.next)
    }

    fn next(&mut self) -> Option<QueuedTask> {
        let subject = *self.subjects.get(self.next.checked_div(self.ranges.len())?)?;
        let range = *self.ranges.get(self.next % self.ranges.len())?;
        self.next += 1;
        Some(QueuedTask::new(self.command, self.work, subject, range))
    }
}

/// The tasks of one kind of data.
#[derive(Debug, Default)]
struct Lane {
    /// Tasks that run again, before all others.
    again: VecDeque<QueuedTask>,
    cursors: VecDeque<TaskCursor>,
    /// Tasks that follow an ended one, after all others.
    follow_ups: VecDeque<QueuedTask>,
    /// Fetch slots that tasks of this kind hold.
    num_fetching: usize,
}

impl Lane {
    fn num_waiting(&self) -> usize {
        self.again.len() + self.follow_ups.len() + self.cursors.iter().map(TaskCursor::num_left).sum::<usize>()
    }

    fn next(&mut self) -> Option<QueuedTask> {
        if let Some(task) = self.again.pop_front() {
            return Some(task);
        }
        while let Some(cursor) = self.cursors.front_mut() {
            match cursor.next() {
                Some(task) => return Some(task),
                None => drop(self.cursors.pop_front()),
            }
        }
        self.follow_ups.pop_front()
    }
}

/// Waiting tasks. Each kind of data has fetch slots of its own: a slow or limited source of one kind holds up no other.
#[derive(Debug, Default)]
pub struct TaskQueue {
    lanes: BTreeMap<DataKind, Lane>,
    num_waiting: usize,
}

impl TaskQueue {
    /// Number of waiting tasks.
    pub fn num_waiting(&self) -> usize {
        self.num_waiting
    }

    /// Queues the tasks of a command, one for each subject and range, and returns their number.
    pub fn push(&mut self, command: CommandId, work: Work, subjects: Arc<[Subject]>, ranges: Vec<OpenRange>) -> usize {
        let cursor = TaskCursor { command, work, subjects, ranges, next: 0 };
        let num_tasks = cursor.num_left();
        self.num_waiting += num_tasks;
        self.lane(work).cursors.push_back(cursor);
        num_tasks
    }

    /// Queues an interrupted task before all others of its kind.
    pub fn push_again(&mut self, task: QueuedTask) {
        self.num_waiting += 1;
        self.lane(task.work).again.push_back(task);
    }

    /// Queues a task that follows an ended one.
    pub fn push_follow_up(&mut self, task: QueuedTask) {
        self.num_waiting += 1;
        self.lane(task.work).follow_ups.push_back(task);
    }

    /// The next task of a kind that holds fewer than `max_in_flight` slots; it holds one now. Kinds take turns.
    pub fn start_next(&mut self, max_in_flight: usize) -> Option<QueuedTask> {
        // The kind with the fewest slots first, so that each gets its turn.
        let mut kinds: Vec<(usize, DataKind)> =
            self.lanes.iter().map(|(kind, lane)| (lane.num_fetching, *kind)).collect();
        kinds.sort_unstable();
        for (num_fetching, kind) in kinds {
            let Some(lane) = self.lanes.get_mut(&kind).filter(|_| num_fetching < max_in_flight) else { continue };
            if let Some(task) = lane.next() {
                lane.num_fetching += 1;
                self.num_waiting -= 1;
                return Some(task);
            }
        }
        None
    }

    /// A started task no longer holds its slot.
    pub fn free_slot(&mut self, work: Work) {
        let lane = self.lane(work);
        lane.num_fetching = lane.num_fetching.saturating_sub(1);
    }

    /// Whether tasks of a command wait.
    pub fn has(&self, command: CommandId) -> bool {
        self.lanes.values().any(|lane| {
            lane.again.iter().chain(&lane.follow_ups).any(|task| task.command == command)
                || lane.cursors.iter().any(|cursor| cursor.command == command && cursor.num_left() > 0)
        })
    }

    /// Drops the waiting tasks of a command.
    pub fn drop_command(&mut self, command: CommandId) {
        for lane in self.lanes.values_mut() {
            lane.again.retain(|task| task.command != command);
            lane.follow_ups.retain(|task| task.command != command);
            lane.cursors.retain(|cursor| cursor.command != command);
        }
        self.num_waiting = self.lanes.values().map(Lane::num_waiting).sum();
    }

    fn lane(&mut self, work: Work) -> &mut Lane {
        self.lanes.entry(work.data_kind()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::reference_list::ListKind;
    use crate::domain::{Code, SyncMode};

    const FACTORS: Work = Work::Factors(SyncMode::Incremental);
    const LIST: Work = Work::List(ListKind::Stocks);

    fn subjects(count: u32) -> Arc<[Subject]> {
        let code = |number: u32| -> Code { format!("{number:06}.SZ").parse().unwrap() };
        (1..=count).map(|number| Subject::Code(code(number))).collect()
    }

    fn ranges(count: usize) -> Vec<OpenRange> {
        vec![OpenRange::default(); count]
    }

    #[test]
    fn millions_of_tasks_are_counted_and_not_kept() {
        let mut queue = TaskQueue::default();
        for command in 0..600 {
            assert_eq!(queue.push(CommandId(command), FACTORS, subjects(50), ranges(210)), 10_500);
        }
        assert_eq!(queue.num_waiting(), 6_300_000);
        assert_eq!(queue.start_next(1).map(|task| task.command), Some(CommandId(0)));
        assert_eq!(queue.num_waiting(), 6_299_999);
    }

    #[test]
    fn each_subject_comes_with_each_range() {
        let mut queue = TaskQueue::default();
        queue.push(CommandId(1), FACTORS, subjects(2), ranges(3));
        let started: Vec<String> =
            std::iter::from_fn(|| queue.start_next(100)).map(|task| task.subject.to_string()).collect();
        assert_eq!(started, [vec!["000001.SZ"; 3], vec!["000002.SZ"; 3]].concat());
        assert_eq!(queue.num_waiting(), 0);
    }

    #[test]
    fn a_kind_without_free_slots_holds_up_no_other() {
        let mut queue = TaskQueue::default();
        queue.push(CommandId(1), FACTORS, subjects(5), ranges(1));
        queue.push(CommandId(2), LIST, subjects(1), ranges(1));
        let started: Vec<CommandId> = std::iter::from_fn(|| queue.start_next(2)).map(|task| task.command).collect();
        assert_eq!(started, [CommandId(1), CommandId(2), CommandId(1)]);
        queue.free_slot(FACTORS);
        assert_eq!(queue.start_next(2).map(|task| task.command), Some(CommandId(1)));
    }

    #[test]
    fn interrupted_tasks_run_first_and_follow_ups_last() {
        let mut queue = TaskQueue::default();
        queue.push(CommandId(1), FACTORS, subjects(1), ranges(1));
        let task = |command| QueuedTask::new(CommandId(command), FACTORS, Subject::Calendar, OpenRange::default());
        queue.push_follow_up(task(3));
        queue.push_again(task(2));
        let started: Vec<CommandId> = std::iter::from_fn(|| queue.start_next(9)).map(|task| task.command).collect();
        assert_eq!(started, [CommandId(2), CommandId(1), CommandId(3)]);
    }

    #[test]
    fn a_dropped_command_leaves_nothing() {
        let mut queue = TaskQueue::default();
        queue.push(CommandId(1), FACTORS, subjects(3), ranges(2));
        queue.push(CommandId(2), FACTORS, subjects(1), ranges(1));
        queue.drop_command(CommandId(1));
        assert!(!queue.has(CommandId(1)) && queue.has(CommandId(2)));
        assert_eq!(queue.num_waiting(), 1);
    }
}
