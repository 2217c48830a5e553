// Upstream: main, run, service_hub
// Downstream: actors, config, observability::telemetry, services
// Role: Reads the configuration again while the worker runs; builds and probes the backends that a change affects.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actors::ports::{ConfigRefused, ConfigSource, PreparedConfig};
use async_trait::async_trait;

use crate::app::services::Services;
use crate::config::{self, ConfigProblems, Environment, Loaded, Settings};
use crate::observability::telemetry::Telemetry;

/// The origin of the configuration, from which a reload reads it again.
#[derive(Debug, Clone)]
pub struct ConfigPlace {
    /// The file named on the command line, if any.
    pub file: Option<PathBuf>,
    /// The environment at the start of the process, with the values that the command line set.
    pub environment: Environment,
}

impl ConfigPlace {
    fn load(&self) -> Result<Loaded, ConfigProblems> {
        config::load(self.file.as_deref(), &self.environment)
    }
}

/// The configuration of a running worker.
pub struct ConfigReader {
    place: ConfigPlace,
    services: Services,
    telemetry: Telemetry,
    in_force: Arc<Mutex<Loaded>>,
}

impl ConfigReader {
    /// Creates a reader that compares new configurations with `in_force`, the active one.
    pub fn new(place: ConfigPlace, in_force: Loaded, services: Services, telemetry: Telemetry) -> Self {
        Self { place, services, telemetry, in_force: Arc::new(Mutex::new(in_force)) }
    }

    /// The active settings.
    pub fn settings(&self) -> Settings {
        self.in_force().settings.clone()
    }

    fn in_force(&self) -> MutexGuard<'_, Loaded> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the configuration and returns it with the paths of the changed settings. Refuses a change that needs a
    /// restart.
    async fn read(&self) -> Result<(Loaded, Vec<String>), ConfigRefused> {
        let place = self.place.clone();
        let loading = tokio::task::spawn_blocking(move || place.load());
        let loaded = loading.await.map_err(|error| refused([format!("reading failed: {error}")]))?;
        let fresh = loaded.map_err(|problems| refused(problems.0.iter().map(ToString::to_string)))?;
        let in_force = self.in_force();
        if let (Some(file), None) = (&in_force.origin, &fresh.origin) {
            // An editor may be replacing the file. A deleted file does not mean that the defaults are wanted.
            return Err(refused([format!("{} is gone", file.display())]));
        }
        let changed = fresh.changed_since(&in_force);
        let problems = changed.iter().filter_map(|key| {
            let reason = key.needs_restart()?;
            Some(format!("{}: {}: a change needs a restart: {reason}", fresh.place(&key.path), key.path))
        });
        let problems: Vec<String> = problems.collect();
        if problems.is_empty() {
            Ok((fresh.clone(), changed.iter().map(|key| key.path.clone()).collect()))
        } else {
            Err(refused(problems))
        }
    }
}

#[async_trait]
impl ConfigSource for ConfigReader {
    async fn prepare(&self) -> Result<PreparedConfig, ConfigRefused> {
        let (fresh, changed) = self.read().await?;
        let exchange = self.services.rebuild(&self.settings(), &fresh.settings, &changed).await.map_err(refused)?;
        let (in_force, telemetry) = (self.in_force.clone(), self.telemetry.clone());
        let settings = fresh.settings.actor_settings();
        let install = move || {
            exchange.install();
            if let Err(error) = telemetry.set_level(&fresh.settings.log.level) {
                // The level is valid, so this fails only if logging has ended.
                tracing::error!(%error, "the log level was not changed");
            }
            *in_force.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        };
        Ok(PreparedConfig { settings, changed, install: Box::new(install) })
    }

    fn drain_deadline(&self) -> Duration {
        Duration::from_millis(self.in_force().settings.worker.drain_deadline_ms)
    }
}

fn refused(problems: impl IntoIterator<Item = String>) -> ConfigRefused {
    ConfigRefused { problems: problems.into_iter().collect() }
}

/// The configuration source of a worker that cannot reload.
pub struct NothingToReload {
    /// The deadline of a drain.
    pub drain_deadline: Duration,
}

#[async_trait]
impl ConfigSource for NothingToReload {
    async fn prepare(&self) -> Result<PreparedConfig, ConfigRefused> {
        Err(refused(["this worker cannot reload its configuration".to_owned()]))
    }

    fn drain_deadline(&self) -> Duration {
        self.drain_deadline
    }
}
