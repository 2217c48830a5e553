// Upstream: source
// Downstream: actors
// Role: What BaoStock means by a code.

//! Codes as the vendor's client 0.9.4 names them.

use std::time::Duration;

use actors::ports::SourceErrorKind;

/// The session is over, or was never begun.
pub const NOT_LOGGED_IN: &str = "10001001";
/// The account has too many sessions; they end by and by.
const TOO_MANY_LOGINS: &str = "10001005";
const MINUTE: Duration = Duration::from_secs(60);

/// The kind of error behind a refusal.
pub fn classify(code: &str, message: &str) -> SourceErrorKind {
    let text = format!("code {code}: {message}");
    match code {
        TOO_MANY_LOGINS => SourceErrorKind::RateLimited { message: text, retry_after: MINUTE },
        // User or password wrong, to be activated, empty, black-listed, no key.
        "10001002" | "10001007" | "10001008" | "10001009" | "10001011" | "10001012" => {
            SourceErrorKind::Unauthorized(format!("{text} (sources.baostock.user and password)"))
        }
        // The protocol's version is too old, the account may not.
        "10001004" | "10001006" => SourceErrorKind::Forbidden(text),
        NOT_LOGGED_IN | "10001003" => SourceErrorKind::Server(text),
        // The vendor's network and system.
        _ if code.starts_with("10002") || code.starts_with("10005") => SourceErrorKind::Server(text),
        _ => SourceErrorKind::BadRequest(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_kind_and_keeps_the_vendors_words() {
        use SourceErrorKind as Kind;
        let kind = |code: &str| classify(code, "文字");
        assert!(matches!(kind("10001002"), Kind::Unauthorized(text) if text.contains("文字")));
        assert!(matches!(kind("10001011"), Kind::Unauthorized(text) if text.contains("10001011")));
        assert!(matches!(kind("10001005"), Kind::RateLimited { .. }));
        assert!(matches!(kind("10001006"), Kind::Forbidden(_)));
        assert!(matches!(kind("10001001"), Kind::Server(_)));
        assert!(matches!(kind("10002007"), Kind::Server(_)));
        assert!(matches!(kind("10005001"), Kind::Server(_)));
        assert!(matches!(kind("10004011"), Kind::BadRequest(_)));
        assert!(matches!(kind("77"), Kind::BadRequest(_)));
    }
}
