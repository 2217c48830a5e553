// Upstream: none
// Downstream: actors, http, kit, main_job
// Role: Tests the end of the trading calendar on real servers: one request of the group, alert, report and metric.

use actors::domain::calendar::TradingCalendar;
use actors::domain::shanghai_clock;
use chrono::{Days, NaiveDate};
use kit::http::get;
use kit::mysql::Tables;
use kit::scene::{Scene, TIMEOUT};
use kit::wait::{wait_for, wait_until};

use crate::http::address;
use crate::main_job::{Market, PROGRAM, market};

const CREATED: &str = "2024-01-01";

/// Days from today on, by their distance.
fn from_today(distance: u64) -> NaiveDate {
    shanghai_clock::today().checked_add_days(Days::new(distance)).unwrap()
}

/// Marks the days after `first` that the built-in calendar knows as closed, so that the calendar ends there.
fn end_calendar_before(tables: &Tables, first: NaiveDate) {
    let last = TradingCalendar::built_in().range().unwrap().end;
    let days: Vec<NaiveDate> = first.iter_days().take_while(|day| *day <= last).collect();
    if !days.is_empty() {
        let row =
            |day: &NaiveDate| format!("(1, 0, '{day}', replace(uuid(), '-', ''), '{{}}', '', now(), now(), 0, 7)");
        let rows: Vec<String> = days.iter().map(row).collect();
        tables.run(&format!("INSERT INTO trade_day VALUES {}", rows.join(", ")));
    }
}

#[test]
fn one_worker_requests_the_calendar_before_it_ends() {
    let Market { data, .. } = market(1, 250);
    let mut scene = Scene::new("calendar_end", PROGRAM, data);
    scene.set("fetch.extend_calendar", true).set("log.level", "debug").set("quality.report_interval_ms", 1_000);
    let tables = Tables::create_as_ginkgo(&scene.name);
    tables.add_trade_day(1, &from_today(1).to_string(), true, CREATED);
    end_calendar_before(&tables, from_today(2));
    let before = tables.rows("SELECT count(*) FROM trade_day");

    let workers = [scene.start("n1"), scene.start("n2")];
    wait_until("both have looked", TIMEOUT, || {
        let has_looked = |log: &str| log.contains("trade_day is sent") || log.contains("was requested today");
        workers.iter().all(|worker| has_looked(&worker.log_text()))
    });
    let num_sent = workers.iter().filter(|worker| worker.log_text().contains("trade_day is sent")).count();
    assert_eq!(num_sent, 1, "one of the group");
    wait_until("the calendar of the source", TIMEOUT, || tables.rows("SELECT count(*) FROM trade_day") != before);
    let reports = wait_for("the report", TIMEOUT, || scene.notifications_with("task_type", "trade_day").pop());
    assert!(reports["content"].as_str().unwrap().contains("; the trading calendar ends in 1 day"), "{reports}");

    let alerts = || scene.notifications_with("alert_type", "calendar_ends");
    wait_until("an alert", TIMEOUT, || !alerts().is_empty());
    let alert = &alerts()[0];
    assert_eq!((&alert["severity"], &alert["data"]["state"]), (&"WARNING".into(), &"raised".into()));
    let address = address(&scene, "n1");
    let metric = || get(&address, "/metrics").body;
    assert!(metric().contains("data_worker_calendar_days_left{node_id=\"n1\"} 1.0\n"), "{}", metric());

    // The exchanges announce the next year.
    tables.run("DELETE FROM trade_day");
    (1..100).for_each(|distance| tables.add_trade_day(1, &from_today(distance).to_string(), true, CREATED));
    scene.order("update_selector", None, "hourly");
    wait_until("the alert is resolved", TIMEOUT, || alerts().iter().any(|alert| alert["data"]["state"] == "resolved"));
    assert!(metric().contains("data_worker_calendar_days_left{node_id=\"n1\"} 99.0\n"), "{}", metric());
    assert_eq!(alerts().len(), 2, "raised once and resolved once in the group");
    assert_eq!(scene.dead_letters().len(), 0);
}
