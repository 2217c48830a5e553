// Upstream: actor, split
// Downstream: domain, ports, quality_monitor, settings, store_retry, supervision
// Role: Publishes the parts or the dead letter of a command and resolves it after the broker's acknowledgement.

use std::sync::Arc;

use actix::Addr;

use crate::domain::{CommandPart, TraceIds};
use crate::ports::{DeadLetter, Delivery, Outbox, PartsOutcome};
use crate::quality_monitor::{CommandRefused, QualityMonitor, Recorded};
use crate::settings::{ActorSettings, ms};
use crate::store_retry::store_delays;
use crate::supervision::{CommandOutcome, MetricEvent, StatusBoard};

/// Publishes command parts and dead letters with retries.
#[derive(Clone)]
pub struct CommandPublisher {
    /// Sends records to the broker.
    pub outbox: Arc<dyn Outbox>,
    /// Records progress, errors and outcomes.
    pub board: Arc<StatusBoard>,
    /// Provides the retry delays.
    pub settings: Arc<ActorSettings>,
}

impl CommandPublisher {
    /// Publishes a command in parts, unless an earlier delivery of it has done so, and resolves it when all of them are
    /// in the topic. Until that is known the command stays unresolved.
    pub async fn parts(self, delivery: Delivery, parts: Vec<CommandPart>) {
        let (command, parts): (_, Arc<[CommandPart]>) = (delivery.command().clone(), parts.into());
        tracing::info!(%command, parts = parts.len(), "command with many codes is split");
        let mut delays = store_delays(&self.settings);
        let outcome = loop {
            match self.outbox.parts(&command, &parts).await {
                Ok(outcome) => break outcome,
                Err(error) => {
                    self.board.record_error(&error.to_string());
                    let delay = delays.next().unwrap_or(ms(self.settings.batch.max_retry_delay_ms));
                    tracing::error!(%command, %error, retry_in = ?delay, "command parts not published yet, will retry");
                    actix_rt::time::sleep(delay).await;
                }
            }
            if !delivery.assignment().is_held() {
                return; // another worker owns the command now
            }
        };
        if outcome == PartsOutcome::AlreadyThere {
            tracing::info!(%command, "the parts of this command are in the topic already");
        }
        self.board.observe(&MetricEvent::CommandEnded(CommandOutcome::Split));
        delivery.resolve();
    }

    /// Reports a command that cannot begin, and records its dead letter.
    pub async fn refuse(self, quality: Addr<QualityMonitor>, delivery: Delivery, class: &'static str, reason: String) {
        let is_recorded = Recorded::default();
        quality.do_send(CommandRefused { reason: reason.clone(), is_recorded: is_recorded.clone() });
        self.dead_letter(delivery, class, reason, 1, is_recorded).await;
    }

    /// Records a command in the dead-letter topic, then resolves it. Until the record is written, it stays unresolved.
    pub async fn dead_letter(
        self,
        delivery: Delivery,
        class: &'static str,
        reason: String,
        attempts: u32,
        is_recorded: Recorded,
    ) {
        let command = delivery.command().clone();
        let trace = TraceIds::of_payload(&command.payload).or(&command.trace);
        let letter = DeadLetter { command, reason, class, attempts, trace };
        let mut delays = store_delays(&self.settings);
        while let Err(error) = self.outbox.dead_letter(&letter).await {
            self.board.record_error(&error.to_string());
            let delay = delays.next().unwrap_or(ms(self.settings.batch.max_retry_delay_ms));
            tracing::error!(
                command = %letter.command,
                %error,
                retry_in = ?delay,
                "dead letter not recorded yet, will retry"
            );
            actix_rt::time::sleep(delay).await;
            if delivery.assignment().is_lost() {
                return; // another worker owns the command now
            }
        }
        is_recorded.set();
        tracing::warn!(command = %letter.command, class, reason = letter.reason, "dead letter recorded");
        self.board.record_error(&letter.reason);
        self.board.observe(&MetricEvent::CommandEnded(CommandOutcome::DeadLetter(class)));
        delivery.resolve();
    }
}
