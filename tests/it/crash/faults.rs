// Upstream: crash, round
// Downstream: kit, servers
// Role: The faults of a round, drawn from its seed: what happens, and at which progress of the work.

use std::time::Duration;

use kit::proxy::Direction;
use kit::random::Random;

use crate::crash::servers::Server;

/// The number of workers; they are members of one group.
pub const WORKERS: usize = 2;

/// The progress of the work at which a fault happens, counted from the fault before.
#[derive(Debug, Clone, Copy)]
pub enum Trigger {
    /// This many requests to the vendor.
    Requests(u64),
    /// This many statements of this kind (`insert`, `delete` or `select`) have reached ClickHouse.
    Statements(&'static str, u64),
    /// This time.
    After(Duration),
}

/// A slow ClickHouse: the next statements of a kind take this long, also when their sender is gone.
#[derive(Debug, Clone, Copy)]
pub struct Slow {
    pub kind: &'static str,
    pub by: Duration,
    pub count: u32,
}

/// What happens.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// SIGKILL for one worker; it starts again after this time.
    Kill { worker: usize, away: Duration },
    /// SIGKILL for all of them.
    KillAll,
    /// The worker stands still for this time, perhaps for longer than its session lasts.
    Pause { worker: usize, lasting: Duration },
    /// SIGTERM; the worker drains and starts again.
    Terminate { worker: usize },
    /// Every connection to the server is reset.
    Reset(Server),
    /// The server neither reads nor answers for this time.
    Stall(Server, Duration),
    /// The server resets all connections, also new ones, for this time.
    Refuse(Server, Duration),
    /// After so many bytes in this direction the connection ends; so several times.
    Cut { server: Server, direction: Direction, after: usize, times: usize },
}

/// A fault and its moment.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub slow: Option<Slow>,
    pub trigger: Trigger,
    pub fault: Fault,
}

/// The faults of a round, by wave of commands.
#[derive(Debug)]
pub struct Plan {
    pub waves: [Vec<Step>; 2],
}

fn millis(random: &mut Random, most: usize) -> Duration {
    Duration::from_millis(random.below(most) as u64)
}

impl Plan {
    /// Workers die, stand still and stop.
    pub fn of_kills(random: &mut Random) -> Self {
        Self::of(random, |random| {
            let worker = random.below(WORKERS);
            match random.below(10) {
                0..6 => {
                    // At once, before the session ends, or after it: the other worker has taken over.
                    let away = [0, 0, 400, 2_500];
                    Fault::Kill { worker, away: Duration::from_millis(random.one_of(&away)) }
                }
                6 => Fault::KillAll,
                7 | 8 => Fault::Pause { worker, lasting: millis(random, 3_000) },
                _ => Fault::Terminate { worker },
            }
        })
    }

    /// Connections to the four servers break.
    pub fn of_connections(random: &mut Random) -> Self {
        Self::of(random, |random| {
            // Half of the faults are of the store, where most of the work is.
            let servers = [
                Server::ClickHouse,
                Server::ClickHouse,
                Server::ClickHouse,
                Server::Kafka,
                Server::MySql,
                Server::Redis,
            ];
            let server = random.one_of(&servers);
            match random.below(5) {
                0 => Fault::Reset(server),
                1 => Fault::Stall(server, millis(random, 3_500)),
                2 => Fault::Refuse(server, millis(random, 2_000)),
                _ => Fault::Cut {
                    server,
                    direction: random.one_of(&[Direction::ToServer, Direction::ToClient]),
                    after: 1 << random.below(16),
                    times: 1 + random.below(3),
                },
            }
        })
    }

    fn of(random: &mut Random, mut fault: impl FnMut(&mut Random) -> Fault) -> Self {
        // Only the second wave replaces rows.
        let kinds: [&[&'static str]; 2] = [&["insert", "insert", "select"], &["insert", "delete", "select"]];
        let waves = kinds.map(|kinds| {
            let num_steps = 2 + random.below(3);
            (0..num_steps).map(|_| step(random, kinds, &mut fault)).collect()
        });
        Self { waves }
    }
}

/// Half of the faults come while a statement is under way, which is made slow for that.
fn step(random: &mut Random, kinds: &[&'static str], fault: &mut impl FnMut(&mut Random) -> Fault) -> Step {
    let fault = fault(random);
    let kind = random.one_of(kinds);
    match random.below(4) {
        0 | 1 => {
            let slow =
                Slow { kind, by: Duration::from_millis(50) + millis(random, 500), count: 1 + random.below(3) as u32 };
            Step { slow: Some(slow), trigger: Trigger::Statements(kind, 1 + random.below(2) as u64), fault }
        }
        2 => Step { slow: None, trigger: Trigger::Requests(1 + random.below(30) as u64), fault },
        _ => Step { slow: None, trigger: Trigger::After(millis(random, 800)), fault },
    }
}
