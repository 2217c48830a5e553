// Upstream: none
// Downstream: kit, main_job
// Role: Tests that two sources that do not answer hold up no task of a third one.

use kit::scene::{Scene, TIMEOUT};
use kit::tushare_data::{Dataset, codes, last_closed_day, last_trading_days};
use kit::tushare_server::{Fault, FaultDuration};
use kit::wait::wait_until;

use crate::main_job::PROGRAM;

/// One-minute rows of these days are more than the row budget in 25 tasks, and there are 40.
const NUM_DAYS: usize = 20;

fn command(name: &str, code: &str, params: &str) -> Vec<u8> {
    format!(r#"{{"command":"{name}","params":{{"code":"{code}"{params}}}}}"#).into_bytes()
}

#[test]
fn two_blocked_sources_hold_up_no_third_one() {
    let codes = codes(40);
    let days = last_trading_days(last_closed_day(), NUM_DAYS);
    let mut scene = Scene::new("fairness", PROGRAM, Dataset::generated(&codes, &days));
    let folder = scene.folder().join("files");
    std::fs::create_dir(&folder).unwrap();
    let row = format!("date,open,high,low,close,volume,amount\n{},9.39,9.42,9.21,9.21,115,107\n", days[0]);
    std::fs::write(folder.join("600000.SH.daily.csv"), row).unwrap();
    scene.set("sources.bars", "[files]").set("sources.files.folder", folder.display());
    scene.set("sources.minute_bars", "[tushare]").set("sources.factors", "[tushare]");
    scene.set("sources.tushare.max_concurrent", 100);
    scene.source.set_fault(Fault::Hang, FaultDuration::UntilCleared);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");

    let span = format!(r#","frequency":"1m","start_date":"{}","end_date":"{}""#, days[0], days[NUM_DAYS - 1]);
    let minutes = codes.iter().map(|code| command("bar_snapshot", code, &span));
    let factors = codes.iter().map(|code| command("adjustfactor", code, ""));
    scene.send(&minutes.chain(factors).collect::<Vec<_>>());
    wait_until("both kinds hang", TIMEOUT, || {
        scene.source.requests_to("stk_mins") >= 15 && scene.source.requests_to("adj_factor") >= 32
    });
    scene.send(&[command("bar_snapshot", "600000.SH", "")]);
    wait_until("the bar of the other source", TIMEOUT, || scene.database.count() == 1);
    assert_eq!(scene.source.rejected(), 0, "the other sources still hang");

    scene.source.clear_fault();
    scene.wait_until_committed();
    let stored = scene.database.query("SELECT count(), uniqExact(code, timestamp) FROM bar WHERE frequency = 2");
    let rows = codes.len() * NUM_DAYS * 241;
    assert_eq!(stored.trim(), format!("{rows}\t{rows}"));
}
