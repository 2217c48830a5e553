// Upstream: command_router, supervisor
// Downstream: many
// Role: The actor that receives commands, splits them into tasks and resolves each command when its tasks are done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

use actix::prelude::*;
use tracing::{Instrument, Span};

use crate::command_router::ignored_params::IgnoredParams;
use crate::command_router::links::RouterLinks;
use crate::command_router::open_command::{CommandId, OpenCommand, OpenTask, QueuedTask, unread_span};
use crate::command_router::publisher::CommandPublisher;
use crate::command_router::queue::TaskQueue;
use crate::command_router::split::CommandSplitter;
use crate::command_router::work::Work;
use crate::domain::clock::utc_now;
use crate::domain::random_id::random_uuid;
use crate::domain::reference_list::ListKind;
use crate::domain::tick_backfill::{BackfillDays, next_part};
use crate::domain::{
    BarSnapshot, BarSync, Code, CodeSelection, CommandError, ControlCommand, FactorCommand, Instruction, RawCommand,
    Stage, Subject, SyncRecord, TaskCounts, TickCommand,
};
use crate::fetcher::{FetchBars, FetchFactors, FetchList, FetchTicks};
use crate::pipeline::{TaskBuffered, TaskGuard, TaskId, TaskListener, TaskOutcome, TaskSettled, TaskTrace};
use crate::ports::{CommandReceived, Delivery, PartitionsWithdrawn, SourceError, SourceErrorKind};
use crate::quality_monitor::{JobCommandBegun, JobPart, Recorded, TaskFailed, TaskFinished};
use crate::settings::{ActorSettings, ApplySettings, ms};
use crate::supervision::{CommandOutcome, MetricEvent, TaskEnd, Vitals};

/// Number of crashes after which a command or task is given up. It equals the number of fetch attempts.
const MAX_CRASHES: u32 = 3;

/// Receives commands from the feed and tracks each command until it is resolved.
pub struct CommandRouter {
    vitals: Vitals,
    settings: Arc<ActorSettings>,
    links: Arc<RouterLinks>,
    next_id: u64,
    commands: BTreeMap<CommandId, OpenCommand>,
    tasks: BTreeMap<TaskId, OpenTask>,
    queue: TaskQueue,
    ignored: IgnoredParams,
}

/// The listed codes were read for a command without codes.
#[derive(Message)]
#[rtype(result = "()")]
struct CodesListed {
    delivery: Delivery,
    command: ControlCommand,
    work: Work,
    /// The codes, or the reason why there are none.
    codes: Result<Vec<Code>, String>,
}

impl CommandRouter {
    /// Creates a router without commands.
    pub fn new(vitals: Vitals, settings: Arc<ActorSettings>, links: RouterLinks) -> Self {
        Self {
            vitals,
            settings,
            links: Arc::new(links),
            next_id: 0,
            commands: BTreeMap::new(),
            tasks: BTreeMap::new(),
            queue: TaskQueue::default(),
            ignored: IgnoredParams::default(),
        }
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Parses a command and begins it, or resolves it at once.
    fn take(&mut self, delivery: Delivery, ctx: &mut Context<Self>) {
        if delivery.num_crashes() >= MAX_CRASHES {
            let reason = format!("the worker crashed {} times while processing this command", delivery.num_crashes());
            let _logged_in = unread_span(delivery.command()).entered();
            return self.dead_letter(delivery, "crashed", reason, MAX_CRASHES);
        }
        match ControlCommand::parse(&delivery.command().payload) {
            Err(error) => {
                let _logged_in = unread_span(delivery.command()).entered();
                self.refuse(delivery, &error);
            }
            Ok(command) => self.begin_instruction(delivery, command, ctx),
        }
    }

    fn begin_instruction(&mut self, delivery: Delivery, command: ControlCommand, ctx: &mut Context<Self>) {
        self.ignored.note(&command, delivery.command());
        match command.instruction.clone() {
            Instruction::BarSnapshot(BarSnapshot { codes, bars }) => {
                self.take_codes(delivery, command, codes, Work::Bars(bars), ctx);
            }
            Instruction::AdjustFactor(FactorCommand { codes, mode }) => {
                self.take_codes(delivery, command, codes, Work::Factors(mode), ctx);
            }
            Instruction::Tick(TickCommand { codes, ticks }) => {
                self.take_codes(delivery, command, codes, Work::Ticks(ticks), ctx);
            }
            Instruction::StockInfo => self.begin_list(delivery, &command, ListKind::Stocks),
            Instruction::TradeDay => self.begin_list(delivery, &command, ListKind::TradeDays),
            Instruction::NotForTheGroup(name) => {
                tracing::debug!(command = %delivery.command(), name, "command ignored: not for this group");
                self.resolve(delivery, CommandOutcome::PassedOver);
            }
        }
    }

    fn refuse(&self, delivery: Delivery, error: &CommandError) {
        tracing::warn!(command = %delivery.command(), %error, "command rejected");
        self.refuse_as(delivery, "bad_command", error.to_string());
    }

    fn refuse_as(&self, delivery: Delivery, class: &'static str, reason: String) {
        let refusing = self.publisher().refuse(self.links.quality.clone(), delivery, class, reason);
        actix_rt::spawn(refusing.instrument(Span::current()));
    }

    fn take_codes(
        &mut self,
        delivery: Delivery,
        command: ControlCommand,
        codes: CodeSelection,
        work: Work,
        ctx: &mut Context<Self>,
    ) {
        match codes {
            CodeSelection::These(codes) => self.begin_codes(delivery, &command, work, &codes),
            CodeSelection::AllListed => self.list_codes(delivery, command, work, ctx),
        }
    }

    /// Reads the listed codes. Retries with back-off until the store answers, except where its table cannot be read.
    fn list_codes(&self, delivery: Delivery, command: ControlCommand, work: Work, ctx: &mut Context<Self>) {
        let (links, vitals, settings) = (self.links.clone(), self.vitals.clone(), self.settings.clone());
        let router = ctx.address();
        let span = command.span(delivery.command());
        let listing = async move {
            let mut delays = crate::store_retry::store_delays(&settings);
            let codes = loop {
                match links.reference.pin().listed_codes(work.listed_since()).await {
                    Ok(codes) => break Ok(codes),
                    Err(error) if error.class == crate::ports::StoreErrorClass::Schema => break Err(error.to_string()),
                    Err(error) => {
                        vitals.board().record_error(&error.to_string());
                        let delay = delays.next().unwrap_or(ms(settings.batch.max_retry_delay_ms));
                        tracing::warn!(%error, retry_in = ?delay, "list of codes not readable, will retry");
                        actix_rt::time::sleep(delay).await;
                    }
                }
                if !delivery.assignment().is_held() {
                    return; // another worker owns the command now
                }
            };
            router.do_send(CodesListed { delivery, command, work, codes });
        };
        actix_rt::spawn(listing.instrument(span));
    }

    /// Splits a command with many codes into parts for the consumer group.
    fn split(&self, delivery: Delivery, work: Work, codes: &[Code]) {
        let max_codes = self.settings.fetch.max_codes_per_command;
        let splitter = CommandSplitter { links: self.links.clone(), publisher: self.publisher(), max_codes };
        actix_rt::spawn(splitter.split(delivery, work, codes.into()).instrument(Span::current()));
    }

    fn publisher(&self) -> CommandPublisher {
        CommandPublisher {
            outbox: self.links.outbox.clone(),
            board: self.vitals.board().clone(),
            settings: self.settings.clone(),
        }
    }

    /// Begins a command for codes, or splits it if it has too many.
    fn begin_codes(&mut self, delivery: Delivery, command: &ControlCommand, work: Work, codes: &[Code]) {
        if codes.len() > self.settings.fetch.max_codes_per_command && !work.is_by_day() {
            let _logged_in = command.span(delivery.command()).entered();
            return self.split(delivery, work, codes);
        }
        let subjects: Vec<Subject> = codes.iter().copied().map(Subject::Code).collect();
        self.begin(delivery, command, work, &subjects);
    }

    fn begin_list(&mut self, delivery: Delivery, command: &ControlCommand, kind: ListKind) {
        self.begin(delivery, command, Work::List(kind), &[kind.subject()]);
    }

    /// Queues the tasks of a command: one per subject, or several if the range has too many days for one task.
    fn begin(&mut self, delivery: Delivery, command: &ControlCommand, work: Work, subjects: &[Subject]) {
        if !delivery.assignment().is_held() {
            return; // dropped: the next owner of the partition executes the command
        }
        let id = CommandId(self.fresh_id());
        let mut num_tasks = 0;
        let shared: Arc<[Subject]> = subjects.into();
        for work in work.with_dependencies() {
            num_tasks += self.queue.push(id, work, shared.clone(), work.parts());
        }
        let span = command.span(delivery.command());
        span.in_scope(|| tracing::debug!(tasks = num_tasks, "command begins"));
        let part = self.job_part(command, work, delivery.command());
        self.commands.insert(id, OpenCommand::new(delivery, command, span, part, num_tasks));
    }

    fn job_part(&self, command: &ControlCommand, work: Work, raw: &RawCommand) -> JobPart {
        let quality = &self.links.quality;
        let begun = JobCommandBegun::of(command, work.command(), raw);
        JobPart::begin(begun, &quality.clone().recipient(), quality.clone().recipient())
    }

    /// Starts queued tasks while fetch slots are free.
    fn dispatch(&mut self, ctx: &mut Context<Self>) {
        // Set before tasks start, because the Fetcher requests whole days if many tasks wait.
        self.vitals.board().counters.tasks_in(Stage::Waiting).set(self.queue.num_waiting() as u64);
        while let Some(task) = self.queue.start_next(self.settings.fetch.max_in_flight) {
            let Some(command) = self.commands.get(&task.command) else {
                self.queue.free_slot(task.work);
                continue;
            };
            let (assignment, span) = (command.delivery.assignment().clone(), command.span.clone());
            let (ids, record) = (command.ids.clone(), command.record.clone());
            let id = TaskId(self.fresh_id());
            let QueuedTask { work, subject, range, backfill, .. } = task;
            self.tasks.insert(id, OpenTask { task, holds_slot: true, begun_at: Instant::now() });
            let listener = TaskListener { settled: ctx.address().recipient(), buffered: ctx.address().recipient() };
            let mut guard = TaskGuard::new(id, subject, assignment, listener, self.vitals.board().clone(), span);
            (guard.trace.ids, guard.trace.record) = (ids, record);
            let fetcher = &self.links.fetcher;
            match (subject, work) {
                (Subject::Code(code), Work::Bars(BarSync { frequency, mode, by_day, .. })) => {
                    fetcher.do_send(FetchBars { guard, code, frequency, mode, range, by_day });
                }
                (Subject::Code(code), Work::Factors(mode)) => fetcher.do_send(FetchFactors { guard, code, mode }),
                (Subject::Code(code), Work::Ticks(tick)) => {
                    let backfill = tick.full.then_some(backfill);
                    fetcher.do_send(FetchTicks { guard, code, range, overwrite: tick.overwrite, backfill });
                }
                (_, Work::List(kind)) => fetcher.do_send(FetchList { guard, kind }),
                // No command creates such a task. It fails, because another run would not find a fetch either.
                (subject, work) => {
                    tracing::error!(%subject, work = work.command(), "task without a matching fetch");
                    let kind = SourceErrorKind::BadRequest(format!("no fetch for `{}` of {subject}", work.command()));
                    let request = subject.to_string();
                    guard.failed(SourceError { source_name: "(none)", request, kind }, 0);
                }
            }
        }
    }

    fn free_slot(&mut self, task: TaskId) {
        if let Some(task) = self.tasks.get_mut(&task)
            && task.holds_slot
        {
            task.holds_slot = false;
            self.queue.free_slot(task.task.work);
        }
    }

    /// Handles the end of a task run. A run from before a restart is unknown and is ignored.
    fn task_settled(&mut self, id: TaskId, outcome: TaskOutcome, trace: TaskTrace) {
        self.free_slot(id);
        let Some(OpenTask { task, begun_at, .. }) = self.tasks.remove(&id) else { return };
        let Some(command) = self.commands.get_mut(&task.command) else { return };
        let duration = begun_at.elapsed();
        let board = self.vitals.board();
        let ended = |outcome| board.observe(&MetricEvent::TaskEnded { outcome, duration });
        let (job, sources, subject) = (command.part.job(), trace.sources, task.subject);
        let mut is_cut_short = false;
        let (counts, error) = match outcome {
            TaskOutcome::Lost { suspect } => {
                ended(TaskEnd::Lost);
                return self.run_again(task, suspect);
            }
            TaskOutcome::Done(report) if report.counts.not_offered > 0 => {
                ended(TaskEnd::NotOffered);
                command.counts.add(&report.counts);
                self.links.quality.do_send(TaskFinished { subject, job, report, delay: None, sources });
                return self.close_task(task.command);
            }
            TaskOutcome::Done(report) => {
                let delay = self.settings.quality.delay_basis.delay(command.issued_at, trace.newest_stored, utc_now());
                ended(TaskEnd::Done { counts: &report.counts, delay });
                let stop_after = self.settings.fetch.tick_stop_after_empty_days;
                let earlier = report.backfill.and_then(|days| Some((next_part(task.range, days, stop_after)?, days)));
                let rest = trace.rest.map(|range| (range, BackfillDays::default()));
                let follow_ups: Vec<_> = earlier.into_iter().chain(rest).collect();
                // A chain of parts ends when its partition goes: the next owner begins it again, and finds what is
                // stored.
                is_cut_short = !follow_ups.is_empty() && !command.delivery.assignment().is_held();
                for (range, days) in follow_ups.into_iter().filter(|_| !is_cut_short) {
                    command.num_open += 1;
                    self.queue.push_follow_up(task.next(range, days));
                }
                command.counts.add(&report.counts);
                let counts = report.counts.clone();
                self.links.quality.do_send(TaskFinished { subject, job, report, delay, sources });
                (counts, None)
            }
            TaskOutcome::Failed { error, attempts } => {
                ended(TaskEnd::Failed);
                command.attempts = command.attempts.max(attempts);
                let reason = error.to_string();
                command.fail(subject, error.class(), reason.clone());
                self.links.quality.do_send(TaskFailed { subject, job, error, sources });
                (TaskCounts::default(), Some(reason))
            }
        };
        self.record(&task, duration, counts, error);
        if is_cut_short {
            self.forget(task.command);
        } else {
            self.close_task(task.command);
        }
    }

    /// Stores a record of an ended task, if records are enabled.
    fn record(&self, task: &QueuedTask, duration: Duration, counts: TaskCounts, error: Option<String>) {
        if !self.settings.events.sync_records {
            return;
        }
        let QueuedTask { work, subject, .. } = *task;
        let (id, kind, mode, ended_at) = (random_uuid(), work.kind(), work.mode(), utc_now());
        self.links.sync_records.note(SyncRecord { id, kind, subject, mode, ended_at, duration, counts, error });
    }

    /// Counts a task as ended. The command ends with its last task.
    fn close_task(&mut self, id: CommandId) {
        let Some(command) = self.commands.get_mut(&id) else { return };
        command.num_open -= 1;
        if command.num_open == 0 {
            self.finish(id);
        }
    }

    /// Queues an interrupted task again, unless the task itself seems to cause the crashes.
    fn run_again(&mut self, mut task: QueuedTask, suspect: bool) {
        task.num_crashes += u32::from(suspect);
        let QueuedTask { subject, num_crashes, .. } = task;
        let Some(command) = self.commands.get_mut(&task.command) else { return };
        let _logged_in = command.span.clone().entered();
        if !command.delivery.assignment().is_held() {
            return self.forget(task.command);
        }
        if num_crashes < MAX_CRASHES {
            tracing::warn!(%subject, num_crashes, "task was interrupted and runs again");
            return self.queue.push_again(task);
        }
        command.attempts = command.attempts.max(num_crashes);
        command.fail(subject, "crashed", format!("the worker crashed {num_crashes} times while processing this task"));
        self.close_task(task.command);
    }

    /// Resolves a command whose tasks have ended. If a task failed, the command is recorded as a dead letter first.
    fn finish(&mut self, id: CommandId) {
        let Some(command) = self.commands.remove(&id) else { return };
        let _logged_in = command.span.clone().entered();
        tracing::debug!(
            written = command.counts.written,
            unchanged = command.counts.unchanged,
            skipped = command.counts.num_skipped(),
            failures = command.num_failures,
            elapsed = ?command.received_at.elapsed(),
            "command ends"
        );
        command.outcome().into_iter().for_each(|ended| self.links.quality.do_send(ended));
        if command.num_failures == 0 {
            return self.resolve(command.delivery, CommandOutcome::Done);
        }
        let reason = command.failure_text();
        self.dead_letter(command.delivery, command.failure_class, reason, command.attempts);
    }

    fn resolve(&self, delivery: Delivery, outcome: CommandOutcome) {
        self.vitals.board().observe(&MetricEvent::CommandEnded(outcome));
        delivery.resolve();
    }

    /// Records the command in the dead-letter topic, then resolves it.
    fn dead_letter(&self, delivery: Delivery, class: &'static str, reason: String, attempts: u32) {
        let recording = self.publisher().dead_letter(delivery, class, reason, attempts, Recorded::default());
        actix_rt::spawn(recording.instrument(Span::current()));
    }

    /// Drops a command. Its delivery returns to the feed.
    fn forget(&mut self, id: CommandId) {
        self.commands.remove(&id);
        self.queue.drop_command(id);
    }
}

impl Actor for CommandRouter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.vitals.begin(ctx);
    }
}

impl Supervised for CommandRouter {
    /// Returns all commands to the feed, which delivers them again.
    fn restarting(&mut self, _ctx: &mut Self::Context) {
        self.commands.clear();
        self.tasks.clear();
        self.queue = TaskQueue::default();
    }
}

impl Handler<CommandReceived> for CommandRouter {
    type Result = ();

    fn handle(&mut self, message: CommandReceived, ctx: &mut Self::Context) {
        // The delivery is taken first, so a panic in this handler counts as a crash of this command.
        let CommandReceived(delivery) = message;
        self.vitals.fail_point("handler");
        if self.commands.is_empty() {
            // The first command after an idle time restarts the stall detection.
            self.vitals.board().progress.progressed();
        }
        self.take(delivery, ctx);
        self.dispatch(ctx);
    }
}

impl Handler<CodesListed> for CommandRouter {
    type Result = ();

    fn handle(&mut self, message: CodesListed, ctx: &mut Self::Context) {
        let CodesListed { delivery, command, work, codes } = message;
        let reason = match codes {
            Ok(codes) if !codes.is_empty() => {
                self.begin_codes(delivery, &command, work, &codes);
                return self.dispatch(ctx);
            }
            Ok(_) => "the stock list (stock_info) is empty; send `stockinfo` first".to_owned(),
            Err(reason) => reason,
        };
        let _logged_in = command.span(delivery.command()).entered();
        let reason = format!("the command has no code and {reason}");
        self.refuse_as(delivery, "no_codes", reason);
    }
}

impl Handler<TaskBuffered> for CommandRouter {
    type Result = ();

    fn handle(&mut self, message: TaskBuffered, ctx: &mut Self::Context) {
        self.free_slot(message.0);
        self.dispatch(ctx);
    }
}

impl Handler<TaskSettled> for CommandRouter {
    type Result = ();

    fn handle(&mut self, message: TaskSettled, ctx: &mut Self::Context) {
        self.task_settled(message.task, message.outcome, message.trace);
        self.dispatch(ctx);
    }
}

impl Handler<PartitionsWithdrawn> for CommandRouter {
    type Result = ();

    /// Drops commands of withdrawn partitions that have queued tasks. Commands whose tasks all run may finish.
    fn handle(&mut self, _: PartitionsWithdrawn, ctx: &mut Self::Context) {
        let is_withdrawn = |command: &OpenCommand| !command.delivery.assignment().is_held();
        let withdrawn = self.commands.iter().filter(|(_, command)| is_withdrawn(command)).map(|(id, _)| *id);
        // A withdrawn command with queued tasks cannot finish on this worker.
        let unfinishable: Vec<CommandId> = withdrawn.filter(|id| self.queue.has(*id)).collect();
        unfinishable.into_iter().for_each(|id| self.forget(id));
        self.dispatch(ctx);
    }
}

impl Handler<ApplySettings> for CommandRouter {
    type Result = ();

    fn handle(&mut self, message: ApplySettings, ctx: &mut Self::Context) {
        self.settings = message.0;
        self.dispatch(ctx);
    }
}
