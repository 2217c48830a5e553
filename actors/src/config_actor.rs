// Upstream: actors::lifecycle, actors::supervisor
// Downstream: actors::ports, actors::settings, actors::supervision::vitals, actors::worker_event
// Role: The actor that holds the configuration in force, and puts a new one in force for all at once, or for none.

use std::sync::Arc;

use actix::prelude::*;

use crate::ports::{ConfigSource, PreparedConfig};
use crate::settings::{ActorSettings, ApplySettings};
use crate::supervision::Vitals;
use crate::worker_event::{Announcer, WorkerEvent};

/// Read the configuration anew and put it in force, as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Reload {
    /// What asked for it, for the log: an order, a signal, a change of the file.
    pub cause: &'static str,
    /// The id of the order, repeated in the answer.
    pub correlation_id: Option<String>,
}

/// The settings in force and their generation.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "SettingsInForce")]
pub struct CurrentSettings;

/// An answer to [`CurrentSettings`].
#[derive(Debug, Clone, MessageResponse)]
pub struct SettingsInForce {
    /// 1 at the start; one more with each change.
    pub generation: u64,
    /// The settings.
    pub settings: Arc<ActorSettings>,
}

/// Holds the configuration. One reload is under way at a time; of those asked for meanwhile the last one follows.
pub struct ConfigActor {
    vitals: Vitals,
    generation: u64,
    settings: Arc<ActorSettings>,
    source: Arc<dyn ConfigSource>,
    subscribers: Vec<Recipient<ApplySettings>>,
    announcer: Announcer,
    reloading: bool,
    next: Option<Reload>,
}

impl ConfigActor {
    /// The settings at the start, where new ones come from, and who hears of them.
    pub fn new(
        vitals: Vitals,
        settings: Arc<ActorSettings>,
        source: Arc<dyn ConfigSource>,
        subscribers: Vec<Recipient<ApplySettings>>,
        announcer: Announcer,
    ) -> Self {
        Self { vitals, generation: 1, settings, source, subscribers, announcer, reloading: false, next: None }
    }

    fn reload(&mut self, reload: Reload, ctx: &mut Context<Self>) {
        self.reloading = true;
        tracing::info!(cause = reload.cause, "the configuration is read anew");
        let source = self.source.clone();
        let preparing = async move { source.prepare().await }.into_actor(self);
        ctx.spawn(preparing.map(move |prepared, config, ctx| {
            let event = match prepared {
                Ok(prepared) => config.install(prepared),
                Err(refused) => config.refuse(refused.problems),
            };
            // Nobody wants a message for every saving of a file that changes nothing.
            if reload.correlation_id.is_some() || event != WorkerEvent::ReloadUnchanged {
                config.answer(event, reload.correlation_id);
            }
            config.reloading = false;
            if let Some(next) = config.next.take() {
                config.reload(next, ctx);
            }
        }));
    }

    fn install(&mut self, prepared: PreparedConfig) -> WorkerEvent {
        let PreparedConfig { settings, changed, install } = prepared;
        let board = self.vitals.board();
        if changed.is_empty() {
            board.reloads_unchanged.add(1);
            tracing::info!(generation = self.generation, "nothing has changed in the configuration");
            return WorkerEvent::ReloadUnchanged;
        }
        install();
        self.settings = Arc::new(settings);
        self.generation += 1;
        board.reloads_applied.add(1);
        tracing::info!(generation = self.generation, ?changed, "a new configuration is in force");
        self.tell();
        WorkerEvent::Reloaded(changed)
    }

    fn refuse(&self, problems: Vec<String>) -> WorkerEvent {
        self.vitals.board().reloads_refused.add(1);
        tracing::error!(
            generation = self.generation,
            problems = problems.join("; "),
            "the new configuration is refused; the old one stays in force"
        );
        WorkerEvent::ReloadRefused(problems)
    }

    fn answer(&self, event: WorkerEvent, correlation_id: Option<String>) {
        let announcer = self.announcer.clone();
        actix_rt::spawn(async move { announcer.announce(&event, correlation_id.as_deref()).await });
    }

    fn tell(&self) {
        for subscriber in &self.subscribers {
            subscriber.do_send(ApplySettings(self.settings.clone()));
        }
    }
}

impl Actor for ConfigActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.vitals.begin(ctx);
        // After a restart the actors may or may not have heard of the last snapshot: they are told again.
        self.tell();
    }
}

impl Supervised for ConfigActor {
    /// What is in force stays in force: all other actors work by it. A reload under way is given up.
    fn restarting(&mut self, _ctx: &mut Self::Context) {
        self.reloading = false;
        self.next = None;
    }
}

impl Handler<Reload> for ConfigActor {
    type Result = ();

    fn handle(&mut self, message: Reload, ctx: &mut Self::Context) {
        self.vitals.fault_point("handler");
        if self.reloading {
            self.next = Some(message);
        } else {
            self.reload(message, ctx);
        }
    }
}

impl Handler<CurrentSettings> for ConfigActor {
    type Result = SettingsInForce;

    fn handle(&mut self, _: CurrentSettings, _ctx: &mut Self::Context) -> Self::Result {
        self.vitals.fault_point("handler");
        SettingsInForce { generation: self.generation, settings: self.settings.clone() }
    }
}
