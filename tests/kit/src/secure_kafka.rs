// Upstream: secure_stack, tests::it
// Downstream: certificates, services, wait
// Role: A private Apache Kafka with TLS and SASL listeners, which a test can restart.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};

use crate::certificates::{Authority, Identity, Validity};
use crate::services::{required, reserved_ports};
use crate::wait::wait_until;

/// User of the SASL listeners.
pub const USER: &str = "worker";

/// Password of [`USER`].
pub const PASSWORD: &str = "Kf-secret-1";

/// Kafka's class for a login by SCRAM.
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule required;";

/// A running broker; it is killed when it is dropped.
pub struct SecureKafka {
    child: Child,
    properties: PathBuf,
    /// Plain text, for the test itself.
    pub plain: u16,
    /// TLS.
    pub ssl: u16,
    /// TLS with a client certificate.
    pub mutual: u16,
    /// TLS with SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN.
    pub sasl_ssl: u16,
    /// SCRAM-SHA-512 without TLS.
    pub sasl_plain: u16,
    /// TLS with an expired certificate.
    pub expired: u16,
    /// TLS with a certificate for another name.
    pub other_name: u16,
}

impl SecureKafka {
    /// Formats a broker in `folder`, starts it and waits for it. Certificates are made by `authority`.
    pub fn start(folder: &Path, authority: &Authority) -> Self {
        let ports: [u16; 8] = reserved_ports();
        let properties = folder.join("kafka.properties");
        std::fs::write(&properties, settings(folder, authority, &ports)).expect("the broker's properties");
        let scram = |mechanism: &str| format!("{mechanism}=[name={USER},password={PASSWORD}]");
        let formatted = java()
            .args(["kafka.tools.StorageTool", "format", "--standalone", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c"])
            .arg(&properties)
            .args(["--add-scram", &scram("SCRAM-SHA-512"), "--add-scram", &scram("SCRAM-SHA-256")])
            .output()
            .expect("java");
        assert!(formatted.status.success(), "{}", String::from_utf8_lossy(&formatted.stderr));
        let child = run(&properties);
        let broker = Self {
            child,
            properties,
            plain: ports[0],
            ssl: ports[1],
            mutual: ports[2],
            sasl_ssl: ports[3],
            sasl_plain: ports[4],
            expired: ports[5],
            other_name: ports[6],
        };
        broker.wait_until_it_answers();
        broker
    }

    /// Kills it and starts it again with the same data and ports.
    pub fn restart(&mut self) {
        self.end();
        self.child = run(&self.properties);
        self.wait_until_it_answers();
    }

    /// Creates a user of SCRAM-SHA-512, or gives it a new password. Its connections stay.
    pub fn set_password(&self, user: &str, password: &str) {
        let mut tool = java();
        tool.args(["kafka.admin.ConfigCommand", "--bootstrap-server", &self.address(), "--alter"]);
        tool.args(["--entity-type", "users", "--entity-name", user]);
        let altered = tool.args(["--add-config", &format!("SCRAM-SHA-512=[password={password}]")]);
        let altered = altered.output().expect("java");
        assert!(altered.status.success(), "{}", String::from_utf8_lossy(&altered.stderr));
    }

    /// The address of the plain listener.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.plain)
    }

    fn wait_until_it_answers(&self) {
        let client: BaseProducer =
            ClientConfig::new().set("bootstrap.servers", self.address()).create().expect("a client");
        wait_until("the private Kafka answers", Duration::from_secs(60), || {
            client.client().fetch_metadata(None, Duration::from_secs(2)).is_ok_and(|found| !found.brokers().is_empty())
        });
    }

    fn end(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _killed = self.child.kill();
            let _ended = self.child.wait();
        }
    }
}

impl Drop for SecureKafka {
    fn drop(&mut self) {
        self.end();
    }
}

fn java() -> Command {
    let mut java = Command::new("java");
    java.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=WARN", "-cp"]);
    java.arg(format!("{}/*", required("TEST_KAFKA_JARS")));
    java
}

fn run(properties: &Path) -> Child {
    let log = std::fs::File::create(properties.with_extension("log")).expect("a log file");
    let mut broker = java();
    broker.arg("kafka.Kafka").arg(properties).stdout(log.try_clone().expect("a second handle")).stderr(log);
    broker.stdin(Stdio::null()).spawn().expect("java")
}

fn settings(folder: &Path, authority: &Authority, ports: &[u16]) -> String {
    let names = ["PLAIN", "TLS", "MUTUAL", "SASLTLS", "SASLPLAIN", "EXPIRED", "OTHER", "CONTROLLER"];
    let protocols = ["PLAINTEXT", "SSL", "SSL", "SASL_SSL", "SASL_PLAINTEXT", "SSL", "SSL", "PLAINTEXT"];
    let addresses: Vec<String> =
        names.iter().zip(ports).map(|(name, port)| format!("{name}://127.0.0.1:{port}")).collect();
    let map: Vec<String> = names.iter().zip(protocols).map(|(name, protocol)| format!("{name}:{protocol}")).collect();
    let mut text = format!(
        "process.roles=broker,controller\nnode.id=1\nlisteners={addresses}\nadvertised.listeners={addresses}\n\
         listener.security.protocol.map={map}\ncontroller.listener.names=CONTROLLER\n\
         inter.broker.listener.name=PLAIN\ncontroller.quorum.bootstrap.servers=127.0.0.1:{controller}\n\
         log.dirs={logs}\nauto.create.topics.enable=false\noffsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=4\ntransaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\ntransaction.state.log.num.partitions=4\n\
         share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\ngroup.min.session.timeout.ms=1000\n\
         log.cleaner.dedupe.buffer.size=8388608\n",
        addresses = addresses.join(","),
        map = map.join(","),
        controller = ports[7],
        logs = folder.join("kafka-data").display(),
    );
    let good = authority.server("kafka", Validity::NOW);
    let expired = authority.server("kafka-expired", Validity::EXPIRED);
    let other = authority.server_for("kafka-other", &["elsewhere.example"]);
    for (listener, identity) in
        [("tls", &good), ("mutual", &good), ("sasltls", &good), ("expired", &expired), ("other", &other)]
    {
        text.push_str(&tls(listener, identity, authority));
    }
    text.push_str("listener.name.mutual.ssl.client.auth=required\n");
    for listener in ["sasltls", "saslplain"] {
        text.push_str(&format!(
            "listener.name.{listener}.sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN\n\
             listener.name.{listener}.scram-sha-512.sasl.jaas.config={SCRAM}\n\
             listener.name.{listener}.scram-sha-256.sasl.jaas.config={SCRAM}\n\
             listener.name.{listener}.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";\n"
        ));
    }
    text
}

fn tls(listener: &str, identity: &Identity, authority: &Authority) -> String {
    let begin = format!("listener.name.{listener}.ssl");
    format!(
        "{begin}.keystore.type=PEM\n{begin}.keystore.location={}\n{begin}.truststore.type=PEM\n\
         {begin}.truststore.location={}\n",
        identity.both.display(),
        authority.ca_file.display()
    )
}
