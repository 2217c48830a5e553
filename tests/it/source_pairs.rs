// Upstream: backfill
// Downstream: kit, main_job
// Role: Tests each vendor's data besides daily bars, command by command: stored rows equal the server's rows.

use kit::baostock_server::BaoStockServer;
use kit::clickhouse::StoredBar;
use kit::eastmoney_server::EastMoneyServer;
use kit::minute_rows::{MinuteRow, minute_rows};
use kit::mysql::Tables;
use kit::scene::Scene;
use kit::tdx_server::TdxServer;
use kit::tushare_data::{Dataset, codes, last_closed_day, last_trading_days};
use kit::yahoo_server::YahooServer;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::main_job::PROGRAM;

/// The vendors' servers, all with the same rows.
struct Vendors {
    data: Dataset,
    codes: Vec<String>,
    days: Vec<chrono::NaiveDate>,
    baostock: BaoStockServer,
    eastmoney: EastMoneyServer,
    tdx: TdxServer,
    yahoo: YahooServer,
}

const VENDORS: [(&str, &str); 5] =
    [("baostock", "4"), ("eastmoney", "0"), ("tdx", "8"), ("tushare", "7"), ("yahoo", "6")];

impl Vendors {
    fn start(num_codes: usize, num_days: usize) -> Self {
        let today = last_closed_day();
        let days = last_trading_days(today.pred_opt().unwrap(), num_days);
        // BaoStock has no Beijing securities.
        let is_known = |code: &String| !code.ends_with(".BJ");
        let codes: Vec<String> = codes(2 * num_codes).into_iter().filter(is_known).take(num_codes).collect();
        let data = Dataset::generated(&codes, &days);
        Self {
            baostock: BaoStockServer::start(data.clone()).unwrap(),
            eastmoney: EastMoneyServer::start(data.clone()).unwrap(),
            tdx: TdxServer::start(data.clone()).unwrap(),
            yahoo: YahooServer::start(data.clone()).unwrap(),
            data,
            codes,
            days,
        }
    }

    /// A scene with this vendor as the only source.
    fn scene(&self, name: &str, vendor: &str) -> Scene {
        let mut scene = Scene::new(&format!("{name}_{vendor}"), PROGRAM, self.data.clone());
        scene
            .set("sources.bars", format!("[{vendor}]"))
            .set("sources.baostock.address", self.baostock.address())
            .set("sources.eastmoney.url", self.eastmoney.url())
            .set("sources.eastmoney.list_url", self.eastmoney.url())
            .set("sources.eastmoney.requests_per_minute", 0)
            .set("sources.tdx.hosts", format!("[\"{}\"]", self.tdx.address()))
            .set("sources.tdx.requests_per_minute", 0)
            .set("sources.yahoo.url", self.yahoo.url());
        scene
    }
}

fn rounded(number: Decimal) -> String {
    number.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero).normalize().to_string()
}

/// The stored form of a vendor's minute bar: volume truncated to whole lots, amount rounded in thousand yuan.
pub(crate) fn stored(code: &str, row: &MinuteRow, vendor: &str) -> StoredBar {
    let price = |hundredths: i64| rounded(Decimal::new(hundredths, 2));
    let amount = match vendor {
        "yahoo" => Decimal::ZERO,
        // TDX sends amounts in single precision.
        "tdx" => Decimal::try_from(f64::from((row.amount() as f64 / 100.0) as f32)).unwrap() / Decimal::ONE_THOUSAND,
        _ => Decimal::new(row.amount(), 5),
    };
    let values = [row.open, row.high(), row.low(), row.close].map(price);
    let [open, high, low, close] = values;
    let values = [open, high, low, close, (row.shares / 100).to_string(), rounded(amount)];
    StoredBar { code: code.to_owned(), timestamp: row.end.format("%Y-%m-%d %H:%M:%S").to_string(), values }
}

#[test]
fn minutes_of_every_vendor_are_exact() {
    let vendors = Vendors::start(2, 3);
    for (vendor, number) in VENDORS {
        for (frequency, step) in [("5m", 5), ("30m", 30)] {
            let mut scene = vendors.scene(&format!("pairs_{frequency}"), vendor);
            let _worker = scene.start("n1");
            let start = vendors.days[0].format("%Y%m%d");
            let params = format!(r#""frequency":"{frequency}","start_date":"{start}""#);
            scene.send_snapshots(&vendors.codes, &params);
            scene.wait_until_committed();
            let rows = |code: &String| vendors.data.rows(code).to_vec();
            let mut expected: Vec<StoredBar> = Vec::new();
            for code in &vendors.codes {
                let minutes = rows(code).into_iter().flat_map(|row| minute_rows(&row, step, false));
                expected.extend(minutes.map(|row| stored(code, &row, vendor)));
            }
            expected.sort();
            let found = scene.database.bars();
            assert_eq!(found.len(), expected.len(), "{vendor} {frequency}");
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!(found, expected, "{vendor} {frequency}");
            }
            assert_eq!(scene.database.query("SELECT DISTINCT source FROM bar").trim(), number, "{vendor}");
            assert_eq!(scene.dead_letters().len(), 0, "{vendor} {frequency}");
        }
    }
}

fn command(name: &str, params: &str) -> Vec<u8> {
    format!(r#"{{"command":"{name}","params":{{{params}}}}}"#).into_bytes()
}

#[test]
fn factors_of_every_vendor_that_has_them_are_exact() {
    let vendors = Vendors::start(1, 4);
    let (code, days) = (&vendors.codes[0], &vendors.days);
    let close: Decimal = vendors.data.rows(code)[1].cells()[3].parse().unwrap();
    // Ex-right on the third day: three yuan and five shares for ten shares.
    let reference = ((close * Decimal::TEN - Decimal::from(3)) / Decimal::from(15))
        .round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    let ratio = (close / reference).round_dp_with_strategy(6, RoundingStrategy::MidpointAwayFromZero).normalize();
    vendors.tdx.set_events(code, vec![(days[2], 1, [3.0, 0.0, 5.0, 0.0])]);
    vendors.baostock.set_factor(code, days[0], 1.0);
    vendors.baostock.set_factor(code, days[2], 2.5);
    for (vendor, number, factors) in [
        ("baostock", "4", ["1", "1", "2.5", "2.5"].map(str::to_owned)),
        ("tdx", "8", ["1".to_owned(), "1".to_owned(), ratio.to_string(), ratio.to_string()]),
        ("tushare", "7", ["2", "2", "2.5", "2.5"].map(str::to_owned)),
    ] {
        let mut scene = vendors.scene("pairs_factors", vendor);
        scene.source.set_factor(code, days[0], 2.0);
        scene.source.set_factor(code, days[2], 2.5);
        let _worker = scene.start("n1");
        scene.send(&[command("adjustfactor", &format!(r#""code":"{code}""#))]);
        scene.wait_until_committed();
        let sql = "SELECT toDate(timestamp), toString(adjustfactor), source FROM adjustfactor ORDER BY timestamp, uuid";
        let found: Vec<String> = scene.database.query(sql).lines().map(str::to_owned).collect();
        let expected: Vec<String> =
            days.iter().zip(&factors).map(|(day, factor)| format!("{day}\t{factor}\t{number}")).collect();
        assert_eq!(found, expected, "{vendor}");
        assert_eq!(scene.dead_letters().len(), 0, "{vendor}");
    }
}

#[test]
fn lists_of_every_vendor_that_has_them_are_exact() {
    let vendors = Vendors::start(12, 4);
    for (vendor, number) in VENDORS.into_iter().filter(|(vendor, _)| *vendor != "yahoo") {
        let mut scene = vendors.scene("pairs_lists", vendor);
        let tables = Tables::create(&scene.name);
        let _worker = scene.start("n1");
        scene.send(&[command("stockinfo", "")]);
        scene.wait_until_committed();
        let found = tables.rows("SELECT code, code_name, source FROM stock_info ORDER BY code");
        let mut expected: Vec<Vec<String>> = vendors
            .codes
            .iter()
            .map(|code| vec![code.clone(), format!("股票{}", &code[..6]), number.to_owned()])
            .collect();
        expected.sort();
        // TDX names have eight bytes: one character and six digits.
        for row in expected.iter_mut().filter(|_| vendor == "tdx") {
            row[1] = format!("股{}", &row[0][..6]);
        }
        assert_eq!(found, expected, "{vendor}");
        if matches!(vendor, "baostock" | "tushare") {
            scene.send(&[command("trade_day", "")]);
            scene.wait_until_committed();
            let open =
                tables.rows("SELECT DATE(timestamp), source FROM trade_day WHERE is_open = 1 ORDER BY timestamp");
            let expected: Vec<[String; 2]> =
                vendors.days.iter().map(|day| [day.to_string(), number.to_owned()]).collect();
            assert_eq!(open, expected, "{vendor}");
        }
        assert_eq!(scene.dead_letters().len(), 0, "{vendor}");
    }
}
