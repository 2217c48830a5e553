// Upstream: none
// Downstream: kit, main_job
// Role: Tests signals at moments when the worker is not complete yet.

use kit::scene::{Scene, TIMEOUT};
use kit::wait::wait_until;

use crate::main_job::{Market, PROGRAM, market};

#[test]
fn signal_during_the_set_up_stops_the_worker_in_order() {
    let Market { data, .. } = market(1, 1);
    let scene = Scene::new("early", PROGRAM, data);
    for signal in ["TERM", "INT"] {
        let mut worker = scene.start_with("n1", &[("FAILPOINTS", "run::set_up=sleep(1000)")]);
        wait_until("the worker has its configuration", TIMEOUT, || worker.has_begun());
        worker.signal(signal);
        assert_eq!(worker.wait(TIMEOUT).code(), Some(0), "{signal}: {}", worker.log_text());
        let cause = format!("signal SIG{signal}");
        assert!(worker.log_text().contains(&cause), "{cause} is in the log");
    }
}
