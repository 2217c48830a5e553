// Upstream: none
// Downstream: backfill, kit, main_job, tdx_worker
// Role: Tests `data-worker backfill` for ticks, factors and all listed codes, and its display on a terminal.

use chrono::NaiveDate;
use kit::mysql::Tables;
use kit::scene::Scene;
use kit::tdx_server::TdxServer;
use kit::tushare_data::{Dataset, codes, trading_days};

use crate::backfill::{Backfill, Ended, end_of, spawn};
use crate::main_job::PROGRAM;
use crate::tdx_worker::assert_ticks_stored;

/// Trading days in two months.
fn days() -> Vec<NaiveDate> {
    trading_days("2024-01-22".parse().unwrap(), "2024-02-23".parse().unwrap())
}

#[test]
fn backfills_exact_ticks_once() {
    let (codes, days) = (codes(2), days());
    let server = TdxServer::start(Dataset::generated(&codes, &days)).unwrap();
    let mut scene = Scene::new("backfillticks", PROGRAM, Dataset::empty());
    scene.set("sources.ticks", "[tdx]").set("sources.tdx.hosts", format!("[\"{}\"]", server.address()));
    scene.set("sources.tdx.requests_per_minute", 0);
    let mut backfill = Backfill::of(&scene, &codes, "--kind tick --start 2024-01-25 --end 2024-02-06");
    for again in [false, true] {
        let Ended { code, text, .. } = backfill.run();
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("2 of 2 parts done, 0 failed"), "nine days of two codes: {text}");
        assert_eq!(text.contains("rows fetched, 0 stored"), again, "{text}");
        for code in &codes {
            let is_wanted = |day: NaiveDate| ("2024-01-25"..="2024-02-06").contains(&&*day.to_string());
            assert_eq!(assert_ticks_stored(&scene, &server, code, is_wanted), 9 * 2_401);
        }
    }
}

#[test]
fn factors_become_whole_series_whatever_the_range() {
    let (codes, days) = (codes(3), days());
    let scene = Scene::new("backfillfactors", PROGRAM, Dataset::generated(&codes, &days));
    for code in &codes {
        scene.source.set_factor(code, days[0], 2.0);
        scene.source.set_factor(code, days[10], 2.5);
    }
    let Ended { code, text, .. } = Backfill::of(&scene, &codes, "--kind adjustfactor --start 2024-02-01").run();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("3 of 3 parts done, 0 failed"), "{text}");
    let sql = "SELECT code, toDate(timestamp) AS day, toString(adjustfactor), toString(foreadjustfactor), \
               toString(backadjustfactor) FROM adjustfactor ORDER BY code, day";
    let mut sorted = codes.clone();
    sorted.sort();
    let row = |code: &String, at: usize| {
        let values = if at < 10 { "2\t1.25\t1" } else { "2.5\t1\t1.25" };
        format!("{code}\t{}\t{values}", days[at])
    };
    let expected: Vec<String> =
        sorted.iter().flat_map(|code| (0..days.len()).map(|at| row(code, at)).collect::<Vec<_>>()).collect();
    assert_eq!(scene.database.query(sql).lines().collect::<Vec<_>>(), expected);
}

#[test]
fn all_uses_stock_list_and_force_replaces_rows() {
    let (all, days) = (codes(12), days());
    let scene = Scene::new("backfillall", PROGRAM, Dataset::generated(&all, &days));
    let listed = &all[..11];
    scene.list_codes(listed);
    let range = "--all --start 2024-01-22 --end 2024-02-23";
    let Ended { code, text, .. } = Backfill::with(&scene, range).run();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("11 codes, 2024-01-22..2024-02-23: 0 of 209 trading days"), "{text}");
    assert!(text.contains("; 1 part in 1 call of tushare"), "{text}");
    scene.assert_exact(listed);
    let kept = "SELECT sum(records_written) FROM data_quality_report FINAL WHERE kind = 'interval'";
    assert_eq!(scene.database.query(kept).trim(), (11 * days.len()).to_string(), "the reports are stored");
    assert_eq!(scene.notifications().len(), 0, "a backfill sends no notification");

    let wrong = "INSERT INTO bar SELECT code, open + 1, high + 1, low, close, volume, amount, frequency, 'wrong', meta, \
                 `desc`, timestamp, source FROM bar WHERE code = '600000.SH'";
    scene.database.query("ALTER TABLE bar DELETE WHERE code = '000001.SZ' AND timestamp < '2024-02-01'");
    scene.database.query(wrong);
    let Ended { code, text, .. } = Backfill::with(&scene, &format!("{range} --force")).run();
    assert_eq!(code, Some(0), "{text}");
    scene.assert_exact(listed);

    Tables::of(&scene.name).run("DELETE FROM stock_info");
    let Ended { code, text, .. } = Backfill::with(&scene, range).run();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("the stock list (stock_info) is empty"), "{text}");
}

#[test]
fn terminal_shows_progress_bars() {
    let (codes, days) = (codes(6), days());
    let mut scene = Scene::new("backfillbars", PROGRAM, Dataset::generated(&codes, &days));
    scene.set("fetch.whole_days_from_tasks", 0); // a part for each code
    let command = format!("{PROGRAM} backfill --codes {} --start 2024-01-22 --end 2024-02-23", codes.join(","));
    // `script` runs the program on a pseudo-terminal and returns its exit code.
    let process = spawn(&scene, "script", &["-qefc", &command, "/dev/null"], &scene.folder().join("terminal.log"));
    let Ended { code, text, .. } = end_of(process);
    assert_eq!(code, Some(0), "{text}");
    for shown in ["\u{1b}[", "parts", "/6", "elapsed", "rows", "6 of 6 parts done, 0 failed"] {
        assert!(text.contains(shown), "{shown:?} in {text:?}");
    }
    assert!(!text.contains("rows stored\r\n"), "no plain lines: {text:?}");
    scene.assert_exact(&codes);
}
