// Upstream: cargo
// Downstream: many
// Role: Tests that a new login reaches every Kafka client that a worker keeps, at a broker that only hears logins.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Context, Handler};
use actors::ports::{CommandFeed, OrderFeed, OrderReceived};
use kit::wait::wait_until;
use rdkafka::consumer::{BaseConsumer, DefaultConsumerContext};

use crate::adapters::kafka::clients::{KafkaClients, SharedClient};
use crate::adapters::kafka::consumer_tests::receiver;
use crate::adapters::kafka::feed_shared::lock;
use crate::adapters::kafka::{KafkaFeed, KafkaOrders, KafkaOutbox};
use crate::config::{KafkaSaslSection, KafkaSection, KafkaSecuritySection, SecurityProtocol};

const TIMEOUT: Duration = Duration::from_secs(30);

/// The last login of each client id, as `user:password`.
type Logins = Arc<Mutex<BTreeMap<String, String>>>;

/// Hears the logins of all clients and closes their connections, so that they log in again and again.
fn listen() -> (u16, Logins) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let logins = Logins::default();
    let heard = logins.clone();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let heard = heard.clone();
            std::thread::spawn(move || hear(connection, &heard));
        }
    });
    (port, logins)
}

/// One connection: the client asks for the requests that exist (ApiVersions, in its flexible version 3), names its
/// mechanism (SaslHandshake, version 0), then sends its login.
fn hear(mut connection: TcpStream, heard: &Logins) -> Option<()> {
    // ApiVersions and SaslHandshake with their lowest and highest versions, between error and throttle time.
    const VERSIONS: [u8; 22] = [0, 0, 3, 0, 18, 0, 0, 0, 3, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const MECHANISMS: [u8; 13] = [0, 0, 0, 0, 0, 1, 0, 5, b'P', b'L', b'A', b'I', b'N'];
    loop {
        // Key and version of the request, two bytes each, its number (four bytes), and the client id after its length.
        let request = frame(&mut connection)?;
        let (is_handshake, number) = (request.get(..2)? == [0, 17], request.get(4..8)?);
        let body = if is_handshake { &MECHANISMS[..] } else { &VERSIONS[..] };
        let length = u32::try_from(number.len() + body.len()).ok()?.to_be_bytes();
        connection.write_all(&[&length, number, body].concat()).ok()?;
        if is_handshake {
            let length = usize::from(u16::from_be_bytes(request.get(8..10)?.try_into().ok()?));
            let id = String::from_utf8_lossy(request.get(10..10 + length)?).into_owned();
            let login = String::from_utf8_lossy(&frame(&mut connection)?).into_owned();
            lock(heard).insert(id, login.trim_start_matches('\0').replace('\0', ":"));
            return Some(());
        }
    }
}

/// What follows its length in four bytes.
fn frame(connection: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    connection.read_exact(&mut length).ok()?;
    let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).ok()?];
    connection.read_exact(&mut frame).ok()?;
    Some(frame)
}

fn login(user: &str, password: &str) -> KafkaSaslSection {
    let password = Some(password.to_owned().into());
    KafkaSaslSection { user: user.to_owned(), password, ..KafkaSaslSection::default() }
}

fn section(port: u16) -> KafkaSection {
    let properties = ["reconnect.backoff.ms=20", "reconnect.backoff.max.ms=100"];
    KafkaSection {
        host: "127.0.0.1".to_owned(),
        port,
        properties: properties.map(str::to_owned).into(),
        security: KafkaSecuritySection { protocol: SecurityProtocol::SaslPlaintext },
        sasl: login("old", "first"),
        ..KafkaSection::default()
    }
}

fn wait_for_logins(heard: &Logins, ids: &[&str], login: &str) {
    for id in ids {
        wait_until(&format!("{id} logs in as {login}"), TIMEOUT, || {
            lock(heard).get(*id).is_some_and(|found| found == login)
        });
    }
}

/// Ignores operator orders.
struct Nobody;

impl Actor for Nobody {
    type Context = Context<Self>;
}

impl Handler<OrderReceived> for Nobody {
    type Result = ();
    fn handle(&mut self, _: OrderReceived, _: &mut Self::Context) {}
}

#[actix_rt::test]
async fn a_new_login_reaches_every_client_of_a_worker() {
    let (port, heard) = listen();
    let clients = KafkaClients::new(&section(port));
    // Consumer and producer have the id of the worker, so the producer is another one's here.
    let _outbox = KafkaOutbox::new(&clients, "outbox").unwrap();
    let orders = KafkaOrders::new(clients.clone(), "n");
    orders.start(Nobody.start().recipient()).unwrap();
    let feed = KafkaFeed::new(clients.clone(), "n", orders.fault());
    feed.start(receiver()).unwrap();
    let ids = ["n", "n.membership", "n.topics", "n.orders", "outbox"];
    wait_for_logins(&heard, &ids, "old:first");
    clients.set_login(&login("new", "second"));
    wait_for_logins(&heard, &ids, "new:second");
    orders.close();
    // The consumer cannot reach its group, so it need not end in time.
    let _late = feed.close(Duration::from_millis(10)).await;
}

#[test]
fn a_client_made_later_has_the_new_login() {
    let (port, heard) = listen();
    let clients = KafkaClients::new(&section(port));
    clients.set_login(&login("new", "second"));
    let later: SharedClient<BaseConsumer> =
        clients.make("later", &[("group.id", "g")], DefaultConsumerContext).unwrap();
    wait_for_logins(&heard, &["later"], "new:second");
    assert_eq!(clients.num_clients(), 1);
    drop(later);
    assert_eq!(clients.num_clients(), 0, "a client that has ended is given nothing");
}
