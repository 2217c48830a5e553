// Upstream: tdx_server, tests::it
// Downstream: minute_rows, tushare_data
// Role: Response bodies of the TDX server: the data set's bars, trades and ex-right events.

use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate, Timelike};

use crate::minute_rows::minute_rows;
use crate::tushare_data::{DailyRow, Dataset};

/// A trade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TickRow {
    /// Minutes since midnight.
    pub minute: u16,
    /// Price in hundredths of a yuan.
    pub price: i64,
    /// Volume in lots of 100 shares.
    pub lots: i64,
    /// Direction: 0 buy, 1 sell, 2 neither.
    pub side: i64,
}

/// Trades per minute: enough for a day to exceed one page.
const TICKS_A_MINUTE: usize = 10;

/// The trades of a day, oldest first.
pub fn ticks(row: &DailyRow) -> Vec<TickRow> {
    let bars = minute_rows(row, 1, false);
    let auction = bars.first().map(|bar| TickRow { minute: 565, price: bar.open, lots: 10, side: 2 });
    let of_minute = |bar: &crate::minute_rows::MinuteRow| {
        // A trade is labelled with the minute in which it happened, a bar with its end.
        let minute = (bar.end.hour() * 60 + bar.end.minute() - 1) as u16;
        let (open, close, lots) = (bar.open, bar.close, bar.shares / 100 / TICKS_A_MINUTE as i64);
        (0..TICKS_A_MINUTE).map(move |number| TickRow {
            minute,
            price: if number % 2 == 0 { open } else { close },
            lots: lots + number as i64 % 3,
            side: number as i64 % 3,
        })
    };
    auction.into_iter().chain(bars.iter().flat_map(of_minute)).collect()
}

/// A corporate event: day, category and four values.
pub type Event = (NaiveDate, u8, [f32; 4]);

/// The code, such as `600000.SH`, of a market number and six digits.
fn code_of(market: u16, digits: &[u8]) -> String {
    let suffix = ["SZ", "SH", "BJ"].get(usize::from(market)).copied().unwrap_or("??");
    format!("{}.{suffix}", String::from_utf8_lossy(digits))
}

/// Encodes a signed number: the first byte holds a continuation bit, the sign and six bits, each further byte a
/// continuation bit and seven bits.
pub fn varint(number: i64) -> Vec<u8> {
    let (sign, mut rest) = (if number < 0 { 0x40 } else { 0 }, number.unsigned_abs());
    let mut bytes = vec![sign | (rest & 0x3f) as u8];
    rest >>= 6;
    while rest > 0 {
        if let Some(last) = bytes.last_mut() {
            *last |= 0x80;
        }
        bytes.push((rest & 0x7f) as u8);
        rest >>= 7;
    }
    bytes
}

/// A day as a number such as 20240102.
fn number_of(day: NaiveDate) -> u32 {
    day.year() as u32 * 10_000 + day.month() * 100 + day.day()
}

/// A page of rows; `skip` counts back from the newest one.
fn page<T>(rows: &[T], skip: u16, count: u16) -> &[T] {
    let end = rows.len().saturating_sub(usize::from(skip));
    &rows[end.saturating_sub(usize::from(count))..end]
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// The data of a server.
#[derive(Debug, Default)]
pub struct TdxData {
    /// Bars by code.
    pub dataset: Dataset,
    /// Corporate events by code.
    pub events: BTreeMap<String, Vec<Event>>,
    /// The number of newest minute bars that the server keeps per security; `None` keeps all.
    pub minute_depth: Option<usize>,
}

impl TdxData {
    /// The body of the response to a request, and whether it is compressed; `None` if the kind is unknown.
    pub fn answer(&self, kind: u16, payload: &[u8]) -> Option<(Vec<u8>, bool)> {
        Some(match kind {
            0x000d => (b"kit".repeat(60), true),
            0x0fdb => (vec![0; 40], true),
            0x044e => ((self.listed(u16_at(payload, 0)).len() as u16).to_le_bytes().to_vec(), false),
            0x0450 => (self.list(u16_at(payload, 0), u16_at(payload, 2)), true),
            0x052d => (self.bars(payload), true),
            0x0fb5 => {
                let date = u32::from_le_bytes([payload[0], payload[1], payload[2], payload[3]]);
                let code = code_of(u16_at(payload, 4), &payload[6..12]);
                let row = self.dataset.rows(&code).iter().find(|row| number_of(row.date) == date);
                let rows = row.map_or(Vec::new(), ticks);
                (tick_body(page(&rows, u16_at(payload, 12), u16_at(payload, 14).min(2_000)), true), true)
            }
            0x0fc5 => {
                let code = code_of(u16_at(payload, 0), &payload[2..8]);
                let rows = self.dataset.rows(&code).last().map_or(Vec::new(), ticks);
                (tick_body(page(&rows, u16_at(payload, 8), u16_at(payload, 10).min(1_800)), false), true)
            }
            0x000f => (self.ex_rights(&payload[2..]), true),
            0x0fb4 => (self.minute_line(payload), true),
            _ => return None,
        })
    }

    /// The codes of a market: its shares, an index and a fund.
    fn listed(&self, market: u16) -> Vec<String> {
        let suffix = if market == 1 { ".SH" } else { ".SZ" };
        let shares = self.dataset.codes().filter(|code| code.ends_with(suffix)).map(str::to_owned);
        let others = if market == 1 { ["000001.SH", "510300.SH"] } else { ["399001.SZ", "159915.SZ"] };
        let mut all: Vec<String> = shares.chain(others.map(str::to_owned)).collect();
        all.sort();
        all
    }

    fn list(&self, market: u16, skip: u16) -> Vec<u8> {
        let listed = self.listed(market);
        let page: Vec<&String> = listed.iter().skip(usize::from(skip)).take(1_000).collect();
        let mut body = (page.len() as u16).to_le_bytes().to_vec();
        for code in page {
            let digits = &code.as_bytes()[..6];
            // The character 股 in GBK.
            let name = [&[0xb9, 0xc9][..], digits].concat();
            let close =
                self.dataset.rows(code).last().and_then(|row| row.cells()[3].parse::<f32>().ok()).unwrap_or(1.0);
            body.extend([digits, &[100, 0], &name, &[0; 4], &[2], &close.to_le_bytes(), &[0; 4]].concat());
        }
        body
    }

    fn bars(&self, payload: &[u8]) -> Vec<u8> {
        let code = code_of(u16_at(payload, 0), &payload[2..8]);
        let (category, skip, count) = (u16_at(payload, 8), u16_at(payload, 12), u16_at(payload, 14).min(800));
        let step = [(0, 5), (1, 15), (2, 30), (3, 60), (7, 1), (8, 1)].iter().find(|(number, _)| *number == category);
        let rows = self.dataset.rows(&code);
        let records: Vec<(Vec<u8>, [i64; 4], f32, f32)> = match step {
            None => rows.iter().map(|row| daily_record(row, category == 9)).collect(),
            Some((_, step)) => {
                let mut records: Vec<_> =
                    rows.iter().flat_map(|row| minute_rows(row, *step, false)).map(|bar| minute_record(&bar)).collect();
                let depth = self.minute_depth.unwrap_or(records.len()).min(records.len());
                records.split_off(records.len() - depth)
            }
        };
        let page = page(&records, skip, count);
        let mut body = (page.len() as u16).to_le_bytes().to_vec();
        let mut before = 0;
        for (time, [open, close, high, low], volume, amount) in page {
            body.extend(time);
            for number in [open - before, close - open, high - open, low - open] {
                body.extend(varint(number));
            }
            body.extend(volume.to_le_bytes());
            body.extend(amount.to_le_bytes());
            before = *close;
        }
        body
    }

    fn ex_rights(&self, security: &[u8]) -> Vec<u8> {
        let code = code_of(u16::from(security[0]), &security[1..7]);
        let events = self.events.get(&code).map_or(&[][..], Vec::as_slice);
        let mut body = [&[1, 0][..], security, &(events.len() as u16).to_le_bytes()].concat();
        for (day, category, values) in events {
            let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            body.extend([security, &[0], &number_of(*day).to_le_bytes(), &[*category], &values].concat());
        }
        body
    }

    /// The price at each minute of a day, which the vendor's clients also request.
    fn minute_line(&self, payload: &[u8]) -> Vec<u8> {
        let date = u32::from_le_bytes([payload[0], payload[1], payload[2], payload[3]]);
        let code = code_of(u16::from(payload[4]), &payload[5..11]);
        let row = self.dataset.rows(&code).iter().find(|row| number_of(row.date) == date);
        let bars = row.map_or(Vec::new(), |row| minute_rows(row, 1, false));
        let mut body = [&(bars.len() as u16).to_le_bytes()[..], &[0; 4]].concat();
        let mut before = 0;
        for bar in bars {
            body.extend([varint(bar.close - before), varint(0), varint(bar.shares / 100)].concat());
            before = bar.close;
        }
        body
    }
}

/// Time, prices in thousandths of a yuan, volume, amount in yuan. Category 9 counts the volume in lots, category 4 in
/// shares.
fn daily_record(row: &DailyRow, in_lots: bool) -> (Vec<u8>, [i64; 4], f32, f32) {
    let [open, high, low, close, _, lots, amount] = row.cells().map(|cell| cell.parse::<f64>().unwrap_or(0.0));
    let prices = [open, close, high, low].map(|price| (price * 1_000.0).round() as i64);
    let volume = if in_lots { lots.trunc() } else { lots.trunc() * 100.0 };
    (number_of(row.date).to_le_bytes().to_vec(), prices, volume as f32, (amount * 1_000.0) as f32)
}

fn minute_record(bar: &crate::minute_rows::MinuteRow) -> (Vec<u8>, [i64; 4], f32, f32) {
    let day = ((bar.end.year() - 2004) * 2048 + (bar.end.month() * 100 + bar.end.day()) as i32) as u16;
    let minute = (bar.end.hour() * 60 + bar.end.minute()) as u16;
    let time = [day.to_le_bytes(), minute.to_le_bytes()].concat();
    let prices = [bar.open, bar.close, bar.high(), bar.low()].map(|price| price * 10);
    (time, prices, bar.shares as f32, (bar.amount() as f64 / 100.0) as f32)
}

fn tick_body(ticks: &[TickRow], is_past: bool) -> Vec<u8> {
    let mut body = (ticks.len() as u16).to_le_bytes().to_vec();
    if is_past {
        body.extend([0; 4]);
    }
    let mut before = 0;
    for tick in ticks {
        body.extend(tick.minute.to_le_bytes());
        body.extend([varint(tick.price - before), varint(tick.lots)].concat());
        if !is_past {
            body.extend(varint(1));
        }
        body.extend([varint(tick.side), varint(0)].concat());
        before = tick.price;
    }
    body
}
