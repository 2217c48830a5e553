// Upstream: bars, cross_section, factors, several_codes
// Downstream: domain, ports
// Role: Remembers which sources refuse a kind of call for many securities.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::NaiveDate;

use crate::domain::shanghai_clock;
use crate::ports::{DataKind, SourceError, SourceErrorKind};

/// A source that refuses to give a kind of data in such calls, with the Shanghai day on which it did.
type Refusal = (&'static str, DataKind, NaiveDate);

/// Sources that refuse a kind of call. An account that may not ask so today is not asked again before the next day or a
/// reload. There are at most two refusals a source: of bars and of factors.
pub struct Refusals {
    /// The kind of call, for logs.
    what: &'static str,
    refusals: Mutex<Vec<Refusal>>,
}

impl Refusals {
    /// No refusals of `what` yet.
    pub fn of(what: &'static str) -> Self {
        Self { what, refusals: Mutex::default() }
    }

    /// Whether the source refused this kind of data today.
    pub fn contain(&self, source: &'static str, kind: DataKind) -> bool {
        self.lock().contains(&(source, kind, shanghai_clock::today()))
    }

    /// Notes a permanent error of such a call. An unreadable answer is none: it may be readable next time.
    pub fn note(&self, kind: DataKind, error: &SourceError) {
        if matches!(error.kind, SourceErrorKind::BadAnswer(_)) {
            return;
        }
        let today = shanghai_clock::today();
        let refusal = (error.source_name, kind, today);
        let mut refusals = self.lock();
        refusals.retain(|(_, _, day)| *day == today);
        if !refusals.contains(&refusal) {
            let what = self.what;
            tracing::warn!(%error, "the source gives no {what}; until tomorrow securities are requested one by one");
            refusals.push(refusal);
        }
    }

    /// Forgets refusals, because a reload may have exchanged a source or its account.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Refusal>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a day pass.
    #[cfg(test)]
    pub fn age_by_a_day(&self) {
        self.lock().iter_mut().for_each(|(_, _, day)| *day = day.pred_opt().unwrap());
    }
}

/// The answer of a call for many securities, or the one by code: a source may refuse the former but answer the latter.
pub async fn or_by_code<T>(
    of_many: Result<T, SourceError>,
    by_code: impl AsyncFnOnce() -> Result<T, SourceError>,
) -> Result<T, SourceError> {
    match of_many {
        Err(error) if excludes_many(&error.kind) => by_code().await,
        answer => answer,
    }
}

/// Whether securities are requested one by one after this error of a call for many. After a refused login they are not:
/// it would be refused again.
pub fn excludes_many(kind: &SourceErrorKind) -> bool {
    !(kind.is_transient() || kind.is_refused_login()) || matches!(kind, SourceErrorKind::BadAnswer(_))
}
