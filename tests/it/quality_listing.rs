// Upstream: none
// Downstream: http, kit, main_job
// Role: Rules on listing, calendar, factors and suspensions on real servers, one counter a rule.

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

/// A figure of a running worker, all of its series that name `label` together.
fn figure(scene: &Scene, name: &str, label: &str) -> u64 {
    let page = Page::parse(&get(&address(scene, "n1"), "/metrics").body);
    let label: &[&str] = if label.is_empty() { &[] } else { &[label] };
    page.value(name, label) as u64
}

fn warned(scene: &Scene, rule: &str) -> u64 {
    figure(scene, "data_worker_rows_warned_total", rule)
}

/// Puts another price of reference into a row.
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
fn listing_calendar_and_factors_judge_rows_and_say_what_is_expected() {
    let (codes, days) = (codes(4), days());
    let mut data = Dataset::generated(&codes, &days);
    // From day to day the price of reference is the close before, but for one day, and no factor says why.
    let mut rows = data.rows(&codes[2]).to_vec();
    rows[10] = with_reference(&rows[10], 0.96);
    data.set_rows(&codes[2], rows);
    data.set_factor(&codes[2], days[0], 1.0);
    let mut scene = Scene::new("listing", PROGRAM, data);
    let tables = Tables::create_as_ginkgo(&scene.name);
    tables.add_stock(&codes[0], "新股", "2024-01-10", "2100-01-01");
    tables.add_stock(&codes[1], "退市", "1991-04-03", "2024-01-20");
    tables.add_stock(&codes[2], "老股", "1991-04-03", "2100-01-01");
    // The built-in calendar says otherwise.
    tables.add_trade_day(1, "2024-01-12", false, "2024-01-01");
    let _worker = start(&mut scene);
    let factor = format!(r#"{{"command":"adjustfactor","params":{{"code":"{}"}}}}"#, codes[2]);
    scene.send(&[factor.into_bytes()]);
    scene.wait_until_committed();
    let [expected, missing] = ["data_worker_rows_expected_total", "data_worker_rows_missing_total"];
    let figures = |scene: &Scene| [expected, missing].map(|name| figure(scene, name, ""));
    // The share was listed in 1991, and the source has its factors of this month alone.
    let [expected_before, missing_before] = figures(&scene);
    assert_eq!(expected_before - missing_before, 21 - 1);

    scene.send_snapshots(&codes, MONTH);
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    let judged = ["before_listing", "after_delisting", "ex_right", "non_trading_day", "price_limit"];
    // 21 days less one closed: 15 of the new share, 12 of the one that left, all of the other two.
    let bars = [expected_before + 15 + 12 + 20 + 20, missing_before];
    wait_until("the figures", TIMEOUT, || figures(&scene) == bars);
    // Of the new share five rows came before its list date, of the old one eight after its end; four bars and a factor are
    // of the day that is closed.
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
fn a_source_that_tells_suspensions_and_special_treatment_is_believed() {
    let (codes, days) = (codes(30), days());
    let codes: Vec<String> = codes.into_iter().filter(|code| code.starts_with('6') || code.starts_with('0')).collect();
    let mut data = Dataset::generated(&codes, &days);
    // A third of the days of every share are suspended: BaoStock has rows of them that are no bars.
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
    // 8 % up: within the limit of a main board, but not under special treatment.
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
    wait_until("the figures", TIMEOUT, || figure(&scene, "data_worker_rows_expected_total", "") == traded);
    assert_eq!(figure(&scene, "data_worker_rows_missing_total", ""), 0);
    assert_eq!(scene.database.count(), traded);
    assert_eq!(warned(&scene, "price_limit"), 1, "the share under special treatment alone");
    wait_until("a report", TIMEOUT, || {
        let reports = scene.notifications().into_iter().filter(|message| message["type"] == "data_quality_report");
        reports.filter_map(|report| report["data"]["records_expected"].as_u64()).sum::<u64>() == traded
    });
    assert_eq!(scene.notifications_with("alert_type", "data_missing").len(), 0);
}

#[test]
fn missing_days_are_no_gap_where_tushare_says_suspended() {
    let (codes, days) = (codes(12), days());
    let mut data = Dataset::generated(&codes, &days);
    // Two days and ten are suspended, one day is missing although it was traded in part, and one without any reason.
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
    wait_until("the figures", TIMEOUT, || figure(&scene, "data_worker_rows_expected_total", "") == traded);
    assert_eq!(figure(&scene, "data_worker_rows_missing_total", ""), 4);
    assert_eq!(scene.database.count(), traded - 4);
    // A call a code; four missing codes share a call a day of each of the three short gaps, the other four have one each.
    assert_eq!(scene.source.requests(), 12 + 3 + 4);
}

#[test]
fn an_increment_is_compared_with_the_close_that_is_stored() {
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
    // Another worker, as on another evening: what this one knows of closes it read before there were any.
    worker.terminate();
    assert_eq!(worker.wait(TIMEOUT).code(), Some(0));
    let _worker = start(&mut scene);
    // More than a tenth above the close that is stored; the source's own price of reference is missing.
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
fn update_selector_lets_every_worker_read_securities_anew() {
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
    assert_eq!(warned(&scene, "after_delisting"), 0, "what was read is believed for ten minutes");

    scene.order("update_selector", None, "hourly");
    wait_until("it is read", TIMEOUT, || worker.log_text().contains("securities and calendar are read anew"));
    scene.send_snapshots(&codes, MONTH);
    scene.wait_until_committed();
    wait_until("it is judged by", TIMEOUT, || warned(&scene, "after_delisting") == 8);
    assert!(scene.notifications_with("correlation_id", "hourly").is_empty(), "nobody is told of it every hour");
    assert_eq!(scene.dead_letters().len(), 0);
}

#[test]
fn minutes_that_do_not_make_up_their_daily_bar_are_told_of_or_skipped() {
    let (codes, days) = (codes(2), days());
    let mut data = Dataset::generated(&codes, &days);
    // The source's minutes go straight from a day's open to its close.
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
    // The source's minutes are those of its day, and it has another volume for one day by now.
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
    assert_eq!(stored(&scene), 2 * 8 * days.len() - 8, "the day is left out");
}
