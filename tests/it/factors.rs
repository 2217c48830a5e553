// Upstream: none
// Downstream: kit, main_job
// Role: Tests adjustment factors on the real engine: full history, increments and rewrites after an ex-right.

use kit::scene::{Scene, TIMEOUT};
use kit::wait::wait_until;

use crate::main_job::{Market, PROGRAM, market};

fn commands(codes: &[String], params: &str) -> Vec<Vec<u8>> {
    let command = |code: &String| {
        format!(r#"{{"command":"adjustfactor","timestamp":"2026-08-10T21:05:00.000001","params":{{"code":"{code}"{params}}},"source":"task_timer"}}"#)
            .into_bytes()
    };
    codes.iter().map(command).collect()
}

/// Every physical row of the table: code, day, raw factor, fore factor, back factor.
fn stored(scene: &Scene) -> Vec<String> {
    let sql = "SELECT code, toDate(timestamp), toString(adjustfactor), toString(foreadjustfactor), \
               toString(backadjustfactor) FROM adjustfactor ORDER BY code, timestamp, uuid";
    scene.database.query(sql).lines().map(str::to_owned).collect()
}

/// The rows expected for the source's factors: `fore = last/factor`, `back = factor/first`.
fn expected(scene: &Scene, codes: &[String], factors: &[(usize, f64)]) -> Vec<String> {
    let mut lines = Vec::new();
    for code in codes {
        let rows = scene.source.rows(code);
        let of = |at: usize| factors.iter().rev().find(|(from, _)| *from <= at).expect("a factor").1;
        let (first, last) = (of(0), of(rows.len() - 1));
        let shown = |value: f64| format!("{value:.6}").trim_end_matches('0').trim_end_matches('.').to_owned();
        lines.extend(rows.iter().enumerate().map(|(at, row)| {
            let factor = of(at);
            format!("{code}\t{}\t{}\t{}\t{}", row.date, shown(factor), shown(last / factor), shown(factor / first))
        }));
    }
    lines.sort();
    lines
}

/// A scene whose codes have the factor 2, and 2.5 from their third day on.
fn scene(name: &str, num_codes: usize, num_days: usize) -> (Scene, Market) {
    let market = market(num_codes, num_days);
    let scene = Scene::new(name, PROGRAM, market.data.clone());
    for code in &market.codes {
        let days = scene.source.rows(code);
        scene.source.set_factor(code, days[0].date, 2.0);
        scene.source.set_factor(code, days[2].date, 2.5);
    }
    (scene, market)
}

fn statements(scene: &Scene, kind: &str) -> u64 {
    scene.database.statements()[kind]
}

#[test]
fn first_sync_stores_history_and_next_day_appends() {
    let (mut scene, Market { codes, last_day, .. }) = scene("factors", 60, 300);
    // The vendor adds a day within seconds: a whole day would be the answer from before.
    scene.set("fetch.whole_days_from_tasks", 0);
    let worker = scene.start("n1");
    scene.send(&commands(&codes, ""));
    scene.wait_until_committed();
    assert_eq!(stored(&scene), expected(&scene, &codes, &[(0, 2.0), (2, 2.5)]));
    assert_eq!(stored(&scene).len(), 18_000, "more than the 365 days that the Python worker fetched");
    let shape = "SELECT DISTINCT source, length(uuid), meta, toTime(timestamp) = toTime(toDateTime('2020-01-01 00:00:00')) \
                 FROM adjustfactor";
    assert_eq!(scene.database.query(shape).trim(), "7\t32\t{}\t1");

    // A run without new data succeeds and writes nothing.
    let inserts = statements(&scene, "insert");
    scene.send(&commands(&codes, ""));
    scene.wait_until_committed();
    assert_eq!(statements(&scene, "insert"), inserts);

    // A day without an ex-right adds one row per code and changes no other row.
    let before = scene.database.query("SELECT uuid FROM adjustfactor ORDER BY uuid");
    scene.source.append_day(last_day);
    scene.send(&commands(&codes, ""));
    scene.wait_until_committed();
    assert_eq!(stored(&scene), expected(&scene, &codes, &[(0, 2.0), (2, 2.5)]));
    let old = format!("SELECT uuid FROM adjustfactor WHERE timestamp < '{last_day} 00:00:00' ORDER BY uuid");
    assert_eq!(scene.database.query(&old), before);
    assert_eq!(statements(&scene, "delete"), 0);
    assert!((1..=4).contains(&(statements(&scene, "insert") - inserts)), "60 codes share their INSERTs");
    assert_eq!(scene.dead_letters().len(), 0);
    drop(worker);
}

#[test]
fn ex_right_rewrites_series_and_python_rows() {
    let (mut scene, Market { codes, last_day, .. }) = scene("exright", 5, 30);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    // Rows of the first code as the Python worker left them: random uuids, factors of 1, one day twice.
    let days = scene.source.rows(&codes[0]);
    for day in [&days[0], &days[1], &days[1]] {
        scene.database.query(&format!(
            "INSERT INTO adjustfactor (code, foreadjustfactor, backadjustfactor, adjustfactor, uuid, meta, `desc`, \
             timestamp, source) VALUES ('{}', 1, 1, 2, replace(toString(generateUUIDv4()), '-', ''), '{{}}', '', \
             '{} 00:00:00', 7)",
            codes[0], day.date
        ));
    }
    scene.send(&commands(&codes, ""));
    scene.wait_until_committed();
    assert_eq!(stored(&scene), expected(&scene, &codes, &[(0, 2.0), (2, 2.5)]));

    scene.source.append_day(last_day);
    for code in &codes {
        scene.source.set_factor(code, last_day, 3.125);
    }
    scene.send(&commands(&codes, ""));
    scene.wait_until_committed();
    assert_eq!(stored(&scene), expected(&scene, &codes, &[(0, 2.0), (2, 2.5), (30, 3.125)]));
}

#[test]
fn full_rewrites_past_without_missing_days() {
    let (mut scene, Market { codes, .. }) = scene("correct", 3, 40);
    let _worker = scene.start("n1");
    scene.send(&commands(&codes, ""));
    scene.wait_until_committed();
    // The vendor corrects its history: the ex-right was a day later.
    for code in &codes {
        let days = scene.source.rows(code);
        scene.source.set_factor(code, days[2].date, 2.0);
        scene.source.set_factor(code, days[3].date, 2.5);
    }
    scene.send(&commands(&codes, ""));
    scene.wait_until_committed();
    assert_eq!(stored(&scene), expected(&scene, &codes, &[(0, 2.0), (2, 2.5)]), "an increment reads only new days");

    let watched = scene.database.clone();
    let num_days = codes.len() * 40;
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let watcher = std::thread::spawn(move || {
        let (mut looks, mut gaps) = (0, 0);
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            let found = watched.query("SELECT uniqExact(code, timestamp) FROM adjustfactor");
            gaps += u32::from(found.trim() != num_days.to_string());
            looks += 1;
        }
        (looks, gaps)
    });
    scene.send(&commands(&codes, r#","full":true"#));
    scene.wait_until_committed();
    stop.send(()).unwrap();
    let (looks, gaps) = watcher.join().unwrap();
    assert!(looks > 0 && gaps == 0, "{gaps} of {looks} reads found a day missing");
    assert_eq!(stored(&scene), expected(&scene, &codes, &[(0, 2.0), (3, 2.5)]));
}

#[test]
fn repeated_commands_and_a_crash_leave_each_day_once() {
    let (mut scene, Market { codes, .. }) = scene("again", 40, 50);
    scene.send(&[commands(&codes, ""), commands(&codes, ""), commands(&codes, r#","full":true"#)].concat());
    let mut first = scene.start("n1");
    kit::wait::wait_until("the first rows", kit::scene::TIMEOUT, || {
        scene.database.try_query("SELECT count() FROM adjustfactor").is_ok_and(|text| text.trim() != "0")
    });
    first.kill();
    let _second = scene.start("n1");
    scene.wait_until_committed();
    assert_eq!(stored(&scene), expected(&scene, &codes, &[(0, 2.0), (2, 2.5)]));
}

#[test]
fn next_worker_finishes_factor_replacement() {
    let (mut scene, Market { codes, last_day, .. }) = scene("half_factors", 3, 30);
    scene.database.create_factors();
    let mut first = scene.start("n1");
    scene.send(&commands(&codes, ""));
    scene.wait_until_committed();
    scene.source.append_day(last_day);
    codes.iter().for_each(|code| scene.source.set_factor(code, last_day, 3.125));
    scene.database.fault("kind=delete&mode=refuse&code=241&text=Memory+limit+exceeded", 1_000);
    scene.send(&commands(&codes, ""));
    let num_rows = || scene.database.query("SELECT count() FROM adjustfactor").trim().parse::<u64>().unwrap();
    wait_until("new rows next to the old ones", TIMEOUT, || num_rows() > 90);
    wait_until("a failed DELETE in the log", TIMEOUT, || first.log_text().contains("Memory limit exceeded"));
    first.kill();
    scene.database.fault("kind=delete&mode=refuse", 0);
    let _second = scene.start("n1");
    scene.wait_until_committed();
    assert_eq!(stored(&scene), expected(&scene, &codes, &[(0, 2.0), (2, 2.5), (30, 3.125)]));
}

#[test]
fn adjusted_bars_are_stored_raw_with_factors() {
    let (mut scene, Market { codes, .. }) = scene("adjusted", 3, 30);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, r#""adjust_type":"none""#);
    scene.wait_until_committed();
    let raw = scene.database.bars();
    assert_eq!((raw.len(), stored(&scene).len()), (90, 0), "unadjusted bars need no factors");

    scene.send_snapshots(&codes[..1], r#""adjust_type":"qfq""#);
    scene.send_snapshots(&codes[1..2], r#""adjust_type":"hfq","full":true"#);
    scene.wait_until_committed();
    assert_eq!(stored(&scene), expected(&scene, &codes[..2], &[(0, 2.0), (2, 2.5)]));
    assert_eq!(scene.database.bars(), raw);
    assert_eq!(scene.dead_letters().len(), 0);
}
