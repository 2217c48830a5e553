// Upstream: config_actor, supervisor
// Downstream: messages, notifications, ports, settings, supervision
// Role: The actor that holds the active configuration and applies a new one as a whole, or rejects it as a whole.

use std::sync::Arc;

use actix::prelude::*;

use crate::config_actor::{ActiveSettings, CurrentSettings, Reload};
use crate::notifications::{Announcer, WorkerEvent};
use crate::ports::{ConfigSource, PreparedConfig};
use crate::settings::{ActorSettings, ApplySettings};
use crate::supervision::Vitals;

/// Maximum number of operator orders that one reload answers. More of them indicate a sender in a loop.
const MAX_ANSWERS: usize = 100;

/// Reload requests that arrive while a reload is running: the last cause, and the correlation ids of the orders. One
/// reload follows for all of them and answers each order.
#[derive(Debug, Default)]
struct PendingReloads(Option<(&'static str, Vec<String>)>);

impl PendingReloads {
    fn add(&mut self, Reload { cause, correlation_id }: Reload) {
        let (last_cause, ids) = self.0.get_or_insert_with(|| (cause, Vec::new()));
        *last_cause = cause;
        ids.extend(correlation_id.filter(|_| ids.len() < MAX_ANSWERS));
    }
}

/// Holds the active configuration. At most one reload runs at a time.
pub struct ConfigActor {
    vitals: Vitals,
    generation: u64,
    settings: Arc<ActorSettings>,
    source: Arc<dyn ConfigSource>,
    subscribers: Vec<Recipient<ApplySettings>>,
    announcer: Announcer,
    reloading: bool,
    waiting: PendingReloads,
}

impl ConfigActor {
    /// Creates the actor with the initial settings, the source of new settings and the actors that receive them.
    pub fn new(
        vitals: Vitals,
        settings: Arc<ActorSettings>,
        source: Arc<dyn ConfigSource>,
        subscribers: Vec<Recipient<ApplySettings>>,
        announcer: Announcer,
    ) -> Self {
        Self {
            vitals,
            generation: 1,
            settings,
            source,
            subscribers,
            announcer,
            reloading: false,
            waiting: PendingReloads::default(),
        }
    }

    /// Starts a reload if one is requested and none is running.
    fn reload(&mut self, ctx: &mut Context<Self>) {
        if self.reloading {
            return;
        }
        let Some((cause, orders)) = self.waiting.0.take() else { return };
        self.reloading = true;
        tracing::info!(cause, "configuration is being reloaded");
        let source = self.source.clone();
        let preparing = async move { source.prepare().await }.into_actor(self);
        ctx.spawn(preparing.map(move |prepared, config, ctx| {
            let event = match prepared {
                Ok(prepared) => config.install(prepared),
                Err(refused) => config.refuse(refused.problems),
            };
            config.answer(event, orders);
            config.reloading = false;
            config.reload(ctx);
        }));
    }

    fn install(&mut self, prepared: PreparedConfig) -> WorkerEvent {
        let PreparedConfig { settings, changed, install } = prepared;
        let board = self.vitals.board();
        if changed.is_empty() {
            board.counters.reloads_unchanged.add(1);
            tracing::info!(generation = self.generation, "configuration reloaded without changes");
            return WorkerEvent::ReloadUnchanged;
        }
        install();
        self.settings = Arc::new(settings);
        self.generation += 1;
        board.counters.reloads_applied.add(1);
        tracing::info!(generation = self.generation, changed = changed.join(", "), "new configuration applied");
        self.tell();
        WorkerEvent::Reloaded(changed)
    }

    fn refuse(&self, problems: Vec<String>) -> WorkerEvent {
        self.vitals.board().counters.reloads_refused.add(1);
        tracing::error!(
            generation = self.generation,
            problems = problems.join("; "),
            "new configuration rejected; the old one stays active"
        );
        WorkerEvent::ReloadRefused(problems)
    }

    fn answer(&self, event: WorkerEvent, orders: Vec<String>) {
        // Saving an unchanged file does not cause a notification.
        if orders.is_empty() && event == WorkerEvent::ReloadUnchanged {
            return;
        }
        let announcer = self.announcer.clone();
        actix_rt::spawn(async move {
            if orders.is_empty() {
                announcer.announce(&event, None).await;
            }
            for order in orders {
                announcer.announce(&event, Some(&order)).await;
            }
        });
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
        // After a restart it is unknown whether the subscribers received the last settings, so they are sent again.
        self.tell();
    }
}

impl Supervised for ConfigActor {
    /// Keeps the active configuration, because all other actors use it. A running reload is abandoned.
    fn restarting(&mut self, _ctx: &mut Self::Context) {
        self.reloading = false;
        self.waiting = PendingReloads::default();
    }
}

impl Handler<Reload> for ConfigActor {
    type Result = ();

    fn handle(&mut self, message: Reload, ctx: &mut Self::Context) {
        self.vitals.fail_point("handler");
        self.waiting.add(message);
        self.reload(ctx);
    }
}

impl Handler<CurrentSettings> for ConfigActor {
    type Result = ActiveSettings;

    fn handle(&mut self, _: CurrentSettings, _ctx: &mut Self::Context) -> Self::Result {
        self.vitals.fail_point("handler");
        ActiveSettings { generation: self.generation, settings: self.settings.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_reloads_merge_and_keep_bounded_ids() {
        let mut waiting = PendingReloads::default();
        let ask = |cause, id: Option<&str>| Reload { cause, correlation_id: id.map(str::to_owned) };
        waiting.add(ask("order", Some("a")));
        waiting.add(ask("the file has changed", None));
        waiting.add(ask("order", Some("b")));
        let (cause, orders) = waiting.0.take().unwrap();
        assert_eq!((cause, orders), ("order", vec!["a".to_owned(), "b".to_owned()]));
        for n in 0..2 * MAX_ANSWERS {
            waiting.add(ask("order", Some(&n.to_string())));
        }
        assert_eq!(waiting.0.take().unwrap().1.len(), MAX_ANSWERS);
    }
}
