// Upstream: main
// Downstream: commands, figure, kit
// Role: Measures how much of a vendor's limit four workers with one account use.

use std::time::{Duration, Instant};

use kit::scene::Scene;
use kit::tushare_data::{Dataset, codes, last_closed_day, last_trading_days};
use kit::tushare_server::{Fault, FaultDuration, InterfaceLimit, Options, TushareServer, Window};

use crate::commands::PROGRAM;
use crate::figure::Figure;

/// Calls that the vendor allows per minute.
const LIMIT: u32 = 500;

/// Duration of the measurement, from the first call on.
const MEASURED: Duration = Duration::from_secs(180);

/// Commands: more than the limit allows within that time.
const NUM_CODES: usize = 2_000;

/// Minute bars have an interface of their own, and each security takes a call of its own.
fn scene() -> (Scene, Vec<String>) {
    let codes = codes(NUM_CODES);
    let limits = vec![InterfaceLimit::new("stk_mins", Window::Minute, LIMIT)];
    let dataset = Dataset::generated(&codes, &last_trading_days(last_closed_day(), 2));
    let server = TushareServer::start_with(dataset, Options { limits, ..Options::default() }).unwrap();
    server.set_fault(Fault::Slow(Duration::from_millis(50)), FaultDuration::UntilCleared);
    let mut scene = Scene::with_source("bench_group", PROGRAM, server);
    scene.set("sources.tushare.requests_per_minute", LIMIT).set("log.level", "warn");
    (scene, codes)
}

pub fn measure() -> Vec<Figure> {
    let (mut scene, codes) = scene();
    let nodes = ["n1", "n2", "n3", "n4"];
    let _workers = nodes.map(|node| scene.start(node));
    nodes.iter().for_each(|node| scene.wait_for_status(node, "running"));
    scene.send_snapshots(&codes, r#""frequency":"5m","days":2"#);
    let calls = || scene.source.requests_to("stk_mins");
    let begun_by = Instant::now() + Duration::from_secs(60);
    while calls() == 0 {
        assert!(Instant::now() < begun_by, "no call within a minute");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    let begun = Instant::now();
    let mut minutes = Vec::new();
    while begun.elapsed() < MEASURED {
        std::thread::park_timeout(Duration::from_millis(50));
        if begun.elapsed().as_secs() / 60 > minutes.len() as u64 {
            minutes.push(calls());
        }
    }
    minutes.resize(2, calls());
    let (total, refused) = (calls(), scene.source.rejected());
    let by_minute = [minutes[0], minutes[1] - minutes[0], total - minutes[1]];
    let share = total as f64 / (3.0 * f64::from(LIMIT));
    let value = format!("{total} calls in three minutes ({by_minute:?}), {:.1} %, {refused} refused", share * 100.0);
    vec![Figure::new("four workers, one account of 500 calls a minute", value, "95 %, none refused")]
}
