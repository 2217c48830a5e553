// Upstream: none
// Downstream: http, kit, main_job
// Role: Tests the rules on listing, calendar, factors and suspensions on real servers, one counter per rule.

use chrono::NaiveDate;
use kit::baostock_server::BaoStockServer;
use kit::exposition::Page;
use kit::http::get;
use kit::mysql::Tables;
use kit::scene::{Scene, TIMEOUT};
use kit::tushare_data::{DailyRow, Dataset, codes, last_closed_day, last_trading_days, trading_days};
use kit::wait::wait_until;
use kit::worker::Worker;

use crate::http::address;
use crate::main_job::PROGRAM;

const MONTH: &str = r#""start_date":"20240103","end_date":"20240131","full":true"#;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn days() -> Vec<NaiveDate> {
    trading_days(day("2024-01-03"), day("2024-01-31"))
}

/// A metric of a running worker: the sum of all series that contain `label`.
fn figure(scene: &Scene, name: &str, label: &str) -> u64 {
    let page = Page::parse(&get(&address(scene, "n1"), "/metrics").body);
    let label: &[&str] = if label.is_empty() { &[] } else { &[label] };
    page.value(name, label) as u64
}

fn warned(scene: &Scene, rule: &str) -> u64 {
    figure(scene, "data_worker_rows_warned_total", rule)
}

/// A copy of a row with another reference price.
fn with_reference(row: &DailyRow, share: f64) -> DailyRow {
    let [open, high, low, close, reference, volume, amount] = row.cells();
    let reference = format!("{:.2}", reference.parse::<f64>().unwrap() * share);
    DailyRow::new(row.date, [open, high, low, close, &reference, volume, amount])
}

fn start(scene: &mut Scene) -> Worker {
    scene.set("quality.report_interval_ms", 1_000);
    let worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    worker
}

#[test]
fn listing_calendar_and_factors_drive_row_rules() {
    let (codes, days) = (codes(4), days());
    let mut data = Dataset::generated(&codes, &days);
    // The reference price is the previous close, except on one day, and no factor explains it.
    let mut rows = data.rows(&codes[2]).to_vec();
    rows[10] = with_reference(&rows[10], 0.96);
    data.set_rows(&codes[2], rows);
    data.set_factor(&codes[2], days[0], 1.0);
    let mut scene = Scene::new("listing", PROGRAM, data);
    let tables = Tables::create_as_ginkgo(&scene.name);
    tables.add_stock(&codes[0], "新股", "2024-01-10", "2100-01-01");
    tables.add_stock(&codes[1], "退市", "1991-04-03", "2024-01-20");
    tables.add_stock(&codes[2], "老股", "1991-04-03", "2100-01-01");
    // In the built-in calendar this day is open.
    tables.add_trade_day(1, "2024-01-12", false, "2024-01-01");
    let _worker = start(&mut scene);
    let factor = format!(r#"{{"command":"adjustfactor","params":{{"code":"{}"}}}}"#, codes[2]);
    scene.send(&[factor.into_bytes()]);
    scene.wait_until_committed();
    let [expected, missing] = ["data_worker_rows_expected_total", "data_worker_rows_missing_total"];
    let figures = |scene: &Scene| [expected, missing].map(|name| figure(scene, name, ""));
    // The share was listed in 1991, but the source has factors for this month only.
    let [expected_before, missing_before] = figures(&scene);
    assert_eq!(expected_before - missing_before, 21 - 1);

    scene.send_snapshots(&codes, MONTH);
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    let judged = ["before_listing", "after_delisting", "ex_right", "non_trading_day", "price_limit"];
    // 21 days minus one closed day: 15 for the new share, 12 for the delisted one, 20 each for the other two.
    let bars = [expected_before + 15 + 12 + 20 + 20, missing_before];
    wait_until("the row counters", TIMEOUT, || figures(&scene) == bars);
    // The new share has five rows before its list date, the delisted one eight after its end. Four bars and one factor
    // lie on the closed day.
    assert_eq!(judged.map(|rule| warned(&scene, rule)), [5, 8, 1, 5, 0], "{judged:?}");

    scene.set("quality.rules.before_listing", "error").set("quality.rules.after_delisting", "ignore");
    scene.write_config("n1");
    wait_until("the reload", TIMEOUT, || !scene.notifications_with("event", "RELOADED").is_empty());
    scene.send_snapshots(&codes[..2], MONTH);
    scene.wait_until_committed();
    wait_until("skipped rows", TIMEOUT, || figure(&scene, "data_worker_rows_skipped_total", "before_listing") == 5);
    assert_eq!((warned(&scene, "before_listing"), warned(&scene, "after_delisting")), (5, 8));
}

#[test]
fn source_suspensions_and_special_treatment_apply() {
    let (codes, days) = (codes(30), days());
    let codes: Vec<String> = codes.into_iter().filter(|code| code.starts_with('6') || code.starts_with('0')).collect();
    let mut data = Dataset::generated(&codes, &days);
    // A third of every share's days are suspended: BaoStock returns rows for them that are no bars.
    for code in &codes {
        let rows = data.rows(code).iter().enumerate().map(|(n, row)| {
            let [open, high, low, close, reference, _, amount] = row.cells();
            if n % 3 == 2 {
                DailyRow::new(row.date, [open, high, low, close, reference, "0", amount])
            } else {
                row.clone()
            }
        });
        let rows = rows.collect();
        data.set_rows(code, rows);
    }
    // 8 % up: within the limit of the main boards, but above the limit for special treatment.
    for code in &codes[..2] {
        let mut rows = data.rows(code).to_vec();
        rows[6] = with_reference(&rows[6], 1.0 / 1.08);
        data.set_rows(code, rows);
    }
    data.set_special(&codes[0]);
    let mut scene = Scene::new("suspended", PROGRAM, Dataset::empty());
    let tables = Tables::create_as_ginkgo(&scene.name);
    codes.iter().for_each(|code| tables.add_stock(code, "老股", "1991-04-03", "2100-01-01"));
    let server = BaoStockServer::start(data).unwrap();
    scene.set("sources.bars", "[baostock]").set("sources.baostock.address", server.address());
    let _worker = start(&mut scene);
    scene.send_snapshots(&codes, MONTH);
    scene.wait_until_committed();
    let traded = (codes.len() * 14) as u64;
    wait_until("the row counters", TIMEOUT, || figure(&scene, "data_worker_rows_expected_total", "") == traded);
    assert_eq!(figure(&scene, "data_worker_rows_missing_total", ""), 0);
    assert_eq!(scene.database.count(), traded);
    assert_eq!(warned(&scene, "price_limit"), 1, "only the share under special treatment");
    wait_until("a report", TIMEOUT, || {
        let reports = scene.notifications().into_iter().filter(|message| message["type"] == "data_quality_report");
        reports.filter_map(|report| report["data"]["records_expected"].as_u64()).sum::<u64>() == traded
    });
    assert_eq!(scene.notifications_with("alert_type", "data_missing").len(), 0);
}

#[test]
fn tushare_suspensions_are_no_gap() {
    let (codes, days) = (codes(12), days());
    let mut data = Dataset::generated(&codes, &days);
    // Gaps per group of codes: two suspended days, ten suspended days, one partly suspended day, one unexplained day.
    let of =
        [(0..4, 5..7, Some("")), (4..8, 3..13, Some("")), (8..10, 9..10, Some("13:00-14:00")), (10..12, 9..10, None)];
    for (codes, gap, timing) in of.map(|(of, gap, timing)| (&codes[of], gap, timing)) {
        for code in codes {
            let mut rows = data.rows(code).to_vec();
            let gone: Vec<DailyRow> = rows.drain(gap.clone()).collect();
            data.set_rows(code, rows);
            gone.iter().for_each(|row| {
                if let Some(timing) = timing {
                    data.suspend(code, row.date, timing)
                }
            });
        }
    }
    let mut scene = Scene::new("suspend_d", PROGRAM, data);
    let tables = Tables::create_as_ginkgo(&scene.name);
    codes.iter().for_each(|code| tables.add_stock(code, "老股", "1991-04-03", "2100-01-01"));
    let _worker = start(&mut scene);
    scene.send_snapshots(&codes, MONTH);
    scene.wait_until_committed();
    let traded = (codes.len() * days.len() - 4 * 2 - 4 * 10) as u64;
    wait_until("the row counters", TIMEOUT, || figure(&scene, "data_worker_rows_expected_total", "") == traded);
    assert_eq!(figure(&scene, "data_worker_rows_missing_total", ""), 4);
    assert_eq!(scene.database.count(), traded - 4);
    // Codes that are fetched at the same time share a call for bars. The short gaps share one suspension call per day
    // (3); each long gap needs one (4).
    let calls = (scene.source.requests_to("suspend_d"), scene.source.requests_to("daily"));
    assert!(calls.0 == 3 + 4 && (1..=12).contains(&calls.1), "{calls:?}");
}

#[test]
fn increment_is_checked_against_stored_close() {
    let (codes, today) = (codes(2), last_closed_day());
    let recent = last_trading_days(today, 4);
    let data = Dataset::generated(&codes, &recent[..3]);
    let mut scene = Scene::new("increment", PROGRAM, data.clone());
    let tables = Tables::create_as_ginkgo(&scene.name);
    codes.iter().for_each(|code| tables.add_stock(code, "老股", "1991-04-03", "2100-01-01"));
    let mut worker = start(&mut scene);
    let first = format!(r#""start_date":"{}""#, recent[0].format("%Y%m%d"));
    scene.send_snapshots(&codes, &first);
    scene.wait_until_committed();
    // A new worker, as on another evening: the first one read the stored closes before there were any.
    worker.terminate();
    assert_eq!(worker.wait(TIMEOUT).code(), Some(0));
    let _worker = start(&mut scene);
    // More than 10 % above the stored close; the source's reference price is missing.
    let close: f64 = data.rows(&codes[0])[2].cells()[3].parse().unwrap();
    let price = format!("{:.2}", close * 1.15);
    let amount = format!("{:.3}", close * 115.0);
    let mut rows = data.rows(&codes[0]).to_vec();
    rows.push(DailyRow::new(recent[3], [&price, &price, &price, &price, "null", "1000.0", &amount]));
    scene.source.set_rows(&codes[0], rows);
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    wait_until("the price limit", TIMEOUT, || warned(&scene, "price_limit") == 1);
    scene.assert_exact(&codes);
}

#[test]
fn update_selector_refreshes_securities_of_all_workers() {
    let (codes, days) = (codes(1), days());
    let mut scene = Scene::new("selector", PROGRAM, Dataset::generated(&codes, &days));
    let tables = Tables::create_as_ginkgo(&scene.name);
    tables.add_stock(&codes[0], "退市", "1991-04-03", "2100-01-01");
    let worker = start(&mut scene);
    scene.send_snapshots(&codes, MONTH);
    scene.wait_until_committed();
    assert_eq!(warned(&scene, "after_delisting"), 0);

    tables.run("UPDATE stock_info SET delist_date = '2024-01-20'");
    scene.send_snapshots(&codes, MONTH);
    scene.wait_until_committed();
    assert_eq!(warned(&scene, "after_delisting"), 0, "cached listings are valid for ten minutes");

    scene.order("update_selector", None, "hourly");
    wait_until("the refresh", TIMEOUT, || worker.log_text().contains("listings and trading calendar read again"));
    scene.send_snapshots(&codes, MONTH);
    scene.wait_until_committed();
    wait_until("warnings by the new listing", TIMEOUT, || warned(&scene, "after_delisting") == 8);
    assert!(scene.notifications_with("correlation_id", "hourly").is_empty(), "the refresh sends no notification");
    assert_eq!(scene.dead_letters().len(), 0);
}

#[test]
fn day_sum_rule_warns_or_skips_minutes() {
    let (codes, days) = (codes(2), days());
    let mut data = Dataset::generated(&codes, &days);
    // The source's minutes are linear from a day's open to its close, so high and low must match.
    for code in &codes {
        let rows = data.rows(code).iter().map(|row| {
            let [open, _, _, close, reference, volume, amount] = row.cells();
            let prices = [open, close].map(|cell| cell.parse::<f64>().unwrap());
            let [high, low] = [prices[0].max(prices[1]), prices[0].min(prices[1])].map(|price| format!("{price:.2}"));
            DailyRow::new(row.date, [open, &high, &low, close, reference, volume, amount])
        });
        let rows = rows.collect();
        data.set_rows(code, rows);
    }
    let mut scene = Scene::new("daysum", PROGRAM, data);
    let _tables = Tables::create_as_ginkgo(&scene.name);
    let _worker = start(&mut scene);
    scene.send_snapshots(&codes, MONTH);
    scene.wait_until_committed();
    // The source derives minutes from its daily rows; one day now has another volume than the stored bar.
    let mut rows = scene.source.rows(&codes[0]);
    let [open, high, low, close, reference, volume, amount] = rows[7].cells();
    let [volume, amount] = [volume, amount].map(|cell| (2.0 * cell.parse::<f64>().unwrap()).to_string());
    rows[7] = DailyRow::new(rows[7].date, [open, high, low, close, reference, &volume, &amount]);
    scene.source.set_rows(&codes[0], rows);
    let minutes = format!(r#"{MONTH},"frequency":"30m""#);
    scene.send_snapshots(&codes, &minutes);
    scene.wait_until_committed();
    wait_until("the warning", TIMEOUT, || warned(&scene, "day_sum") == 1);
    let stored = |scene: &Scene| {
        let count = scene.database.query("SELECT count() FROM bar WHERE frequency = 5");
        count.trim().parse::<usize>().unwrap()
    };
    assert_eq!(stored(&scene), 2 * 8 * days.len());

    scene.database.query("DELETE FROM bar WHERE frequency = 5");
    scene.set("quality.rules.day_sum", "error");
    scene.write_config("n1");
    wait_until("the reload", TIMEOUT, || !scene.notifications_with("event", "RELOADED").is_empty());
    scene.send_snapshots(&codes, &minutes);
    scene.wait_until_committed();
    wait_until("skipped rows", TIMEOUT, || figure(&scene, "data_worker_rows_skipped_total", "day_sum") == 8);
    assert_eq!(stored(&scene), 2 * 8 * days.len() - 8, "the rows of the day are skipped");
}
