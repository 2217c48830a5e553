// Upstream: round
// Downstream: kit
// Role: Counts the keys of every table in a loop: a reader must never find fewer than before.

use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use kit::clickhouse::Database;
use kit::mysql::Tables;
use kit::scene::Scene;

/// The pause between two looks; each costs the servers a few statements.
const PAUSE: Duration = Duration::from_millis(40);

/// A thread that looks until [`Self::end`].
pub struct Watcher {
    stop: Sender<()>,
    thread: JoinHandle<(u64, Vec<String>)>,
}

/// The number of keys by table, without tables that do not exist yet.
fn look(database: &Database, tables: &Tables, tick_codes: &[String]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let mut count = |table: String, answer: Option<String>| {
        let number = answer.and_then(|text| text.trim().parse().ok());
        counts.extend(number.map(|number| (table, number)));
    };
    let keyed = [("bar", "code, frequency, timestamp"), ("adjustfactor", "code, timestamp")];
    let ticks = tick_codes.iter().map(|code| format!("{}_Tick", code.replace('.', "_")));
    let all =
        keyed.map(|(table, key)| (table.to_owned(), key)).into_iter().chain(ticks.map(|table| (table, "timestamp")));
    for (table, key) in all {
        count(table.clone(), database.try_query(&format!("SELECT uniqExact({key}) FROM `{table}`")).ok());
    }
    for (table, key) in [("stock_info", "code"), ("trade_day", "timestamp")] {
        let rows = tables.try_rows(&format!("SELECT count(DISTINCT {key}) FROM {table}"));
        count(table.to_owned(), rows.ok().map(|rows| rows[0][0].clone()));
    }
    counts
}

impl Watcher {
    /// Begins to look at the scene's tables, without a proxy between.
    pub fn of(scene: &Scene, tick_codes: &[String]) -> Self {
        let (database, tables, codes) = (scene.database.clone(), Tables::of(&scene.name), tick_codes.to_vec());
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            let (mut most, mut num_looks, mut losses) = (BTreeMap::<String, u64>::new(), 0, Vec::new());
            while stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                for (table, count) in look(&database, &tables, &codes) {
                    let before = most.entry(table.clone()).or_default();
                    if count < *before {
                        losses.push(format!("{table}: {count} keys, {before} before"));
                    }
                    *before = count.max(*before);
                }
                num_looks += 1;
            }
            (num_looks, losses)
        });
        Self { stop, thread }
    }

    /// Ends the loop; asserts that no key went away. Returns the number of looks.
    pub fn end(self) -> u64 {
        drop(self.stop);
        let (num_looks, losses) = self.thread.join().unwrap();
        assert!(num_looks > 3, "{num_looks} looks");
        assert!(losses.is_empty(), "keys were missing for a moment: {losses:?}");
        num_looks
    }
}
