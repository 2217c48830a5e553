// Upstream: standalone
// Downstream: many
// Role: Sends the commands one after the other, waits for each result, and collects the outcome.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actors::domain::Code;
use actors::supervision::StatusBoard;

use crate::app::service_hub::EmbeddedServices;
use crate::standalone::broker::Broker;
use crate::standalone::error::StandaloneError;
use crate::standalone::news::{MessageReader, MessageTotals};
use crate::standalone::outcome::Outcome;
use crate::standalone::output::print_line;
use crate::standalone::sample::SAMPLES;
use crate::standalone::steps::{Figures, Step, StepDone, steps};

/// Poll interval for a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Timeout of each wait. Each wait normally takes seconds: the broker's first rebalance takes 3 s, and a slow disk or a
/// busy machine may add to it.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The demonstration, with its access to the worker.
pub struct Demonstration<'a> {
    broker: &'a Broker,
    services: &'a EmbeddedServices,
    board: Arc<StatusBoard>,
    news: MessageReader,
}

impl<'a> Demonstration<'a> {
    /// Creates the demonstration of a launched worker.
    pub fn new(
        broker: &'a Broker,
        services: &'a EmbeddedServices,
        board: Arc<StatusBoard>,
        news: MessageReader,
    ) -> Self {
        Self { broker, services, board, news }
    }

    /// Runs all steps once.
    pub async fn run(&self) -> Result<Outcome, StandaloneError> {
        let begun = Instant::now();
        print_line("Starting; the broker's first rebalance of the consumer group takes 3 s.");
        self.wait_until_running().await?;
        let codes: Vec<Code> = SAMPLES.iter().filter_map(|sample| sample.code.parse().ok()).collect();
        self.services.store.list_codes(&codes).await?;
        let mut done = Vec::new();
        let steps = steps();
        let num_steps = steps.len();
        for (index, step) in steps.into_iter().enumerate() {
            let step = self.take(step).await?;
            print_line(format_args!("{}/{num_steps} {step}", index + 1));
            done.push(step);
        }
        let tally = self.hear_of(num_steps as u64).await?;
        let stored = self.services.store.summary().await?;
        Ok(Outcome { steps: done, stored, tally, took: begun.elapsed() })
    }

    /// Prints what the worker publishes, until the caller drops the future. What the demonstration itself causes is
    /// labelled.
    pub async fn follow(&self, outcome: &Outcome) -> Result<Infallible, StandaloneError> {
        let reasons: Vec<String> = outcome.tally.records.iter().map(|record| record.reason.clone()).collect();
        loop {
            let message = self.news.next().await?;
            match message.is_intended(&reasons) {
                true => print_line(format_args!("(intended: the demonstration causes it) {message}")),
                false => print_line(message),
            }
        }
    }

    /// Waits until the heartbeat has the status `running`.
    async fn wait_until_running(&self) -> Result<(), StandaloneError> {
        let running = |value: String| value.contains(r#""status":"running""#);
        wait_until("the heartbeat of a running worker", || self.services.heartbeats.current().is_some_and(running))
            .await
    }

    async fn take(&self, step: Step) -> Result<StepDone, StandaloneError> {
        let (before, sent_at) = (Figures::of(&self.board), Instant::now());
        self.broker.send(&step.payload).await?;
        let resolved = || Figures::of(&self.board).resolved > before.resolved;
        wait_until(&format!("the end of the command: {}", step.title), resolved).await?;
        Ok(StepDone { step, change: Figures::of(&self.board).since(&before), took: sent_at.elapsed() })
    }

    /// Reads news until they cover every command.
    async fn hear_of(&self, num_commands: u64) -> Result<MessageTotals, StandaloneError> {
        let mut tally = MessageTotals::default();
        let num_letters = || self.board.counters.commands_dead_lettered.get();
        let listening = async {
            while tally.num_ended < num_commands || (tally.records.len() as u64) < num_letters() {
                tally.add(self.news.next().await?);
            }
            Ok(())
        };
        match tokio::time::timeout(TIMEOUT, listening).await {
            Ok(heard) => heard.map(|()| tally),
            Err(_) => Err(StandaloneError::Stalled { what: "reports of every command".to_owned(), limit: TIMEOUT }),
        }
    }
}

async fn wait_until(what: &str, condition: impl Fn() -> bool) -> Result<(), StandaloneError> {
    let end = Instant::now() + TIMEOUT;
    while !condition() {
        if Instant::now() >= end {
            return Err(StandaloneError::Stalled { what: what.to_owned(), limit: TIMEOUT });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(())
}
