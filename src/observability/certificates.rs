// Upstream: app, worker_view
// Downstream: none
// Role: The ends of the certificates of the servers and of the worker, as they were seen last.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

/// The servers of a worker whose certificates are always named, also without TLS.
const SERVERS: [&str; 4] = ["clickhouse", "kafka", "mysql", "redis"];

/// Whose certificate it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// The server.
    Server,
    /// The worker, which logs in with it.
    Client,
}

impl Owner {
    /// The value of the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

/// The ends by section of the settings and owner. Of several servers of a section the earliest.
#[derive(Debug, Default)]
pub struct CertificateEnds(Mutex<BTreeMap<(&'static str, Owner), DateTime<Utc>>>);

impl CertificateEnds {
    /// Takes what was seen of the sections that use TLS now. What was not seen this time keeps its last known end.
    pub fn update(&self, sections: &[&'static str], seen: BTreeMap<(&'static str, Owner), DateTime<Utc>>) {
        let mut ends = self.lock();
        ends.retain(|(section, _), _| sections.contains(section));
        ends.extend(seen);
    }

    /// The days left of each certificate; NaN for a server without TLS, or whose certificate was not seen yet.
    pub fn days_left(&self, now: DateTime<Utc>) -> Vec<((&'static str, Owner), f64)> {
        let mut days: BTreeMap<(&'static str, Owner), f64> =
            SERVERS.iter().map(|section| ((*section, Owner::Server), f64::NAN)).collect();
        days.extend(self.lock().iter().map(|(key, end)| (*key, (*end - now).num_seconds() as f64 / 86_400.0)));
        days.into_iter().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(&'static str, Owner), DateTime<Utc>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_stays_known_while_its_server_is_away() {
        let (ends, day) = (CertificateEnds::default(), |n: i64| DateTime::from_timestamp(n * 86_400, 0).unwrap());
        let of = |now| -> Vec<(String, f64)> {
            let known = ends.days_left(now).into_iter().filter(|(_, days)| !days.is_nan());
            known.map(|((section, owner), days)| (format!("{section} {}", owner.as_str()), days)).collect()
        };
        assert_eq!((ends.days_left(day(0)).len(), of(day(0)).len()), (4, 0));
        let seen = [(("redis", Owner::Server), day(20)), (("redis", Owner::Client), day(30))];
        ends.update(&["redis"], seen.into());
        assert_eq!(of(day(10)), [("redis server".to_owned(), 10.0), ("redis client".to_owned(), 20.0)]);
        ends.update(&["redis"], [(("redis", Owner::Client), day(31))].into());
        assert_eq!(of(day(21)), [("redis server".to_owned(), -1.0), ("redis client".to_owned(), 10.0)]);
        ends.update(&[], BTreeMap::new());
        assert_eq!(of(day(0)).len(), 0, "TLS is switched off");
    }
}
