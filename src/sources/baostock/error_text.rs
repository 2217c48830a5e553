// Upstream: source
// Downstream: actors
// Role: Maps BaoStock's error codes to source errors.

//! The codes are those of the vendor's client 0.9.4.

use std::time::Duration;

use actors::ports::SourceErrorKind;

/// The session has ended or never began.
pub const NOT_LOGGED_IN: &str = "10001001";
/// The account has too many sessions. They end after some time.
const TOO_MANY_LOGINS: &str = "10001005";
const MINUTE: Duration = Duration::from_secs(60);

/// Maps a refusal to an error.
pub fn classify(code: &str, message: &str) -> SourceErrorKind {
    let text = format!("code {code}: {message}");
    match code {
        TOO_MANY_LOGINS => SourceErrorKind::RateLimited { message: text, retry_after: MINUTE },
        // User or password is wrong or empty, the account is not activated or is blacklisted, or the key is missing.
        "10001002" | "10001007" | "10001008" | "10001009" | "10001011" | "10001012" => {
            SourceErrorKind::Unauthorized(format!("{text} (sources.baostock.user and password)"))
        }
        // The protocol version is too old, or the account lacks the permission.
        "10001004" | "10001006" => SourceErrorKind::Forbidden(text),
        NOT_LOGGED_IN | "10001003" => SourceErrorKind::Server(text),
        // Failures of the vendor's network and system.
        _ if code.starts_with("10002") || code.starts_with("10005") => SourceErrorKind::Server(text),
        _ => SourceErrorKind::BadRequest(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_error_codes_and_keeps_vendor_text() {
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
