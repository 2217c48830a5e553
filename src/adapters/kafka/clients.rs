// Upstream: many
// Downstream: client_config, config, feed_shared
// Role: Makes the Kafka clients of one process and gives a new login to all that exist.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use rdkafka::admin::AdminClient;
use rdkafka::bindings as raw;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaResult;
use rdkafka::producer::{BaseProducer, FutureProducer, Producer, ProducerContext};
use secrecy::ExposeSecret;

use crate::adapters::kafka::client_config::client_config;
use crate::adapters::kafka::feed_shared::lock;
use crate::config::{KafkaSaslSection, KafkaSection};

/// Makes the Kafka clients of one process. All log in as the same user.
///
/// A new login reaches every client that was made here and still exists, and all that are made later. A client uses it
/// for its next connection; connections that exist stay.
pub struct KafkaClients {
    section: KafkaSection,
    in_force: Mutex<InForce>,
}

/// The login in force and the clients that have it. Both change under one lock, so no client is left with an old login.
struct InForce {
    login: KafkaSaslSection,
    clients: BTreeMap<u64, Arc<dyn TakesLogin>>,
    num_made: u64,
}

impl KafkaClients {
    /// Clients for these settings. Makes none yet.
    pub fn new(section: &KafkaSection) -> Arc<Self> {
        let in_force = InForce { login: section.sasl.clone(), clients: BTreeMap::new(), num_made: 0 };
        Arc::new(Self { section: section.clone(), in_force: Mutex::new(in_force) })
    }

    /// The settings at the start. The login in force may be another one.
    pub fn section(&self) -> &KafkaSection {
        &self.section
    }

    /// The number of clients that get the next login.
    #[cfg(test)]
    pub(super) fn num_clients(&self) -> usize {
        lock(&self.in_force).clients.len()
    }

    /// Makes a client with what it needs itself in `own`. Fails only for settings that librdkafka rejects.
    pub fn make<T, C>(
        self: &Arc<Self>,
        client_id: &str,
        own: &[(&str, &str)],
        context: C,
    ) -> KafkaResult<SharedClient<T>>
    where
        T: FromClientConfigAndContext<C> + TakesLogin,
        C: ClientContext,
    {
        let mut in_force = lock(&self.in_force);
        let section = KafkaSection { sasl: in_force.login.clone(), ..self.section.clone() };
        let client: T = client_config(&section, client_id, own).create_with_context(context)?;
        let client = Arc::new(client);
        let number = in_force.num_made;
        in_force.num_made += 1;
        in_force.clients.insert(number, client.clone());
        Ok(SharedClient { client, number, clients: self.clone() })
    }

    /// Gives all clients a new user and password.
    pub fn set_login(&self, login: &KafkaSaslSection) {
        let mut in_force = lock(&self.in_force);
        in_force.login = login.clone();
        let password = login.password.as_ref().map(|password| password.expose_secret()).unwrap_or_default();
        // A text with a zero byte is no login: the client that tried it was not created.
        let (Ok(user), Ok(password)) = (CString::new(login.user.as_str()), CString::new(password)) else { return };
        for client in in_force.clients.values() {
            if let Err(reason) = client.take_login(&user, &password) {
                tracing::error!(reason, "a Kafka client does not take the new login");
            }
        }
        tracing::info!(user = login.user, clients = in_force.clients.len(), "the Kafka clients have a new login");
    }
}

/// A client that is given each new login as long as it exists. Only its owner ends it.
pub struct SharedClient<T> {
    client: Arc<T>,
    number: u64,
    clients: Arc<KafkaClients>,
}

impl<T> Deref for SharedClient<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.client
    }
}

impl<T> Drop for SharedClient<T> {
    fn drop(&mut self) {
        // The other reference. The client itself ends after this, without the lock: that may take as long as a broker
        // needs to answer.
        lock(&self.clients.in_force).clients.remove(&self.number);
    }
}

/// A client whose login can be changed.
pub trait TakesLogin: Send + Sync + 'static {
    /// Sets user and password for the next login. Does not wait for it.
    fn take_login(&self, user: &CStr, password: &CStr) -> Result<(), String>;
}

impl<C: ConsumerContext + 'static> TakesLogin for BaseConsumer<C> {
    fn take_login(&self, user: &CStr, password: &CStr) -> Result<(), String> {
        set_credentials(self.client(), user, password)
    }
}

impl<C: ProducerContext + 'static> TakesLogin for BaseProducer<C> {
    fn take_login(&self, user: &CStr, password: &CStr) -> Result<(), String> {
        set_credentials(self.client(), user, password)
    }
}

impl<C: ClientContext + 'static> TakesLogin for FutureProducer<C> {
    fn take_login(&self, user: &CStr, password: &CStr) -> Result<(), String> {
        set_credentials(self.client(), user, password)
    }
}

impl<C: ClientContext + 'static> TakesLogin for AdminClient<C> {
    fn take_login(&self, user: &CStr, password: &CStr) -> Result<(), String> {
        set_credentials(self.inner(), user, password)
    }
}

#[allow(unsafe_code, reason = "rdkafka has no safe call for the credentials of a client")]
fn set_credentials<C: ClientContext>(client: &Client<C>, user: &CStr, password: &CStr) -> Result<(), String> {
    // SAFETY: the handle is valid as long as `client` is borrowed, and the call may come from any thread. librdkafka
    // copies the texts. The error, if any, belongs to this function, and its text is copied before it is destroyed.
    unsafe {
        let error = raw::rd_kafka_sasl_set_credentials(client.native_ptr(), user.as_ptr(), password.as_ptr());
        if error.is_null() {
            return Ok(());
        }
        let reason = CStr::from_ptr(raw::rd_kafka_error_string(error)).to_string_lossy().into_owned();
        raw::rd_kafka_error_destroy(error);
        Err(reason)
    }
}
