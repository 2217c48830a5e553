// Upstream: actor
// Downstream: domain, ports, settings, store_retry, supervision
// Role: Publishes the parts or the dead letter of a command and resolves it after the broker's acknowledgement.

use std::sync::Arc;

use crate::domain::CommandPart;
use crate::ports::{DeadLetter, Delivery, Outbox};
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
    /// Publishes a command in parts and resolves it when the broker has acknowledged all of them. After a crash,
    /// published parts are published again. Their rows are already stored, so the repetition is harmless.
    pub async fn parts(self, delivery: Delivery, parts: Vec<CommandPart>) {
        tracing::info!(command = %delivery.command(), parts = parts.len(), "command with many codes is split");
        for part in &parts {
            let mut delays = store_delays(&self.settings);
            while let Err(error) = self.outbox.command(part).await {
                self.board.record_error(&error.to_string());
                let delay = delays.next().unwrap_or(ms(self.settings.batch.max_retry_delay_ms));
                tracing::error!(
                    command = %delivery.command(),
                    %error,
                    retry_in = ?delay,
                    "command part not published yet, will retry"
                );
                actix_rt::time::sleep(delay).await;
            }
            if !delivery.assignment().is_held() {
                return; // another worker owns the command now
            }
            self.board.progress.progressed();
        }
        self.board.observe(&MetricEvent::CommandEnded(CommandOutcome::Split));
        delivery.resolve();
    }

    /// Records a command in the dead-letter topic, then resolves it. Until the record is written, it stays unresolved.
    pub async fn dead_letter(self, delivery: Delivery, class: &'static str, reason: String, attempts: u32) {
        let letter = DeadLetter { command: delivery.command().clone(), reason, class, attempts };
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
        tracing::warn!(command = %letter.command, class, reason = letter.reason, "dead letter recorded");
        self.board.record_error(&letter.reason);
        self.board.observe(&MetricEvent::CommandEnded(CommandOutcome::DeadLetter(class)));
        delivery.resolve();
    }
}
