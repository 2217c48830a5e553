// Upstream: actor, parts
// Downstream: by_code, domain, joint_call, ports, refusals
// Role: Fetches bars or factors of several securities with one call, for tasks that request the same days.

//! A call for one security leaves most of an answer empty: five years are 1,200 rows of 6,000. Where whole days do not
//! help - the range is long, or the rows replace stored ones - several tasks fill the answer together.

use std::sync::Arc;

use crate::domain::{Code, FetchedFactor};
use crate::fetcher::by_code::{BarsByCode, ByCode};
use crate::fetcher::joint_call::{Capacity, CodeRequest, JointCalls};
use crate::fetcher::refusals::Refusals;
use crate::ports::{Abilities, DataKind, MarketSource, NotedBars, SourceError};

/// Calls for several securities.
pub struct SeveralCodes {
    bars: JointCalls<BarsByCode>,
    factors: JointCalls<ByCode<FetchedFactor>>,
    /// The sources that refused such calls.
    refusals: Refusals,
}

impl Default for SeveralCodes {
    fn default() -> Self {
        let refusals = Refusals::of("rows of several securities in one call");
        Self { bars: JointCalls::default(), factors: JointCalls::default(), refusals }
    }
}

impl SeveralCodes {
    /// Whether the source may be asked for this security together with others.
    pub fn offers(&self, source: &dyn MarketSource, kind: DataKind, request: CodeRequest) -> bool {
        let capacity = capacity(&source.abilities(kind));
        // Two such requests must fit.
        capacity.num_codes > 1
            && request.num_rows <= capacity.num_rows / 2
            && !self.refusals.contain(source.name(), kind)
    }

    /// Forgets refusals, because a reload may have exchanged a source or its account.
    pub fn reloaded(&self) {
        self.refusals.clear();
    }

    /// The bars of one security from a call for several. `None` if it must be requested alone: no other task joined, or
    /// the answer has no rows of it. Many reasons lead to such an answer, and a replacement would remove stored rows.
    pub async fn bars(
        &self,
        source: &Arc<dyn MarketSource>,
        request: CodeRequest,
    ) -> Result<Option<NotedBars>, SourceError> {
        let CodeRequest { code, range, .. } = request;
        let ask = async |codes: &[Code]| Ok(BarsByCode::from(source.bars_of_several(codes, range).await?));
        let answer = joint(&self.bars, source.as_ref(), DataKind::Bars, request, ask).await;
        let Some(bars) = answer.inspect_err(|error| self.note(DataKind::Bars, error))? else { return Ok(None) };
        let mut noted = NotedBars::default();
        bars.add_to(&mut noted, code);
        Ok((!noted.bars.is_empty()).then_some(noted))
    }

    /// The factors of one security from a call for several, as [`Self::bars`].
    pub async fn factors(
        &self,
        source: &Arc<dyn MarketSource>,
        request: CodeRequest,
    ) -> Result<Option<Vec<FetchedFactor>>, SourceError> {
        let CodeRequest { code, range, .. } = request;
        let ask = async |codes: &[Code]| Ok(ByCode::new(source.factors_of_several(codes, range).await?));
        let answer = joint(&self.factors, source.as_ref(), DataKind::Factors, request, ask).await;
        let Some(factors) = answer.inspect_err(|error| self.note(DataKind::Factors, error))? else { return Ok(None) };
        let factors: Vec<FetchedFactor> = factors.of(code).cloned().collect();
        Ok((!factors.is_empty()).then_some(factors))
    }

    fn note(&self, kind: DataKind, error: &SourceError) {
        if !error.kind.is_transient() && !error.kind.is_refused_login() {
            self.refusals.note(kind, error);
        }
    }
}

/// What one call of a source can carry. One row fewer than an answer may have: after a full answer the source is asked
/// for more.
fn capacity(abilities: &Abilities) -> Capacity {
    Capacity { num_codes: abilities.codes_per_call, num_rows: abilities.rows_per_call.saturating_sub(1) }
}

async fn joint<T>(
    calls: &JointCalls<T>,
    source: &dyn MarketSource,
    kind: DataKind,
    request: CodeRequest,
    ask: impl AsyncFnOnce(&[Code]) -> Result<T, SourceError>,
) -> Result<Option<Arc<T>>, SourceError> {
    let ask = async |codes: &[Code]| {
        let answer = ask(codes).await?;
        tracing::debug!(source = source.name(), range = %request.range, codes = codes.len(), "several securities fetched in one call");
        Ok(answer)
    };
    calls.answer(source.name(), request, capacity(&source.abilities(kind)), ask).await
}
