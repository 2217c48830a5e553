// Upstream: clients_tests
// Downstream: many
// Role: The consumer thread and its callbacks, on librdkafka's in-process cluster and without one.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler};
use actors::domain::{RawCommand, TraceIds};
use actors::ports::{
    CommandReceived, CommandReceiver, Delivery, IntakeGate, IntakePause, LogBroken, PartitionsWithdrawn,
};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::adapters::kafka::clients::KafkaClients;
use crate::adapters::kafka::consumer_client::ConsumerClients;
use crate::adapters::kafka::consumer_loop::ConsumerLoop;
use crate::adapters::kafka::feed::spawn_consumer;
use crate::adapters::kafka::feed_figures::FeedFigures;
use crate::adapters::kafka::feed_shared::{FeedShared, lock};
use crate::adapters::kafka::intake::{FeedEvent, Intake, PartitionKey, ReadFrom};
use crate::adapters::kafka::membership_watch::MembershipWatch;
use crate::adapters::kafka::reading_watch::ReadingWatch;
use crate::config::KafkaSection;

const TOPIC: &str = "commands";
const TIMEOUT: Duration = Duration::from_secs(30);

/// Takes the router's place: keeps every delivery, and counts withdrawals.
#[derive(Default)]
struct Router {
    deliveries: Arc<Mutex<Vec<Delivery>>>,
    withdrawals: Arc<Mutex<u32>>,
    breaks: Arc<Mutex<Vec<String>>>,
}

impl Actor for Router {
    type Context = Context<Self>;
}

impl Handler<CommandReceived> for Router {
    type Result = ();
    fn handle(&mut self, message: CommandReceived, _: &mut Self::Context) {
        self.deliveries.lock().unwrap().push(message.0);
    }
}

impl Handler<PartitionsWithdrawn> for Router {
    type Result = ();
    fn handle(&mut self, _: PartitionsWithdrawn, _: &mut Self::Context) {
        *self.withdrawals.lock().unwrap() += 1;
    }
}

impl Handler<LogBroken> for Router {
    type Result = ();
    fn handle(&mut self, message: LogBroken, _: &mut Self::Context) {
        self.breaks.lock().unwrap().push(message.reason);
    }
}

/// The shared state of a feed whose commands `deliveries` receives.
struct Feed {
    shared: Arc<FeedShared>,
    events: UnboundedSender<FeedEvent>,
    receiving: Option<UnboundedReceiver<FeedEvent>>,
    gate: IntakeGate,
    deliveries: Arc<Mutex<Vec<Delivery>>>,
    withdrawals: Arc<Mutex<u32>>,
}

/// A receiver of commands that keeps them.
pub(super) fn receiver() -> CommandReceiver {
    receiver_of(Router::default(), IntakeGate::default())
}

fn receiver_of(router: Router, gate: IntakeGate) -> CommandReceiver {
    let address = router.start();
    CommandReceiver {
        commands: address.clone().recipient(),
        withdrawals: address.clone().recipient(),
        breaks: address.recipient(),
        gate,
    }
}

fn feed() -> Feed {
    let router = Router::default();
    let (deliveries, withdrawals) = (router.deliveries.clone(), router.withdrawals.clone());
    let gate = IntakeGate::default();
    let receiver = receiver_of(router, gate.clone());
    let (events, receiving) = unbounded_channel();
    let shared = Arc::new(FeedShared::new(Intake::new(events.clone()), receiver));
    Feed { shared, events, receiving: Some(receiving), gate, deliveries, withdrawals }
}

impl Feed {
    /// The consumer that reads for this feed.
    fn consumer(&mut self, config: KafkaSection, figures: &Arc<FeedFigures>) -> ConsumerLoop<ConsumerClients> {
        let clients = ConsumerClients::new(KafkaClients::new(&config), "node", self.shared.clone());
        let receiving = self.receiving.take().unwrap();
        ConsumerLoop::new(config, clients, receiving, self.shared.clone(), figures.clone())
    }
}

fn key() -> PartitionKey {
    (TOPIC.into(), 0)
}

fn command(offset: i64) -> RawCommand {
    RawCommand {
        topic: TOPIC.into(),
        partition: 0,
        offset,
        key: None,
        payload: Vec::new(),
        timestamp_ms: None,
        replay: None,
        trace: TraceIds::default(),
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {TIMEOUT:?}: {what}");
        actix_rt::time::sleep(Duration::from_millis(5)).await;
    }
}

#[actix_rt::test]
async fn a_drain_ends_with_the_last_command_in_hand() {
    let mut feed = feed();
    let mut consumer = feed.consumer(KafkaSection::default(), &Arc::default());
    lock(&feed.shared.intake).assign(key(), ReadFrom::Beginning);
    let take = |offset| lock(&feed.shared.intake).take(command(offset)).delivery().unwrap();
    let (first, second) = (take(0), take(1));
    first.resolve();
    // Returned work does not hold up a rebalance either.
    drop(second);
    consumer.drain(&[key()], TIMEOUT).await;
    assert_eq!(lock(&feed.shared.intake).num_in_hand(&[key()]), 0);
    assert_eq!(lock(&feed.shared.intake).positions(&[key()]), [(key(), 1)]);
    until("the router is notified", || *feed.withdrawals.lock().unwrap() == 1).await;
}

#[actix_rt::test]
async fn a_drain_ends_at_its_deadline() {
    let mut feed = feed();
    let mut consumer = feed.consumer(KafkaSection::default(), &Arc::default());
    lock(&feed.shared.intake).assign(key(), ReadFrom::Beginning);
    let in_hand = lock(&feed.shared.intake).take(command(0)).delivery().unwrap();
    consumer.drain(&[key()], Duration::from_millis(20)).await;
    assert_eq!(lock(&feed.shared.intake).num_in_hand(&[key()]), 1);
    assert!(!in_hand.assignment().is_held(), "no new work of it may begin");
}

/// A cluster with records, and the consumer thread that reads them.
struct Running {
    feed: Feed,
    figures: Arc<FeedFigures>,
    config: KafkaSection,
    thread: Option<std::thread::JoinHandle<()>>,
    _cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Running {
    async fn start(num_records: usize, max_unresolved: usize) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 1, 1).unwrap();
        let address = cluster.bootstrap_servers();
        let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", &address).create().unwrap();
        for number in 0..num_records {
            let payload = number.to_string();
            producer.send(FutureRecord::<(), str>::to(TOPIC).payload(&payload), TIMEOUT).await.unwrap();
        }
        let (host, port) = address.rsplit_once(':').unwrap();
        let config = KafkaSection {
            host: host.to_owned(),
            port: port.parse().unwrap(),
            group_id: "group".to_owned(),
            command_topics: vec![TOPIC.to_owned()],
            commit_interval_ms: 100,
            rebalance_drain_ms: 200,
            session_timeout_ms: 8_000,
            max_unresolved,
            ..KafkaSection::default()
        };
        let (mut feed, figures) = (feed(), Arc::new(FeedFigures::default()));
        let thread = Some(spawn_consumer(feed.consumer(config.clone(), &figures)).unwrap());
        Self { feed, figures, config, thread, _cluster: cluster }
    }

    fn payloads(&self) -> Vec<String> {
        let text = |delivery: &Delivery| String::from_utf8(delivery.command().payload.clone()).unwrap();
        self.feed.deliveries.lock().unwrap().iter().map(text).collect()
    }

    fn resolve_all(&self) {
        self.feed.deliveries.lock().unwrap().drain(..).for_each(Delivery::resolve);
    }

    /// Resolves what arrives until `total` commands are resolved. Never more than `most` are in hand at once.
    async fn work_off(&self, total: usize, most: usize) {
        let resolved = std::cell::Cell::new(0);
        until("all records arrive", || {
            assert!(self.payloads().len() <= most, "{} commands in hand", self.payloads().len());
            resolved.set(resolved.get() + self.payloads().len());
            self.resolve_all();
            resolved.get() == total
        })
        .await;
    }

    async fn close(&mut self) {
        let (answer, closed) = tokio::sync::oneshot::channel();
        self.feed.events.send(FeedEvent::Close(answer)).unwrap();
        assert_eq!(closed.await.unwrap(), Ok(()));
        self.thread.take().unwrap().join().unwrap();
    }

    /// The committed offset of the group, as another client reads it.
    fn committed(&self) -> rdkafka::Offset {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.config.address())
            .set("group.id", &self.config.group_id)
            .create()
            .unwrap();
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition(TOPIC, 0);
        let committed = consumer.committed_offsets(list, TIMEOUT).unwrap();
        committed.elements()[0].offset()
    }
}

#[actix_rt::test]
async fn delivers_records_and_commits_resolved_ones() {
    let mut running = Running::start(5, 100).await;
    until("all records arrive", || running.payloads().len() == 5).await;
    assert_eq!(running.payloads(), ["0", "1", "2", "3", "4"]);
    // The third is not resolved: no offset may pass it.
    let open = running.feed.deliveries.lock().unwrap().remove(2);
    running.resolve_all();
    until("four are settled", || running.figures.num_unresolved.load(std::sync::atomic::Ordering::Acquire) == 1).await;
    running.close().await;
    assert_eq!(running.committed(), rdkafka::Offset::Offset(2));
    drop(open);
}

#[actix_rt::test]
async fn pauses_at_the_limit_and_resumes() {
    let mut running = Running::start(30, 8).await;
    until("the limit is reached", || running.payloads().len() >= 8).await;
    running.work_off(30, 8).await;
    running.close().await;
    assert_eq!(running.committed(), rdkafka::Offset::Offset(30));
}

#[actix_rt::test]
async fn partitions_lost_while_paused_are_read_again() {
    let mut running = Running::start(30, 8).await;
    until("consumption is paused", || running.feed.shared.is_paused.load(std::sync::atomic::Ordering::Acquire)).await;
    // None of the commands ends in time, so they come again.
    let lost = running.payloads().len();
    running.feed.events.send(FeedEvent::Rejoin).unwrap();
    until("the first record comes again", || running.payloads().iter().filter(|payload| *payload == "0").count() == 2)
        .await;
    running.feed.deliveries.lock().unwrap().drain(..lost).for_each(drop);
    running.work_off(30, 8).await;
    running.close().await;
    assert_eq!(running.committed(), rdkafka::Offset::Offset(30));
}

#[actix_rt::test]
async fn a_closed_gate_holds_records_back() {
    let mut running = Running::start(0, 100).await;
    until("the group is joined", || running.figures.joined.load(std::sync::atomic::Ordering::Acquire)).await;
    running.feed.gate.close(IntakePause::Paused);
    let address = running.config.address();
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", &address).create().unwrap();
    producer.send(FutureRecord::<(), str>::to(TOPIC).payload("late"), TIMEOUT).await.unwrap();
    running.feed.gate.open(IntakePause::Paused);
    until("the record arrives", || running.payloads() == ["late"]).await;
    running.resolve_all();
    running.close().await;
    assert_eq!(running.committed(), rdkafka::Offset::Offset(1));
}

#[actix_rt::test]
async fn redelivers_what_is_returned() {
    let mut running = Running::start(2, 100).await;
    until("both arrive", || running.payloads().len() == 2).await;
    let first = running.feed.deliveries.lock().unwrap().remove(0);
    drop(first);
    until("the first comes again", || running.payloads() == ["1", "0"]).await;
    running.resolve_all();
    running.close().await;
    assert_eq!(running.committed(), rdkafka::Offset::Offset(2));
}

#[actix_rt::test]
async fn a_broker_that_is_away_is_unknown_and_no_fault() {
    let mut feed = feed();
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let address = cluster.bootstrap_servers();
    let (host, port) = address.rsplit_once(':').unwrap();
    let config = KafkaSection {
        host: host.to_owned(),
        port: port.parse().unwrap(),
        command_topics: vec![TOPIC.to_owned()],
        session_timeout_ms: 400,
        ..KafkaSection::default()
    };
    let figures = Arc::new(FeedFigures::default());
    figures.joined.store(true, std::sync::atomic::Ordering::Release);
    let (shared, orders) = (feed.shared.clone(), feed.events.clone());
    let clients = KafkaClients::new(&config);
    let watch = MembershipWatch { clients, node_id: "n".to_owned(), shared, figures: figures.clone(), orders };
    let (watching, closed) = channel();
    let thread = std::thread::spawn(move || watch.run(&closed));
    cluster.broker_down(1).unwrap();
    until("the standing is unknown", || figures.membership().unknown.is_some()).await;
    assert_eq!(figures.membership().fault, None);
    cluster.broker_up(1).unwrap();
    until("the broker answers again", || figures.membership().unknown.is_none()).await;
    drop(watching);
    thread.join().unwrap();
    let receiving = feed.receiving.as_mut().unwrap();
    assert!(receiving.try_recv().is_err(), "nothing is done while nothing is known");
}

#[actix_rt::test]
async fn a_partition_without_a_leader_is_named_after_a_session() {
    let feed = feed();
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 2, 1).unwrap();
    let address = cluster.bootstrap_servers();
    let (host, port) = address.rsplit_once(':').unwrap();
    let config = KafkaSection {
        host: host.to_owned(),
        port: port.parse().unwrap(),
        session_timeout_ms: 400,
        ..KafkaSection::default()
    };
    for partition in 0..2 {
        lock(&feed.shared.intake).assign((TOPIC.into(), partition), ReadFrom::Beginning);
    }
    let mut watch = ReadingWatch::new(KafkaClients::new(&config), "n", feed.shared.clone());
    assert_eq!((watch.look(true), watch.look(true)), (None, None));
    cluster.partition_leader(TOPIC, 0, None).unwrap();
    let deadline = Instant::now() + TIMEOUT;
    let fault = loop {
        assert!(Instant::now() < deadline, "a fault within {TIMEOUT:?}");
        if let Some(fault) = watch.look(true) {
            break fault;
        }
    };
    assert!(fault.starts_with("commands[0] cannot be read: ") && !fault.contains("commands[1]"), "{fault}");
    assert_eq!(watch.look(false), None, "nothing is known of it while no broker answers");
    cluster.partition_leader(TOPIC, 0, Some(1)).unwrap();
    assert_eq!((watch.look(true), watch.look(true)), (None, None));
}
