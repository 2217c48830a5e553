// Upstream: source
// Downstream: actors, bars, client, request, ticks
// Role: Joins TDX's pages, which count back from the newest row, into complete answers.

use actors::domain::{DateRange, FetchedBar, FetchedTick, Field, Frequency};
use actors::ports::SourceErrorKind;
use chrono::{NaiveDate, NaiveDateTime};
use rust_decimal::Decimal;

use crate::sources::tdx::bars::{Bars, PAGE_BARS};
use crate::sources::tdx::client::TdxClient;
use crate::sources::tdx::request::Security;
use crate::sources::tdx::ticks::TickPage;

/// Each page of trades repeats this many trades of the previous page, to detect trades that arrive between the two
/// requests.
const OVERLAP: usize = 8;

/// The bars from the newest back to the beginning of a range.
#[derive(Debug, Default)]
pub struct Pages {
    /// The bars of the range, oldest first.
    pub bars: Vec<FetchedBar>,
    /// The days of the range with a daily bar without any trade, newest first: the security was suspended.
    pub suspended: Vec<NaiveDate>,
    /// The last bar before the range, if there is one.
    pub before: Option<FetchedBar>,
    /// The oldest day among all bars read.
    pub oldest: Option<NaiveDate>,
}

/// Reads the bars of a range and the last bar before it.
pub async fn bars(
    client: &TdxClient,
    security: Security,
    frequency: Frequency,
    range: DateRange,
) -> Result<Pages, SourceErrorKind> {
    let mut pages = Pages::default();
    let mut newest_first: Vec<FetchedBar> = Vec::new();
    let mut oldest: Option<NaiveDateTime> = None;
    for page_number in 0_u16.. {
        let Some(skip) = page_number.checked_mul(PAGE_BARS) else {
            let text = format!("no end after {} bars, the maximum of the protocol", u16::MAX / PAGE_BARS * PAGE_BARS);
            return Err(SourceErrorKind::BadAnswer(text));
        };
        let page = client.ask(&Bars { security, frequency, skip, count: PAGE_BARS }).await?;
        let is_last = page.len() < usize::from(PAGE_BARS);
        let before = oldest;
        for bar in page.into_iter().rev() {
            if let Field::Value(time) = bar.timestamp {
                // A new bar shifts the pages, so a bar of the previous page may occur again.
                if oldest.is_some_and(|oldest| time >= oldest) {
                    continue;
                }
                oldest = Some(time);
                if time.date() < range.start && pages.before.is_none() && is_traded(&bar, frequency) {
                    pages.before = Some(bar);
                    continue;
                }
                if !range.contains(time.date()) {
                    continue;
                }
            }
            match &bar.timestamp {
                _ if is_traded(&bar, frequency) => newest_first.push(bar),
                Field::Value(time) => pages.suspended.push(time.date()),
                _ => {}
            }
        }
        if is_last || pages.before.is_some() {
            break;
        }
        if oldest == before {
            let text = format!("the page after {skip} bars has no older ones than the previous page");
            return Err(SourceErrorKind::BadAnswer(text));
        }
    }
    pages.oldest = oldest.map(|time| time.date());
    newest_first.reverse();
    pages.bars = newest_first;
    Ok(pages)
}

/// Reads all trades of a day, oldest first.
pub async fn ticks<P: TickPage>(
    client: &TdxClient,
    security: Security,
    day: NaiveDate,
) -> Result<Vec<FetchedTick>, SourceErrorKind> {
    let mut newest_first: Vec<FetchedTick> = Vec::new();
    loop {
        let overlap = newest_first.len().min(OVERLAP);
        let Ok(skip) = u16::try_from(newest_first.len() - overlap) else {
            let text = format!("no end after {} trades, the maximum of the protocol", newest_first.len());
            return Err(SourceErrorKind::BadAnswer(text));
        };
        let page = client.ask(&P::page(security, day, skip)).await?;
        let is_last = page.len() < usize::from(P::PAGE_TICKS);
        let mut page = page.into_iter().rev();
        let (known, again) = (newest_first.iter().rev().take(overlap).rev(), page.by_ref().take(overlap));
        if !known.cloned().eq(again) {
            let text = format!("new trades arrived while the trades before the last {skip} were requested");
            return Err(SourceErrorKind::Server(text));
        }
        newest_first.extend(page);
        if is_last {
            newest_first.reverse();
            return Ok(newest_first);
        }
    }
}

/// Whether anything was traded. Servers have a bar for a suspended day, which is no trading day of the security.
/// Minutes without a trade are usual within a day.
fn is_traded(bar: &FetchedBar, frequency: Frequency) -> bool {
    let none = Field::Value(Decimal::ZERO);
    frequency != Frequency::Day || bar.volume != none || bar.amount != none
}
