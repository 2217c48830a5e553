// Upstream: actor, fetcher, supervisor
// Downstream: domain, ports, settings, simulation, supervision
// Role: Requests the trading calendar once a day when its known end is near: one worker of the group sends trade_day.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::domain::calendar::CALENDAR_NOTICE_DAYS;
use crate::domain::{CommandPart, Lifecycle, shanghai_clock};
use crate::ports::{DataKind, HeartbeatStore, MarketSources, Outbox, Swappable};
use crate::settings::ActorSettings;
use crate::supervision::StatusBoard;

/// Interval of the checks. The end of the calendar is known weeks before.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_secs(3_600);

/// How long a request keeps the other workers from another one. It is longer than the Shanghai day that it names.
const CLAIM_LIFETIME: Duration = Duration::from_secs(2 * 86_400);

/// What the request needs.
pub struct CalendarWatch {
    /// Decides which worker sends the command.
    pub claims: Arc<Swappable<dyn HeartbeatStore>>,
    /// Sends the command.
    pub outbox: Arc<dyn Outbox>,
    /// The configured sources.
    pub sources: Arc<Swappable<dyn MarketSources>>,
    /// The name of this worker.
    pub node_id: Arc<str>,
}

impl CalendarWatch {
    /// Sends `trade_day` if the calendar ends soon, a source has a calendar, and no worker has sent it today. Without
    /// the heartbeat store or the broker, the next check or the next day tries again.
    pub(crate) async fn check(&self, board: &StatusBoard, settings: &ActorSettings) {
        let is_near = board.calendar_days_left().is_some_and(|left| left <= CALENDAR_NOTICE_DAYS);
        let is_running = board.lifecycle() == Lifecycle::Running;
        if !(settings.fetch.extend_calendar && is_near && is_running)
            || self.sources.pin().of(DataKind::TradeDays).is_empty()
        {
            return;
        }
        let work = format!("trade_day:{}", shanghai_clock::today());
        match self.claims.pin().claim(&work, CLAIM_LIFETIME).await {
            Ok(true) => self.send().await,
            Ok(false) => tracing::debug!("the trading calendar was requested today"),
            Err(error) => tracing::warn!(%error, "the trading calendar is not requested"),
        }
    }

    async fn send(&self) {
        let now = shanghai_clock::now().format("%Y-%m-%dT%H:%M:%S").to_string();
        let message = json!({"command": "trade_day", "params": {}, "source": &*self.node_id, "timestamp": now});
        let command = CommandPart { key: "trade_day".to_owned(), payload: message.to_string() };
        match self.outbox.command(&command).await {
            Ok(()) => tracing::info!("the trading calendar ends soon; trade_day is sent"),
            Err(error) => tracing::warn!(%error, "trade_day not sent; tomorrow again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::MarketSource;
    use crate::simulation::{ModelHeartbeats, ModelOutbox, ModelSource, ModelSources};
    use chrono::Days;

    struct Group {
        outbox: Arc<ModelOutbox>,
        workers: [CalendarWatch; 2],
        board: StatusBoard,
    }

    fn group(sources: Vec<Arc<dyn MarketSource>>) -> Group {
        let outbox = Arc::new(ModelOutbox::default());
        let claims = Swappable::new(Arc::new(ModelHeartbeats::default()) as Arc<dyn HeartbeatStore>);
        let sources = Swappable::new(Arc::new(ModelSources(sources)) as Arc<dyn MarketSources>);
        let worker = |name: &str| CalendarWatch {
            claims: claims.clone(),
            outbox: outbox.clone(),
            sources: sources.clone(),
            node_id: name.into(),
        };
        let board = StatusBoard::default();
        board.enter(Lifecycle::Starting);
        board.enter(Lifecycle::Running);
        Group { workers: [worker("a"), worker("b")], outbox, board }
    }

    async fn num_sent(group: &Group, days_left: u64, settings: &ActorSettings) -> usize {
        group.board.set_calendar_end(shanghai_clock::today().checked_add_days(Days::new(days_left)));
        for worker in group.workers.iter().chain(&group.workers) {
            worker.check(&group.board, settings).await;
        }
        group.outbox.commands().len()
    }

    #[tokio::test]
    async fn one_worker_sends_one_command_a_day_near_the_end() {
        let (group, settings) = (group(vec![Arc::new(ModelSource::default())]), ActorSettings::default());
        for worker in &group.workers {
            worker.check(&group.board, &settings).await;
        }
        assert_eq!(group.outbox.commands(), [], "the calendar is not read yet");
        assert_eq!(num_sent(&group, 46, &settings).await, 0);
        assert_eq!(num_sent(&group, 45, &settings).await, 1);
        let command = group.outbox.commands()[0].payload.clone();
        let parsed = crate::domain::ControlCommand::parse(command.as_bytes()).unwrap();
        assert_eq!((parsed.instruction, parsed.source.as_deref()), (crate::domain::Instruction::TradeDay, Some("a")));
        assert!(parsed.issued_at.is_some());
    }

    #[tokio::test]
    async fn nothing_is_sent_without_a_source_or_if_switched_off() {
        let settings = ActorSettings::default();
        assert_eq!(num_sent(&group(Vec::new()), 5, &settings).await, 0);
        let mut off = settings.clone();
        off.fetch.extend_calendar = false;
        assert_eq!(num_sent(&group(vec![Arc::new(ModelSource::default())]), 5, &off).await, 0);
        let stopping = group(vec![Arc::new(ModelSource::default())]);
        stopping.board.enter(Lifecycle::Stopping);
        assert_eq!(num_sent(&stopping, 5, &settings).await, 0);
    }
}
