// Upstream: round
// Downstream: content, kit
// Role: The vendor's data of a round, the commands that sync them, and a correction of them.

use std::fmt::Write as _;
use std::path::PathBuf;

use chrono::NaiveDate;
use kit::minute_rows::{hundredths, minute_rows};
use kit::random::Random;
use kit::scene::Scene;
use kit::tushare_data::{DailyRow, Dataset, codes, last_closed_day, last_trading_days};
use kit::tushare_server::TushareServer;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::crash::content::Content;

/// Codes with daily bars; the first ones have the other kinds of data too.
const CODES: usize = 30;
const WITH_FACTORS: usize = 10;
const WITH_MINUTES: usize = 4;
const WITH_TICKS: usize = 3;
const DAYS: usize = 40;
/// The newest days, which have minute bars and ticks.
const FINE_DAYS: usize = 5;

/// The data and what the vendor has answered so far.
pub struct Market {
    codes: Vec<String>,
    last_day: NaiveDate,
    folder: PathBuf,
    /// The newest days before the correction.
    fine_days: Vec<NaiveDate>,
    is_corrected: bool,
}

impl Market {
    /// A data set of the vendor without its last day, which the correction adds.
    pub fn new() -> (Self, Dataset) {
        let codes = codes(CODES);
        let mut days = last_trading_days(last_closed_day(), DAYS + 1);
        let last_day = days.pop().unwrap();
        let mut data = Dataset::generated(&codes, &days);
        for code in &codes {
            data.set_factor(code, days[0], 2.0);
            data.set_factor(code, days[DAYS / 2], 2.5);
        }
        let fine_days = days.split_off(DAYS - FINE_DAYS);
        (Self { codes, last_day, folder: PathBuf::new(), fine_days, is_corrected: false }, data)
    }

    /// Writes the files of ticks and sets the scene's source of them.
    pub fn serve_ticks(&mut self, scene: &mut Scene) {
        self.folder = scene.folder().join("ticks");
        std::fs::create_dir(&self.folder).unwrap();
        scene.set("sources.ticks", "[files]").set("sources.files.folder", self.folder.display());
        self.write_ticks();
    }

    /// The codes with ticks.
    pub fn tick_codes(&self) -> &[String] {
        &self.codes[..WITH_TICKS]
    }

    /// The vendor corrects a third of its bars and all ticks; it has one day and one security more, and the day is an
    /// ex-right.
    pub fn correct(&mut self, vendor: &TushareServer) {
        for code in self.codes.iter().step_by(3) {
            vendor.set_rows(code, vendor.rows(code).iter().map(corrected).collect());
        }
        let new = codes(CODES + 1).pop().unwrap();
        vendor.set_rows(&new, vendor.rows(&self.codes[0]));
        vendor.append_day(self.last_day);
        for code in &self.codes {
            vendor.set_factor(code, self.last_day, 3.125);
        }
        self.is_corrected = true;
        self.write_ticks();
    }

    /// The days with minute bars and ticks.
    fn fine_days(&self) -> Vec<NaiveDate> {
        let newest = self.is_corrected.then_some(self.last_day);
        self.fine_days.iter().copied().chain(newest).collect()
    }

    /// The ticks of a day, `time,price,volume,direction`: two equal ones in each minute of the morning.
    fn ticks(&self, code: &str, day: NaiveDate) -> Vec<[String; 4]> {
        let base = 1_000 + code.bytes().map(i64::from).sum::<i64>() % 100 + i64::from(self.is_corrected);
        let count = if self.is_corrected { 236 } else { 230 };
        let tick = |n: i64| {
            let minute = 570 + n / 2;
            let time = format!("{day} {:02}:{:02}:00", minute / 60, minute % 60);
            [time, hundredths(base + n / 2), "5".to_owned(), (n / 2 % 3).to_string()]
        };
        (0..count).map(tick).collect()
    }

    /// A reader finds the old file or the new one.
    fn write_ticks(&self) {
        for code in self.tick_codes() {
            let mut text = "time,price,volume,direction\n".to_owned();
            for tick in self.fine_days().iter().flat_map(|day| self.ticks(code, *day)) {
                writeln!(text, "{}", tick.join(",")).unwrap();
            }
            let new = self.folder.join(format!("{code}.new"));
            std::fs::write(&new, text).unwrap();
            std::fs::rename(new, self.folder.join(format!("{code}.ticks.csv"))).unwrap();
        }
    }

    /// What the vendor answers now, as it is to be stored.
    pub fn answer(&self, vendor: &TushareServer) -> Content {
        let mut content = Content::default();
        for bar in Scene::expected_of(vendor, &self.codes) {
            content.add("bar", format!("{} 1 {}", bar.code, bar.timestamp), bar.values.join(" "));
        }
        let fine_days = self.fine_days();
        for code in &self.codes[..WITH_MINUTES] {
            for row in vendor.rows(code).iter().filter(|row| fine_days.contains(&row.date)) {
                add_minutes(&mut content, code, row);
            }
        }
        for code in &self.codes[..WITH_FACTORS] {
            self.add_factors(&mut content, code, &vendor.rows(code));
        }
        for code in self.tick_codes() {
            for [time, price, volume, direction] in fine_days.iter().flat_map(|day| self.ticks(code, *day)) {
                let price = price.parse::<Decimal>().unwrap().normalize();
                content.add_tick(code, &format!("{time}\t{price}\t{volume}\t{direction}"));
            }
        }
        for code in codes(if self.is_corrected { CODES + 1 } else { CODES }) {
            content.add("stock_info", code.clone(), format!("股票{} 2000-01-01", &code[..6]));
        }
        let open: Vec<NaiveDate> = vendor.rows(&self.codes[0]).iter().map(|row| row.date).collect();
        for day in open[0].iter_days().take_while(|day| day <= open.last().unwrap()) {
            content.add("trade_day", day.to_string(), u8::from(open.contains(&day)).to_string());
        }
        content.sorted()
    }

    fn add_factors(&self, content: &mut Content, code: &str, rows: &[DailyRow]) {
        let of = |n: usize| match n {
            DAYS.. => 3.125,
            n if n >= DAYS / 2 => 2.5,
            _ => 2.0,
        };
        let shown = |value: f64| format!("{value:.6}").trim_end_matches('0').trim_end_matches('.').to_owned();
        let (first, last) = (of(0), of(rows.len() - 1));
        for (n, row) in rows.iter().enumerate() {
            let factor = of(n);
            let values = [factor, last / factor, factor / first].map(shown).join(" ");
            content.add("adjustfactor", format!("{code} {}", row.date), values);
        }
    }

    /// The commands of the first wave, in a random order: everything is new.
    pub fn first_commands(&self, random: &mut Random) -> Vec<Vec<u8>> {
        let mut commands = self.each("", "", "");
        commands.push(command("bar_snapshot", &format!(r#""codes":{:?},"full":true"#, self.codes)));
        commands.extend(self.codes.iter().take(8).map(|code| of_code("bar_snapshot", code, "")));
        random.shuffle(&mut commands);
        commands
    }

    /// The commands of the second wave, in a random order: what is stored is replaced, and increments run beside.
    pub fn second_commands(&self, random: &mut Random) -> Vec<Vec<u8>> {
        let mut commands = self.each(r#","force":true"#, r#","full":true"#, r#","overwrite":true"#);
        commands.extend(self.each("", "", ""));
        commands.push(command("bar_snapshot", &format!(r#""codes":{:?},"full":true"#, self.codes)));
        random.shuffle(&mut commands);
        commands
    }

    /// The commands that write every range once more.
    pub fn last_commands(&self) -> Vec<Vec<u8>> {
        self.each(r#","force":true"#, r#","full":true"#, r#","overwrite":true"#)
    }

    /// A command for each security and kind of data, with these further parameters.
    fn each(&self, of_bars: &str, of_factors: &str, of_ticks: &str) -> Vec<Vec<u8>> {
        let start = format!(r#","start_date":"{}""#, self.fine_days[0].format("%Y%m%d"));
        let of = |count: usize, name: &str, params: String| -> Vec<Vec<u8>> {
            self.codes[..count].iter().map(|code| of_code(name, code, &params)).collect()
        };
        [
            of(CODES, "bar_snapshot", of_bars.to_owned()),
            of(WITH_MINUTES, "bar_snapshot", format!(r#","frequency":"5m"{start}{of_bars}"#)),
            of(WITH_FACTORS, "adjustfactor", of_factors.to_owned()),
            of(WITH_TICKS, "tick", format!("{start}{of_ticks}")),
            vec![command("stockinfo", ""), command("trade_day", "")],
        ]
        .concat()
    }
}

fn command(name: &str, params: &str) -> Vec<u8> {
    format!(r#"{{"command":"{name}","timestamp":"2026-08-10T21:10:00","params":{{{params}}},"source":"task_timer"}}"#)
        .into_bytes()
}

fn of_code(name: &str, code: &str, params: &str) -> Vec<u8> {
    command(name, &format!(r#""code":"{code}"{params}"#))
}

/// The same day with other prices.
fn corrected(row: &DailyRow) -> DailyRow {
    let [open, high, low, close, before, volume, amount] = row.cells();
    let more = |price: &str, by: i64| (price.parse::<Decimal>().unwrap() + Decimal::new(by, 2)).to_string();
    DailyRow::new(row.date, [&more(open, 1), &more(high, 3), low, close, before, volume, amount])
}

/// Five-minute bars: prices in yuan, lots, and thousands of yuan.
fn add_minutes(content: &mut Content, code: &str, row: &DailyRow) {
    for bar in minute_rows(row, 5, false) {
        let amount = Decimal::new(bar.amount(), 5).round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
        let [open, high, low, close] =
            [bar.open, bar.high(), bar.low(), bar.close].map(|price| Decimal::new(price, 2).normalize());
        let values = format!("{open} {high} {low} {close} {} {}", bar.shares / 100, amount.normalize());
        content.add("bar", format!("{code} 3 {}", bar.end.format("%Y-%m-%d %H:%M:%S")), values);
    }
}
