// Upstream: reload_effects
// Downstream: kit, main_job
// Role: Tests source failover: the next source replaces a failing one, rows name their source, rate limits hold.

use std::time::{Duration, Instant};

use kit::scene::Scene;
use kit::tushare_data::{Dataset, codes, last_closed_day, last_trading_days};
use kit::tushare_server::{Fault, FaultDuration};

use crate::main_job::{Market, PROGRAM, market};

/// Writes the source's bars as files. Each volume is one lot higher, so that a row shows which source it came from.
pub fn write_files(scene: &Scene, codes: &[String]) -> std::path::PathBuf {
    let folder = scene.folder().join("bars");
    std::fs::create_dir(&folder).unwrap();
    for code in codes {
        let mut text = "date,open,high,low,close,volume,amount\n".to_owned();
        for row in scene.source.rows(code) {
            let [open, high, low, close, _, volume, amount] = row.cells();
            let lots = volume.split('.').next().unwrap().parse::<u64>().unwrap() + 1;
            text.push_str(&format!("{},{open},{high},{low},{close},{lots},{amount}\n", row.date));
        }
        std::fs::write(folder.join(format!("{code}.daily.csv")), text).unwrap();
    }
    folder
}

pub fn by_source(scene: &Scene) -> String {
    scene.database.query("SELECT source, count() FROM bar GROUP BY source ORDER BY source").trim().to_owned()
}

#[test]
fn next_source_replaces_failing_one_and_marks_rows() {
    let Market { codes, data, .. } = market(20, 5);
    let mut scene = Scene::new("failover", PROGRAM, data);
    let folder = write_files(&scene, &codes[..15]);
    scene
        .set("sources.bars", "[tushare, files]")
        .set("sources.files.folder", folder.display())
        .set("sources.files.volume_unit", "lots")
        .set("sources.files.amount_unit", "thousand_yuan")
        .set("sources.pause_ms", 100);
    scene.source.set_fault(Fault::Status(500, None), FaultDuration::UntilCleared);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    assert_eq!(by_source(&scene), "0\t75");
    // Neither source serves five codes: their dead letters name the failure of the preferred source.
    let letters = scene.dead_letters();
    assert_eq!(letters.len(), 5);
    assert!(letters.iter().all(|letter| letter.headers["dlq.reason"].contains("source tushare")), "{letters:?}");

    // The preferred source recovers: it is used again, and its rows replace the others.
    scene.source.clear_fault();
    scene.send_snapshots(&codes, r#""full":true"#);
    scene.wait_until_committed();
    assert_eq!(by_source(&scene), "7\t100");
    scene.assert_exact(&codes);
}

#[test]
fn the_limits_of_a_source_are_kept_and_fail_nothing() {
    // The days reach up to today: for a missing day the worker would also query suspensions.
    let codes = codes(60);
    let data = Dataset::generated(&codes, &last_trading_days(last_closed_day(), 2));
    let mut scene = Scene::new("limits", PROGRAM, data);
    // 50 calls at once; the rest when the first are more than a minute old.
    scene.set("sources.tushare.requests_per_minute", 50).set("sources.tushare.max_concurrent", 4);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let begun = Instant::now();
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    assert!(begun.elapsed() >= Duration::from_secs(60), "60 calls within a minute: {:?}", begun.elapsed());
    scene.assert_exact(&codes);
    assert_eq!((scene.source.rejected(), scene.dead_letters().len()), (0, 0));
    assert_eq!(scene.source.requests(), 60);
}
