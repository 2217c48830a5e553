// Upstream: main
// Downstream: commands, figure, kit
// Role: Measures the picture of ten years of the whole market.

use std::process::Command;
use std::time::Instant;

use kit::scene::Scene;
use kit::tushare_data::{Dataset, codes};

use crate::commands::PROGRAM;
use crate::figure::{Figure, median};

/// Runs `data-worker coverage` over the ten years; returns the seconds that it took.
fn run(scene: &Scene, more: &[&str]) -> f64 {
    let config = scene.write_config("reader");
    let begun = Instant::now();
    let mut program = Command::new(PROGRAM);
    program.args(["coverage", "--start", "2016-01-01", "--end", "2025-12-31", "--config"]).arg(config).args(more);
    let output = program.env("GINKGO_DIR", scene.folder()).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    begun.elapsed().as_secs_f64()
}

pub fn measure() -> Vec<Figure> {
    let codes = codes(5_500);
    let scene = Scene::new("coveragebench", PROGRAM, Dataset::empty());
    let keys = "ReplacingMergeTree PARTITION BY toYear(timestamp) ORDER BY (code, timestamp, frequency)";
    scene.database.create_bar("bar", keys);
    scene.list_codes(&codes);
    // Of 1 % of the days, at random, there is no row.
    let listed = codes.iter().map(|code| format!("'{code}'")).collect::<Vec<_>>().join(",");
    for year in 2016..=2025 {
        scene.database.query(&format!(
            "INSERT INTO bar SELECT code, 1, 1, 1, 1, 1, 1, 1, toString(generateUUIDv4()), '', '', toDateTime(day), 7 FROM \
             (SELECT arrayJoin([{listed}]) AS code, addDays(toDate('{year}-01-01'), arrayJoin(range(365))) AS day) \
             WHERE toDayOfWeek(day) < 6 AND cityHash64(code, day) % 100 > 0"
        ));
    }
    let rows = scene.database.count();
    let selects = || scene.database.statements()["select"];
    let before = selects();
    let seconds = median((0..3).map(|_| run(&scene, &[])).collect());
    let queries = (selects() - before) / 3;
    let file = scene.folder().join("coverage.html");
    let page = run(&scene, &["--html", file.to_str().unwrap()]);
    let bytes = std::fs::metadata(&file).unwrap().len();
    vec![
        Figure::new(
            "coverage of 10 years of 5,500 codes",
            format!("{seconds:.1} s, {queries} query over {rows} rows"),
            "5 s, 1 query",
        ),
        Figure::new(
            "the same as a web page, with all missing days",
            format!("{page:.1} s, {bytes} bytes"),
            "5 s, 5 MB",
        ),
    ]
}
