// Upstream: source
// Downstream: actors
// Role: Maps Tushare's business codes and texts to source errors.

//! Tushare answers HTTP 200 with a `code` other than 0 when it refuses a call. Code 40203 means either the rate limit
//! or a missing permission, so the text decides. The texts are from the vendor's documentation and from users' reports.

use std::time::Duration;

use actors::ports::SourceErrorKind;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

const BAD_TOKEN: i64 = 40101;
const LIMIT_OR_PERMISSION: i64 = 40203;
/// "No permission" in the vendor's description of the HTTP interface.
const NO_PERMISSION: i64 = 2002;

/// Maps a refusal to an error. An unknown text is a refusal of this request. An unknown text with code 40203 counts as
/// the rate limit, because waiting is the cheaper mistake.
pub fn classify(code: i64, message: &str) -> SourceErrorKind {
    let says = |needles: &[&str]| needles.iter().any(|needle| message.contains(needle));
    let lower = message.to_lowercase();
    let says_in_english = |needles: &[&str]| needles.iter().any(|needle| lower.contains(needle));
    let text = format!("code {code}: {message}");

    // The text of the rate limit also mentions permissions (and links to their page), so it is checked first.
    if says(&["最多访问", "频率超限", "频次超限", "访问频率"]) || says_in_english(&["too many requests", "rate limit"])
    {
        return SourceErrorKind::RateLimited { message: text, retry_after: window(message, &lower) };
    }
    if code == BAD_TOKEN || says_in_english(&["token"]) {
        return SourceErrorKind::Unauthorized(text);
    }
    let too_many_addresses = lower.contains("ip") && message.contains("超限");
    if code == NO_PERMISSION || too_many_addresses || says(&["权限", "积分"]) || says_in_english(&["permission"]) {
        return SourceErrorKind::Forbidden(text);
    }
    if says(&["系统错误", "内部错误", "服务异常", "服务器", "繁忙", "稍后", "超时"])
        || says_in_english(&["internal", "timeout"])
    {
        return SourceErrorKind::Server(text);
    }
    if code == LIMIT_OR_PERMISSION {
        return SourceErrorKind::RateLimited { message: text, retry_after: MINUTE };
    }
    SourceErrorKind::BadRequest(text)
}

/// The window in which the vendor counts calls. The text does not say when it began, so the whole window is waited for.
fn window(message: &str, lower: &str) -> Duration {
    if message.contains("每分钟") || lower.contains("minute") {
        MINUTE
    } else if message.contains("每小时") || lower.contains("hour") {
        HOUR
    } else if message.contains("每天") || message.contains("每日") || lower.contains("day") {
        DAY
    } else {
        MINUTE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn retry_after(message: &str) -> Option<u64> {
        match classify(LIMIT_OR_PERMISSION, message) {
            SourceErrorKind::RateLimited { retry_after, .. } => Some(retry_after.as_secs()),
            _ => None,
        }
    }

    #[test]
    fn distinguishes_rate_limit_from_missing_permission() {
        let tail = "权限的具体详情访问：https://tushare.pro/document/1?doc_id=108。";
        assert_eq!(retry_after(&format!("抱歉，您每分钟最多访问该接口500次，{tail}")), Some(60));
        assert_eq!(retry_after(&format!("抱歉，您每小时最多访问该接口20次，{tail}")), Some(3_600));
        assert_eq!(retry_after(&format!("抱歉，您每天最多访问该接口5次，{tail}")), Some(86_400));
        assert_eq!(retry_after("您访问接口(daily)频率超限(1次/分钟)"), Some(60));
        assert_eq!(retry_after("something new"), Some(60));
        for text in [
            "抱歉，您没有接口访问权限，权限的具体详情访问：https://tushare.pro",
            "抱歉，您没有接口(stk_mins)访问权限",
            "积分不足",
        ] {
            assert!(matches!(classify(LIMIT_OR_PERMISSION, text), SourceErrorKind::Forbidden(_)), "{text}");
        }
    }

    #[test]
    fn maps_other_refusals_and_keeps_the_vendors_text() {
        let token = classify(40101, "您的token不对，请确认。");
        assert!(
            matches!(&token, SourceErrorKind::Unauthorized(text) if text.contains("40101") && text.contains("请确认"))
        );
        assert!(matches!(classify(-2001, "请传入正确的token"), SourceErrorKind::Unauthorized(_)));
        assert!(matches!(classify(2002, ""), SourceErrorKind::Forbidden(_)));
        assert!(matches!(classify(40203, "您的IP数量超限，最大数量为2个！"), SourceErrorKind::Forbidden(_)));
        assert!(matches!(classify(-2001, "必填参数"), SourceErrorKind::BadRequest(_)));
        assert!(matches!(classify(-1, "请指定正确的接口名"), SourceErrorKind::BadRequest(_)));
        assert!(matches!(classify(50101, "系统内部错误，请稍后再试"), SourceErrorKind::Server(_)));
    }

    proptest! {
        #[test]
        fn every_text_has_a_kind(code in any::<i64>(), message in "\\PC{0,60}") {
            prop_assert!(classify(code, &message).to_string().contains(&message));
        }
    }
}
