// Upstream: http, sources::yahoo
// Downstream: none
// Role: Recognizes a vendor's page or text for too many requests in an answer with status 200. Pure.

/// What vendors and the proxies before them write to a caller that sends too many requests: EastMoney's page with a
/// captcha, Yahoo's "Edge: Too Many Requests", nginx's and Chinese firewalls' pages. Lower case.
const WORDS: [&str; 12] = [
    "too many requests",
    "rate limit",
    "request limit",
    "captcha",
    "are you a robot",
    "验证码",
    "滑动验证",
    "安全验证",
    "人机验证",
    "访问过于频繁",
    "请求过于频繁",
    "操作过于频繁",
];
/// Maximum number of characters that are searched. Such pages are short, or say it at the beginning.
const MAX_CHARS: usize = 16 << 10;

/// Whether this body is about too many requests. Rows are JSON, whose texts say nothing about the caller.
pub fn is_throttling_page(body: &str) -> bool {
    !body.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '[']) && is_throttling_text(body)
}

/// Whether this text of a vendor is about too many requests.
pub fn is_throttling_text(text: &str) -> bool {
    let start = text.chars().take(MAX_CHARS).collect::<String>().to_lowercase();
    WORDS.iter().any(|words| start.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_pages_of_throttling_and_no_rows() {
        for page in [
            "Too Many Requests",
            "\"Too Many Requests\"",
            "Edge: Too Many Requests\r\n",
            "<html><head><title>429 Too Many Requests</title></head></html>",
            "<!DOCTYPE html><html><body><div id=\"captcha\">请完成安全验证</div></body></html>",
            "<html><title>验证码</title></html>",
            "您的访问过于频繁，请稍后再试",
        ] {
            assert!(is_throttling_page(page), "{page}");
        }
        for other in [
            "",
            "<html>502 Bad Gateway</html>",
            r#"{"name":"Too Many Requests"}"#,
            "\u{feff} [\"captcha\"]",
            "{\"cut\": \"rate limit",
        ] {
            assert!(!is_throttling_page(other), "{other}");
        }
    }

    #[test]
    fn a_long_page_is_searched_at_its_beginning() {
        assert!(is_throttling_page(&format!("captcha{}", "验".repeat(100_000))));
        assert!(!is_throttling_page(&format!("{}captcha", "验".repeat(100_000))));
    }
}
