// Upstream: none
// Downstream: kit, main_job
// Role: Tests calls for several securities: few for many tasks, exact rows, and none lost where an answer is short.

use kit::scene::Scene;
use kit::tushare_data::{Dataset, codes, trading_days};
use kit::tushare_server::{Fault, FaultDuration};

use crate::main_job::PROGRAM;

/// A year, too long for whole days.
const RANGE: &str = r#""start_date":"20240101","end_date":"20241231""#;

fn scene(name: &str, num_codes: usize) -> (Scene, Vec<String>) {
    let codes = codes(num_codes);
    let days = trading_days("2024-01-01".parse().unwrap(), "2024-12-31".parse().unwrap());
    (Scene::new(name, PROGRAM, Dataset::generated(&codes, &days)), codes)
}

#[test]
fn replacements_of_48_codes_share_calls_and_are_exact() {
    let (mut scene, codes) = scene("jointfull", 48);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, RANGE);
    scene.wait_until_committed();
    let (first, wrong) =
        (scene.source.requests(), "ALTER TABLE bar UPDATE open = open + 1, uuid = 'x' WHERE code = '600000.SH'");
    scene.database.query(wrong);
    scene.send_snapshots(&codes, &format!(r#"{RANGE},"force":true"#));
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    let second = scene.source.requests() - first;
    // 24 securities fill an answer; the first ones do not wait for the last ones.
    assert!(first <= 12 && second <= 12, "{first} and {second} calls for 48 codes");
    assert_eq!(scene.dead_letters().len(), 0);
}

#[test]
fn a_short_answer_for_several_codes_removes_nothing() {
    let (mut scene, codes) = scene("jointshort", 12);
    let _worker = scene.start("n1");
    for (params, fault) in [(RANGE.to_owned(), None), (format!(r#"{RANGE},"full":true"#), Some(Fault::OnlyFirstCode))] {
        fault.into_iter().for_each(|fault| scene.source.set_fault(fault, FaultDuration::UntilCleared));
        scene.send_snapshots(&codes, &params);
        scene.wait_until_committed();
        scene.assert_exact(&codes);
    }
    let requested_alone = codes.iter().filter(|code| scene.source.requests_of(code) > 0).count();
    assert!(requested_alone >= 6, "{requested_alone} of 12 were requested alone");
    assert_eq!(scene.dead_letters().len(), 0);
}

#[test]
fn refused_calls_for_several_codes_are_not_repeated() {
    let (mut scene, codes) = scene("jointrefused", 12);
    scene.source.set_fault(Fault::NoSeveralCodes, FaultDuration::UntilCleared);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, RANGE);
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    let refused = scene.source.rejected();
    assert!((1..=3).contains(&refused), "{refused} refusals");
    scene.send_snapshots(&codes, &format!(r#"{RANGE},"force":true"#));
    scene.wait_until_committed();
    assert_eq!(scene.source.rejected(), refused, "remembered for the day");
    scene.assert_exact(&codes);
    assert_eq!(scene.dead_letters().len(), 0);
}
