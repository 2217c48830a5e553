// Upstream: actor, parts
// Downstream: domain, ports, simulation
// Role: Asks a source for securities that are not traded any more, at most once a day in the whole group.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::NaiveDate;

use crate::domain::reference_list::FetchedFormer;
use crate::domain::shanghai_clock;
use crate::ports::{HeartbeatStore, MarketSource, Swappable};

/// How long a request keeps the other workers from another one. It is longer than the Shanghai day that it names.
const CLAIM_LIFETIME: Duration = Duration::from_secs(2 * 86_400);

/// Decides which worker asks.
pub(crate) struct FormerStocksRequest {
    claims: Arc<Swappable<dyn HeartbeatStore>>,
    /// The last day on which this worker asked or another worker had asked.
    asked_on: Mutex<Option<NaiveDate>>,
}

impl FormerStocksRequest {
    pub(crate) fn new(claims: Arc<Swappable<dyn HeartbeatStore>>) -> Self {
        Self { claims, asked_on: Mutex::default() }
    }

    /// The securities that `source` names as not traded any more. Empty if they were asked for today, if the source has
    /// no such list, or if it refuses: the list of the day is complete without it.
    pub(crate) async fn ask(&self, source: &dyn MarketSource) -> FetchedFormer {
        if !source.has_former_stocks() || !self.is_due(source.name(), shanghai_clock::today()).await {
            return FetchedFormer::default();
        }
        match source.former_stocks().await {
            Ok(former) => former,
            Err(error) => {
                tracing::warn!(%error, "delisted securities are not known today; the list of listed ones is merged");
                FetchedFormer::default()
            }
        }
    }

    /// Whether this worker is the first of the day. Without the heartbeat store each worker asks once.
    async fn is_due(&self, source: &str, today: NaiveDate) -> bool {
        {
            let mut asked_on = self.asked_on.lock().unwrap_or_else(PoisonError::into_inner);
            if asked_on.replace(today) == Some(today) {
                return false;
            }
        }
        let claim = self.claims.pin().claim(&format!("former_stocks:{source}:{today}"), CLAIM_LIFETIME).await;
        claim.unwrap_or_else(|error| {
            tracing::debug!(%error, "the group's state is unknown; this worker asks");
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{FetchedStock, Field};
    use crate::ports::SourceErrorKind;
    use crate::simulation::{ModelHeartbeats, ModelSource};

    fn group() -> (Arc<ModelSource>, [FormerStocksRequest; 2]) {
        let claims = Swappable::new(Arc::new(ModelHeartbeats::default()) as Arc<dyn HeartbeatStore>);
        let source = ModelSource::default();
        source.edit(|data| {
            let (code, text) = (Field::Value("600001.SH".to_owned()), || Field::Value("name".to_owned()));
            let row = FetchedStock {
                code,
                name: text(),
                industry: text(),
                list_date: Field::Missing,
                delist_date: Field::Missing,
            };
            data.former = Some(FetchedFormer { paused: vec![row], delisted: Vec::new() });
        });
        (Arc::new(source), [FormerStocksRequest::new(claims.clone()), FormerStocksRequest::new(claims)])
    }

    #[tokio::test]
    async fn one_worker_of_the_group_asks_once_a_day() {
        let (source, workers) = group();
        let mut num_paused = Vec::new();
        for worker in workers.iter().chain(&workers) {
            num_paused.push(worker.ask(&*source).await.paused.len());
        }
        assert_eq!((num_paused, source.num_calls()), (vec![1, 0, 0, 0], 1));
    }

    #[tokio::test]
    async fn refusal_by_a_limit_leaves_the_list_as_it_is() {
        let (source, [worker, _]) = group();
        source.fail([SourceErrorKind::RateLimited { message: "once an hour".into(), retry_after: CLAIM_LIFETIME }]);
        assert_eq!(worker.ask(&*source).await, FetchedFormer::default());
        source.edit(|data| data.former = None);
        let (silent, [_, other]) = group();
        silent.edit(|data| data.former = None);
        assert_eq!((other.ask(&*silent).await, silent.num_calls()), (FetchedFormer::default(), 0));
    }
}
