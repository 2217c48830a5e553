// Upstream: metrics
// Downstream: observability, process
// Role: Reads values at each scrape: state, queues, actors, partitions, configuration and the process.

use std::collections::BTreeMap;
use std::fmt;

use actors::domain::clock::utc_now;
use actors::domain::{Lifecycle, Stage};
use actors::ports::{IntakePause, InterfaceFigures};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::observability::metrics::process::Process;
use crate::observability::worker_view::WorkerView;

/// The figures of interfaces, by source and interface.
type Interfaces = BTreeMap<(&'static str, &'static str), InterfaceFigures>;

/// Reads the state of a worker at each scrape.
#[derive(Debug)]
pub(super) struct Looked(pub(super) WorkerView);

/// Appends a full stop to a help text, as the registry does for registered metrics.
fn sentence(help: &str) -> String {
    format!("{help}.")
}

/// The encoder of one page.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.0.encode_descriptor(name, &sentence(help), None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, &sentence(help), None, MetricType::Gauge)?;
        values.into_iter().try_for_each(|(labels, value)| metric.encode_family(&labels)?.encode_gauge(&value))
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, &sentence(help), None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, f64, f64>(&value, None)
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, &sentence(help), None, MetricType::Counter)?;
        values.into_iter().try_for_each(|(labels, value)| {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, f64, f64>(&value, None)
        })
    }
}

impl Collector for Looked {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let (view, mut page) = (&self.0, Page(encoder));
        worker(view, &mut page)?;
        work(view, &mut page)?;
        actors(view, &mut page)?;
        feed(view, &mut page)?;
        process(&mut page)
    }
}

fn worker(view: &WorkerView, page: &mut Page<'_>) -> fmt::Result {
    let (board, identity) = (&view.board, &view.identity);
    let info = [("version", env!("CARGO_PKG_VERSION")), ("host", identity.host.as_ref())];
    page.gauges("data_worker_build_info", "The worker's version and host; always 1", [(info, 1.0)])?;
    page.gauge("data_worker_uptime_seconds", "Time since the start", board.progress.uptime().as_secs_f64())?;
    let now = view.lifecycle();
    let states = [Lifecycle::Stopped, Lifecycle::Starting, Lifecycle::Running, Lifecycle::Stopping, Lifecycle::Error];
    let states = states.map(|state| ([("state", state.as_str())], f64::from(u8::from(state == now))));
    page.gauges("data_worker_state", "1 for the worker's current state, as in its heartbeat", states)?;
    let pauses = [IntakePause::Paused, IntakePause::StoreOutage];
    let pauses =
        pauses.map(|reason| ([("reason", reason.as_str())], f64::from(u8::from(board.gate.is_closed_by(reason)))));
    page.gauges("data_worker_intake_closed", "1 while the worker takes no commands, by reason", pauses)?;
    let help = "Generation of the configuration in force: 1 at the start, plus 1 for each change";
    page.gauge("data_worker_config_generation", help, view.config_generation() as f64)?;
    let reloads = [
        ([("outcome", "applied")], board.counters.reloads_applied.get() as f64),
        ([("outcome", "unchanged")], board.counters.reloads_unchanged.get() as f64),
        ([("outcome", "refused")], board.counters.reloads_refused.get() as f64),
    ];
    page.counters("data_worker_reloads", "Reloads of the configuration, by outcome", reloads)?;
    let help = "Failed fetches, failed statements of a store, dead letters and failed actors";
    page.counter("data_worker_errors", help, board.counters.errors.get() as f64)?;
    let age = board.progress.since_last_beat().map_or(f64::NAN, |age| age.as_secs_f64());
    let help = "Time since Redis last accepted a heartbeat; NaN before the first";
    page.gauge("data_worker_heartbeat_age_seconds", help, age)
}

fn work(view: &WorkerView, page: &mut Page<'_>) -> fmt::Result {
    let board = &view.board;
    let unresolved = view.feed.state().num_unresolved as f64;
    page.gauge("data_worker_commands_unresolved", "Commands taken and not yet resolved", unresolved)?;
    let help = "Time since the delivery of the oldest unresolved command; 0 without one";
    let age = view.feed.state().oldest.map_or(0.0, |oldest| oldest.age.as_secs_f64());
    page.gauge("data_worker_oldest_command_age_seconds", help, age)?;
    let tasks = Stage::ALL.map(|stage| ([("stage", stage.as_str())], board.counters.tasks_in(stage).get() as f64));
    page.gauges("data_worker_tasks", "Tasks in progress (queue lengths), by stage", tasks)?;
    let help = "Rows waiting for an INSERT";
    page.gauge("data_worker_buffered_rows", help, board.counters.rows_buffered.get() as f64)?;
    let help = "Total time that requests waited for rate limits, configured and the vendor's, by source and interface";
    let interfaces = view.interface_figures();
    let throttled = interfaces.iter().map(|((source, interface), figures)| {
        ([("source", *source), ("interface", *interface)], figures.throttled.as_secs_f64())
    });
    page.counters("data_worker_source_held_back_seconds", help, throttled)?;
    budgets(&interfaces, page)?;
    let refused = view.refusals().into_iter().map(|(source, refuses)| ([("source", source)], f64::from(refuses)));
    let help = "1 while the source refuses the account (token, login), else 0";
    page.gauges("data_worker_source_refused", help, refused)?;
    let help = "Fetches that wait until a source accepts the account again";
    page.gauge("data_worker_fetches_waiting_for_source", help, board.refused_sources.num_waiting() as f64)?;
    let help = "Days from today to the last known trading day; negative after it, NaN until the calendar is read";
    let days_left = board.calendar_days_left().map_or(f64::NAN, |days| days as f64);
    page.gauge("data_worker_calendar_days_left", help, days_left)?;
    let help = "Days until a certificate ends, by section of the settings and owner; negative after it, NaN without TLS or \
                before it is seen";
    let days_left = view.certificates.days_left(utc_now());
    let days_left =
        days_left.into_iter().map(|((section, owner), days)| ([("section", section), ("owner", owner.as_str())], days));
    page.gauges("data_worker_certificate_days_left", help, days_left)?;
    let help = "Price updates published";
    page.counter("data_worker_price_updates", help, board.counters.price_updates.get() as f64)?;
    let help = "Price updates that could not be published";
    page.counter("data_worker_price_updates_lost", help, board.counters.price_updates_lost.get() as f64)?;
    let help = "Task records that could not be written to data_sync_record";
    page.counter("data_worker_sync_records_lost", help, board.counters.sync_records_lost.get() as f64)?;
    let help = "Quality reports that could not be written to data_quality_report";
    page.counter("data_worker_reports_lost", help, board.counters.reports_lost.get() as f64)?;
    let help = "Time since the last progress; it also grows while the worker is idle";
    page.gauge("data_worker_progress_age_seconds", help, board.progress.since_last_progress().as_secs_f64())
}

/// Requests against their configured limits, by source, interface and period.
fn budgets(interfaces: &Interfaces, page: &mut Page<'_>) -> fmt::Result {
    let values = |of: fn(&InterfaceFigures) -> [u32; 2]| {
        interfaces.iter().flat_map(move |((source, interface), figures)| {
            let labels = |period| [("source", *source), ("interface", *interface), ("period", period)];
            let [minute, day] = of(figures);
            [(labels("minute"), f64::from(minute)), (labels("day"), f64::from(day))]
        })
    };
    let help = "Requests within the last minute (where it has a limit) and since midnight in Shanghai, by interface";
    page.gauges("data_worker_source_requests", help, values(|figures| [figures.sent_in_minute, figures.sent_today]))?;
    let help = "Configured limit of requests, by source, interface and period; 0 without one";
    let limits = values(|figures| [figures.limit_of_minute, figures.limit_of_day]);
    page.gauges("data_worker_source_request_limit", help, limits)
}

fn actors(view: &WorkerView, page: &mut Page<'_>) -> fmt::Result {
    let actors = view.board.progress.actors();
    let up = actors.iter().map(|actor| ([("actor", actor.name)], f64::from(u8::from(!actor.is_down))));
    page.gauges("data_worker_actor_up", "0 while a failed actor waits for its restart", up)?;
    let restarts = actors.iter().map(|actor| ([("actor", actor.name)], actor.num_restarts as f64));
    page.counters("data_worker_actor_restarts", "Restarts, by actor", restarts)?;
    let silence = actors.iter().map(|actor| ([("actor", actor.name)], actor.silent_for.as_secs_f64()));
    page.gauges("data_worker_actor_silence_seconds", "Time since an actor's last pulse", silence)
}

fn feed(view: &WorkerView, page: &mut Page<'_>) -> fmt::Result {
    let state = view.feed.state();
    let help = "Time since the consumer last polled";
    page.gauge("data_worker_feed_silence_seconds", help, state.since_last_poll.as_secs_f64())?;
    page.counter("data_worker_feed_rebuilds", "Rebuilds of the consumer", state.num_rebuilds as f64)?;
    page.gauge("data_worker_feed_partitions", "Partitions assigned", state.num_partitions as f64)?;
    let help = "Partitions of all command topics; NaN until the broker has named them";
    let of_topics = state.num_topic_partitions.map_or(f64::NAN, |number| number as f64);
    page.gauge("data_worker_topic_partitions", help, of_topics)?;
    let partitions = view.partitions();
    let values = |value: fn(&actors::ports::PartitionState) -> Option<f64>| {
        partitions.iter().filter_map(move |partition| {
            let labels =
                [("topic", partition.topic.as_ref().to_owned()), ("partition", partition.partition.to_string())];
            Some((labels, value(partition)?))
        })
    };
    let help = "Unresolved records of a partition";
    page.gauges("data_worker_partition_lag_records", help, values(|partition| partition.lag.map(|lag| lag as f64)))?;
    let help = "Watermark: all records before this offset are resolved";
    page.gauges("data_worker_partition_watermark_offset", help, values(|partition| Some(partition.position? as f64)))?;
    let help = "Offset committed by the group";
    page.gauges("data_worker_partition_committed_offset", help, values(|partition| Some(partition.committed? as f64)))
}

fn process(page: &mut Page<'_>) -> fmt::Result {
    let Some(process) = Process::read() else { return Ok(()) };
    page.gauge("process_resident_memory_bytes", "Resident memory", process.resident_bytes as f64)?;
    page.counter("process_cpu_seconds", "CPU time, user and system", process.cpu_seconds)?;
    page.gauge("process_threads", "Threads", process.threads as f64)?;
    page.gauge("process_start_time_seconds", "Unix time of the start", process.start_seconds)
}
