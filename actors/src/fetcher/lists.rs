// Upstream: actor
// Downstream: domain, messages, parts, ports, validator
// Role: Fetches the stock list or the trading calendar and passes it to the Validator.

use std::sync::Arc;

use crate::domain::Stage;
use crate::domain::reference_list::{FetchedList, ListKind};
use crate::fetcher::FetchList;
use crate::fetcher::parts::FetchParts;
use crate::ports::{DataKind, MarketSource, SourceError, SourceErrorKind};
use crate::validator::ValidateList;

/// Fetches a whole list. An empty list is an error, because it would mean that no security is listed.
pub(crate) async fn fetch_list(parts: &FetchParts, FetchList { mut guard, kind }: FetchList) {
    let data_kind = match kind {
        ListKind::Stocks => DataKind::Stocks,
        ListKind::TradeDays => DataKind::TradeDays,
    };
    let call = async |source: Arc<dyn MarketSource>| {
        let list = match kind {
            ListKind::Stocks => {
                let listed = source.stocks().await?;
                let former = parts.former_stocks.ask(&*source).await;
                FetchedList::Stocks(listed, former)
            }
            ListKind::TradeDays => FetchedList::TradeDays(source.trade_days().await?),
        };
        let empty = || SourceErrorKind::BadAnswer("the list is empty".to_owned());
        let error = || SourceError { source_name: source.name(), request: data_kind.to_string(), kind: empty() };
        if list.is_empty() { Err(error()) } else { Ok(list) }
    };
    let (list, source) = match parts.caller.fetch(data_kind, call, &mut guard).await {
        Ok(answer) => answer,
        Err(failed) => return parts.fail(guard, failed),
    };
    guard.trace.sources.rows_came(list.len());
    parts.board.counters.rows_fetched.add(list.len() as u64);
    let Some(permit) = parts.row_budget.reserve(data_kind, list.len()).await else { return };
    guard.enter(Stage::Checking);
    parts.validator.do_send(ValidateList { guard, list, source, permit });
}
