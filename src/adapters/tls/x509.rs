// Upstream: inspect
// Downstream: none
// Role: Reads names and dates of an X.509 certificate.

use chrono::{DateTime, Utc};
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::time::Time;

/// Days before the end of a certificate from which on it is a warning.
const WARN_DAYS: i64 = 14;

/// Names and dates of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The owner.
    pub subject: String,
    /// The CA.
    pub issuer: String,
    /// The first moment at which it is valid.
    pub not_before: DateTime<Utc>,
    /// The last moment at which it is valid.
    pub not_after: DateTime<Utc>,
}

impl CertificateFacts {
    /// Reads a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let parsed = Certificate::from_der(certificate).ok()?.tbs_certificate;
        let time = |time: Time| DateTime::from_timestamp(i64::try_from(time.to_unix_duration().as_secs()).ok()?, 0);
        Some(Self {
            subject: format!("{:.200}", parsed.subject.to_string()),
            issuer: format!("{:.200}", parsed.issuer.to_string()),
            not_before: time(parsed.validity.not_before)?,
            not_after: time(parsed.validity.not_after)?,
        })
    }

    /// What an operator must know about its dates at this moment; `None` if it stays valid for long enough.
    pub fn warning(&self, now: DateTime<Utc>) -> Option<String> {
        let day = |time: DateTime<Utc>| time.format("%Y-%m-%d %H:%M UTC");
        let left = self.not_after - now;
        if left < chrono::Duration::zero() {
            Some(format!("it has expired at {}", day(self.not_after)))
        } else if self.not_before > now {
            Some(format!("it is not valid before {}", day(self.not_before)))
        } else if left < chrono::Duration::days(WARN_DAYS) {
            Some(format!("warning: it expires in {} days, at {}: renew it", left.num_days(), day(self.not_after)))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warns_fourteen_days_before_the_end() {
        let day = |n: i64| DateTime::from_timestamp(n * 86_400, 0).unwrap();
        let certificate = CertificateFacts {
            subject: "CN=a".into(),
            issuer: "CN=b".into(),
            not_before: day(100),
            not_after: day(200),
        };
        assert_eq!(certificate.warning(day(186)), None);
        assert!(certificate.warning(day(187)).unwrap().starts_with("warning: it expires in 13 days, at 1970-07-20"));
        assert!(certificate.warning(day(201)).unwrap().contains("has expired"));
        assert!(certificate.warning(day(99)).unwrap().contains("not valid before"));
    }
}
