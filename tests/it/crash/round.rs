// Upstream: crash
// Downstream: many
// Role: One round: workers, two waves of commands under faults, and the checks after each.

use std::time::{Duration, Instant};

use kit::proxy::Proxy;
use kit::random::Random;
use kit::scene::{Scene, TIMEOUT};
use kit::tushare_server::{Fault as VendorFault, FaultDuration};
use kit::wait::wait_until;
use kit::worker::Worker;

use crate::crash::content::Content;
use crate::crash::faults::{Fault, Plan, Slow, Step, Trigger, WORKERS};
use crate::crash::market::Market;
use crate::crash::servers::{Proxies, Server};
use crate::crash::watcher::Watcher;
use crate::main_job::PROGRAM;

/// A fault comes after this time even if the work is done or stands still.
const LONGEST_WAIT: Duration = Duration::from_millis(1_500);

/// Where a table does not deduplicate, an INSERT whose connection broke may end after the rows were inserted again and
/// looked at. Its copies stay until the range is written again. To be false as soon as the worker waits for its end.
const LATE_INSERTS_LEAVE_COPIES: bool = true;

/// A scene with its workers.
pub struct Round {
    scene: Scene,
    market: Market,
    /// Only one scene at a time has them: the broker advertises one address of a proxy.
    proxies: Option<Proxies>,
    workers: [Worker; WORKERS],
    random: Random,
    /// Whether bars and factors are in tables that do not deduplicate INSERTs.
    is_plain: bool,
    num_kills: u32,
    /// When the last slow statement ends at the latest.
    slow_until: Instant,
}

fn node(worker: usize) -> String {
    format!("n{}", worker + 1)
}

impl Round {
    /// Creates the scene and starts the workers.
    pub fn begin(name: &str, has_proxies: bool, mut random: Random) -> Self {
        let (mut market, data) = Market::new();
        let mut scene = Scene::new(name, PROGRAM, data);
        kit::mysql::Tables::create(&scene.name);
        market.serve_ticks(&mut scene);
        let proxies = has_proxies.then(|| Proxies::before(&mut scene));
        // Without the memory of INSERTs that the worker's own tables have.
        let is_plain = random.below(2) == 0;
        if is_plain {
            scene.database.create_bar("bar", "MergeTree ORDER BY (code, timestamp)");
            scene.database.create_factors();
        }
        scene.set("fetch.max_in_flight", 4).set("fetch.max_codes_per_command", 8);
        scene.set("batch.max_rows", 400).set("batch.min_rows", 100);
        scene.set("batch.first_retry_delay_ms", 50).set("batch.max_retry_delay_ms", 500);
        scene.set("kafka.session_timeout_ms", 2_000).set("kafka.rebalance_drain_ms", 1_000);
        scene.set("clickhouse.timeout_ms", 3_000).set("mysql.timeout_ms", 3_000).set("heartbeat.interval_ms", 500);
        scene.source.set_fault(VendorFault::Slow(Duration::from_millis(15)), FaultDuration::UntilCleared);
        let workers = std::array::from_fn(|worker| scene.start(&node(worker)));
        (0..WORKERS).for_each(|worker| scene.wait_for_status(&node(worker), "running"));
        Self { scene, market, proxies, workers, random, is_plain, num_kills: 0, slow_until: Instant::now() }
    }

    /// Runs the waves and all checks; returns a summary.
    pub fn run(mut self, plan: &Plan) -> String {
        let watcher = Watcher::of(&self.scene, self.market.tick_codes());
        let first = self.market.answer(&self.scene.source);
        let commands = self.market.first_commands(&mut self.random);
        self.wave(&commands, &plan.waves[0]);
        let mut copies = self.stored().assert_complete(&[&first]);
        self.assert_no_copies(&copies);

        self.market.correct(&self.scene.source);
        let second = self.market.answer(&self.scene.source);
        let commands = self.market.second_commands(&mut self.random);
        self.wave(&commands, &plan.waves[1]);
        copies.extend(self.stored().assert_complete(&[&first, &second]));
        self.assert_no_copies(&copies);

        self.end_faults();
        self.wave(&self.market.last_commands(), &[]);
        self.stored().assert_equals(&second);
        let num_looks = watcher.end();
        self.end();
        let steps: usize = plan.waves.iter().map(Vec::len).sum();
        let broken = self.proxies.iter().map(Proxies::num_broken).sum::<u64>();
        let copies = if copies.is_empty() { "none".to_owned() } else { copies.join("; ") };
        format!(
            "{steps} faults, {} kills, {broken} connections broken, {} requests, {num_looks} looks, plain tables {}, \
             copies on the way: {copies}",
            self.num_kills,
            self.scene.source.requests(),
            self.is_plain,
        )
    }

    /// A worker that died before it looked for copies may leave them until the range is written again. Others may not.
    fn assert_no_copies(&self, copies: &[String]) {
        let is_excused = self.num_kills > 0 || self.is_plain && LATE_INSERTS_LEAVE_COPIES;
        assert!(is_excused || copies.is_empty(), "{copies:?}");
    }

    fn stored(&self) -> Content {
        Content::stored(&self.scene, self.market.tick_codes())
    }

    /// Sends commands, injects faults, and waits until all commands are resolved.
    fn wave(&mut self, commands: &[Vec<u8>], steps: &[Step]) {
        // Some commands before each fault, so that no fault meets idle workers.
        for (n, chunk) in commands.chunks(commands.len().div_ceil(steps.len().max(1))).enumerate() {
            self.scene.send(chunk);
            if let Some(step) = steps.get(n) {
                self.step(step);
            }
        }
        self.scene.wait_until_all_is_committed();
        // A statement of a worker that is gone may still be under way.
        wait_until("the end of slow statements", TIMEOUT, || Instant::now() >= self.slow_until);
        let letters = self.scene.dead_letters();
        assert!(
            letters.is_empty(),
            "dead letters: {:?}",
            letters.iter().map(|letter| &letter.headers).collect::<Vec<_>>()
        );
        for worker in &mut self.workers {
            assert!(worker.is_running(), "a worker ended by itself");
        }
    }

    /// Ends the faults that nothing has met.
    fn end_faults(&self) {
        self.proxies.iter().for_each(Proxies::heal);
        for kind in ["insert", "delete", "select"] {
            self.scene.database.fault(&format!("kind={kind}&mode=delay"), 0);
        }
    }

    fn step(&mut self, step: &Step) {
        if let Some(Slow { kind, by, count }) = step.slow {
            self.scene.database.fault(&format!("kind={kind}&mode=delay&ms={}", by.as_millis()), count);
        }
        self.wait_for(step.trigger);
        if let Some(Slow { by, count, .. }) = step.slow {
            self.slow_until = Instant::now() + by * count + Duration::from_millis(500);
        }
        self.inject(step.fault);
    }

    /// Waits until the trigger, or for a while: the work may be done already.
    fn wait_for(&self, trigger: Trigger) {
        let begun = Instant::now();
        let count = || match trigger {
            Trigger::Requests(_) => self.scene.source.requests(),
            Trigger::Statements(kind, _) => self.scene.database.statements()[kind],
            Trigger::After(_) => 0,
        };
        let before = count();
        wait_until("the moment of a fault", TIMEOUT, || {
            let is_due = match trigger {
                Trigger::Requests(more) | Trigger::Statements(_, more) => count() >= before + more,
                Trigger::After(time) => begun.elapsed() >= time,
            };
            is_due || begun.elapsed() >= LONGEST_WAIT
        });
    }

    fn inject(&mut self, fault: Fault) {
        match fault {
            Fault::Kill { worker, away } => {
                self.kill(worker);
                passes(away);
                self.start(worker);
            }
            Fault::KillAll => {
                (0..WORKERS).for_each(|worker| self.kill(worker));
                (0..WORKERS).for_each(|worker| self.start(worker));
            }
            Fault::Pause { worker, lasting } => {
                self.workers[worker].signal("STOP");
                passes(lasting);
                self.workers[worker].signal("CONT");
            }
            Fault::Terminate { worker } => {
                wait_until("the program has begun", TIMEOUT, || self.workers[worker].has_begun());
                self.workers[worker].terminate();
                let status = self.workers[worker].wait(TIMEOUT);
                assert_eq!(status.code(), Some(0), "{} drains", node(worker));
                self.start(worker);
            }
            Fault::Reset(server) => self.proxy(server).reset(),
            Fault::Stall(server, lasting) => {
                self.proxy(server).stall(true);
                passes(lasting);
                self.proxy(server).stall(false);
            }
            Fault::Refuse(server, lasting) => {
                self.proxy(server).refuse(true);
                passes(lasting);
                self.proxy(server).refuse(false);
            }
            Fault::Cut { server, direction, after, times } => self.proxy(server).cut(direction, after, times),
        }
    }

    fn proxy(&self, server: Server) -> &Proxy {
        self.proxies.as_ref().unwrap().of(server)
    }

    fn kill(&mut self, worker: usize) {
        assert!(self.workers[worker].is_running(), "{} ended by itself", node(worker));
        self.workers[worker].kill();
        self.num_kills += 1;
    }

    fn start(&mut self, worker: usize) {
        self.workers[worker] = self.scene.start(&node(worker));
    }

    /// Stops the workers and removes what they wrote.
    fn end(&mut self) {
        for worker in &self.workers {
            worker.terminate();
        }
        for (n, worker) in self.workers.iter_mut().enumerate() {
            assert_eq!(worker.wait(TIMEOUT).code(), Some(0), "{} drains", node(n));
        }
        self.scene.remove();
    }
}

/// Waits for a time that is part of a fault.
fn passes(time: Duration) {
    let begun = Instant::now();
    wait_until("a fault lasts its time", TIMEOUT, || begun.elapsed() >= time);
}
