// Upstream: actors::lifecycle, actors::supervisor
// Downstream: actors::settings, actors::supervision::vitals
// Role: The actor that holds the settings in force and hands a new snapshot to all actors at once, or to none.

use std::sync::Arc;

use actix::prelude::*;

use crate::settings::{ActorSettings, ApplySettings, SettingsError};
use crate::supervision::Vitals;

/// Put these settings in force. Refused as a whole if any of them cannot work; the old ones then stay.
#[derive(Debug, Message)]
#[rtype(result = "Result<u64, Vec<SettingsError>>")]
pub struct InstallSettings(pub ActorSettings);

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

/// Holds the settings.
pub struct ConfigActor {
    vitals: Vitals,
    generation: u64,
    settings: Arc<ActorSettings>,
    subscribers: Vec<Recipient<ApplySettings>>,
}

impl ConfigActor {
    /// The settings at the start, and who hears of new ones.
    pub fn new(vitals: Vitals, settings: Arc<ActorSettings>, subscribers: Vec<Recipient<ApplySettings>>) -> Self {
        Self { vitals, generation: 1, settings, subscribers }
    }
}

impl Actor for ConfigActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.vitals.begin(ctx);
        // After a restart the actors may or may not have heard of the last snapshot: they are told again.
        for subscriber in &self.subscribers {
            subscriber.do_send(ApplySettings(self.settings.clone()));
        }
    }
}

/// No state to reset: the settings in force are what all other actors work by.
impl Supervised for ConfigActor {}

impl Handler<InstallSettings> for ConfigActor {
    type Result = Result<u64, Vec<SettingsError>>;

    fn handle(&mut self, message: InstallSettings, _ctx: &mut Self::Context) -> Self::Result {
        self.vitals.fault_point("handler");
        let problems = message.0.problems();
        if !problems.is_empty() {
            return Err(problems);
        }
        self.settings = Arc::new(message.0);
        self.generation += 1;
        for subscriber in &self.subscribers {
            subscriber.do_send(ApplySettings(self.settings.clone()));
        }
        Ok(self.generation)
    }
}

impl Handler<CurrentSettings> for ConfigActor {
    type Result = SettingsInForce;

    fn handle(&mut self, _: CurrentSettings, _ctx: &mut Self::Context) -> Self::Result {
        self.vitals.fault_point("handler");
        SettingsInForce { generation: self.generation, settings: self.settings.clone() }
    }
}
