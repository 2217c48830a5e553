// Upstream: sources::eastmoney, sources::tushare, sources::yahoo
// Downstream: actors, excerpt, kit, redact, sources, throttling
// Role: HTTP client for vendors: bounded requests, classified errors, secrets removed from answers.

use std::error::Error;
use std::time::Duration;

use actors::ports::SourceErrorKind;
use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use secrecy::SecretString;

use crate::sources::SourceSetupError;
use crate::sources::shared::excerpt::excerpt;
use crate::sources::shared::redact::without_secret;
use crate::sources::shared::throttling::is_throttling_page;

/// A server that accepts no connection within this time counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than the idle timeout of servers, so that a request seldom uses a connection that is being closed.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of a body. The largest valid answers are a few MB. Reading stops here to limit memory.
const MAX_BODY_BYTES: usize = 16 << 20;
/// Maximum number of bytes read from the body of an error response.
const MAX_ERROR_BODY_BYTES: usize = 4 << 10;
/// The wait after a 429 without `Retry-After`. Vendors count requests per minute.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(60);
/// The longest wait that a server may request.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(86_400);

/// Settings of a client for one vendor.
pub struct HttpSettings<'a> {
    /// The vendor's section of the configuration. Errors name it, as in `sources.<section>.url`.
    pub section: &'static str,
    /// The base URL.
    pub url: &'a str,
    /// Longest wait for one answer in milliseconds, including connecting and reading.
    pub timeout_ms: u64,
    /// The value of the `User-Agent` header.
    pub user_agent: &'a str,
    /// The secret to remove from every returned text, because a server may echo what it received.
    pub secret: Option<SecretString>,
}

/// An HTTP client with a base URL.
pub struct HttpClient {
    client: Client,
    base: Url,
    section: &'static str,
    timeout: Duration,
    secret: Option<SecretString>,
}

impl HttpClient {
    /// Creates a client without connecting. Fails if the URL or the timeout is invalid.
    pub fn new(settings: HttpSettings<'_>) -> Result<Self, SourceSetupError> {
        let HttpSettings { section, url, timeout_ms, user_agent, secret } = settings;
        let timeout = Duration::from_millis(timeout_ms);
        if timeout.is_zero() {
            return Err(SourceSetupError::TimeoutZero { section });
        }
        // The part before an @ may be a secret, so the error does not show it.
        let shown = url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, host)| format!("…@{host}"));
        let bad_url =
            |reason: &str| SourceSetupError::BadUrl { section, url: shown.clone(), reason: reason.to_owned() };
        let base = Url::parse(url).map_err(|error| bad_url(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(bad_url("it must begin with http:// or https:// and name a host"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(bad_url("it must not hold credentials"));
        }
        // Fails if a provider is already installed; that one is used then.
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(user_agent)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .redirect(Policy::none()) // the secret is sent to the configured address only
            .no_proxy();
        // Plain HTTP needs no certificates. A minimal image may have none, and loading them would fail.
        let client = if base.scheme() == "http" { client.tls_certs_only([]) } else { client };
        let client = client.build();
        let client = client.map_err(|error| SourceSetupError::Client { section, reason: chain(&error) })?;
        Ok(Self { client, base, section, timeout, secret })
    }

    /// The base URL.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Longest wait for one answer.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends a GET request and reads the body of a successful answer.
    pub async fn get(&self, url: Url) -> Result<String, SourceErrorKind> {
        self.send(self.client.get(url)).await
    }

    /// Sends a JSON body in a POST request and reads the body of a successful answer.
    pub async fn post_json(&self, url: Url, body: Vec<u8>) -> Result<String, SourceErrorKind> {
        self.send(self.client.post(url).header(CONTENT_TYPE, "application/json").body(body)).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<String, SourceErrorKind> {
        let response = request.send().await.map_err(|error| self.kind_of(&error))?;
        if response.status().is_success() {
            let wait = retry_after(response.headers(), Utc::now());
            let text = self.text_of(self.read(response).await?)?;
            if is_throttling_page(&text) {
                let message = format!("the answer has no data but says: {}", excerpt(&text));
                return Err(SourceErrorKind::RateLimited { message, retry_after: wait });
            }
            return Ok(text);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.error_body(response).await;
        let target = headers.get(LOCATION).map_or(String::new(), |target| self.shown(target.as_bytes()));
        Err(refusal(status, retry_after(&headers, Utc::now()), self.section, &target, &self.shown(&body)))
    }

    fn text_of(&self, body: Vec<u8>) -> Result<String, SourceErrorKind> {
        let text = String::from_utf8(body).map_err(|error| {
            let start = self.shown(error.as_bytes());
            SourceErrorKind::BadAnswer(format!("{}; the body begins with `{start}`", error.utf8_error()))
        })?;
        Ok(self.without_secret(text))
    }

    fn without_secret(&self, text: String) -> String {
        without_secret(text, self.secret.as_ref())
    }

    /// The beginning of a body for an error message. The secret is removed before the text is cut, because a cut could
    /// leave half of the secret.
    fn shown(&self, body: &[u8]) -> String {
        let start = body.get(..MAX_ERROR_BODY_BYTES).unwrap_or(body);
        excerpt(&self.without_secret(String::from_utf8_lossy(start).into_owned()))
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, SourceErrorKind> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.kind_of(&error))? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                let text =
                    format!("the body has more than {MAX_BODY_BYTES} bytes and begins with `{}`", self.shown(&body));
                return Err(SourceErrorKind::BadAnswer(text));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Reads as much of an error body as possible. A read error is ignored, because the status determines the error.
    async fn error_body(&self, mut response: Response) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < MAX_ERROR_BODY_BYTES
            && let Ok(Some(chunk)) = response.chunk().await
        {
            let room = MAX_ERROR_BODY_BYTES - body.len();
            body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        }
        body
    }

    fn kind_of(&self, error: &reqwest::Error) -> SourceErrorKind {
        if error.is_timeout() && !error.is_connect() {
            SourceErrorKind::Timeout(self.timeout)
        } else if error.is_decode() && !error.is_body() && !broke_off(error) {
            SourceErrorKind::BadAnswer(chain(error))
        } else {
            SourceErrorKind::Unreachable(chain(error))
        }
    }
}

/// Whether the connection ended before the end of the body.
fn broke_off(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.to_string().contains("end of file before message length reached") || error.is::<std::io::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Maps an HTTP status other than success to an error. `target` is the redirect target.
fn refusal(status: StatusCode, retry_after: Duration, section: &str, target: &str, body: &str) -> SourceErrorKind {
    let text = match body.trim() {
        "" => format!("HTTP {status}"),
        start => format!("HTTP {status}: {start}"),
    };
    match status {
        StatusCode::TOO_MANY_REQUESTS => SourceErrorKind::RateLimited { message: text, retry_after },
        // Some Chinese vendors, such as Sina, return 456 to an address that sends too many requests.
        status if status.as_u16() == 456 => SourceErrorKind::RateLimited { message: text, retry_after },
        StatusCode::UNAUTHORIZED => SourceErrorKind::Unauthorized(text),
        StatusCode::FORBIDDEN => SourceErrorKind::Forbidden(text),
        StatusCode::REQUEST_TIMEOUT => SourceErrorKind::Server(text),
        status if status.is_client_error() => SourceErrorKind::BadRequest(text),
        status if status.is_redirection() => SourceErrorKind::BadAnswer(format!(
            "{text}: the server redirects to `{target}`; check sources.{section}.url"
        )),
        _ => SourceErrorKind::Server(text),
    }
}

/// Reads `Retry-After` in seconds or as a date (RFC 9110). The result is 1 second to 1 day.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Duration {
    let value = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::trim);
    let wait = value.and_then(|text| match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = DateTime::parse_from_rfc2822(text).ok()?;
            Some((date.to_utc() - now).to_std().unwrap_or(Duration::ZERO))
        }
    });
    wait.unwrap_or(DEFAULT_RETRY_AFTER).clamp(Duration::from_secs(1), MAX_RETRY_AFTER)
}

/// The error with all its causes. The outermost error only says that sending failed.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> Result<HttpClient, SourceSetupError> {
        let secret = Some("geheim-4711".to_owned().into());
        HttpClient::new(HttpSettings { section: "tushare", url, timeout_ms: 1_000, user_agent: "test", secret })
    }

    #[test]
    fn removes_the_secret_wherever_the_body_is_cut() {
        let client = client("http://localhost").unwrap();
        for before in 100..130 {
            let body = format!("{}geheim-4711{}", "x".repeat(before), "y".repeat(200));
            assert!(!client.shown(body.as_bytes()).contains("ge"), "{before}");
            assert!(!client.text_of(body.into_bytes()).unwrap().contains("geheim"), "{before}");
        }
        let error = client.text_of(b"geheim-4711 \xff".to_vec()).unwrap_err().to_string();
        assert!(error.contains("[secret]") && !error.contains("geheim"), "{error}");
    }

    #[test]
    fn rejects_bad_urls_without_showing_credentials() {
        for url in ["", "api.tushare.pro", "ftp://api.tushare.pro", "http://"] {
            let error = client(url).err().unwrap().to_string();
            assert!(error.contains("sources.tushare.url"), "{error}");
        }
        let error = client("http://me:geheim@host/x").err().unwrap().to_string();
        assert!(error.contains("credentials") && !error.contains("geheim"), "{error}");
    }

    #[test]
    fn reads_retry_after_within_bounds() {
        let now = DateTime::parse_from_rfc3339("2024-01-02T00:00:00Z").unwrap().to_utc();
        let wait = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers, now).as_secs()
        };
        assert_eq!(wait("7"), 7);
        assert_eq!(wait("0"), 1);
        assert_eq!(wait("99999999999"), 86_400);
        assert_eq!(wait("Tue, 02 Jan 2024 00:01:30 GMT"), 90);
        assert_eq!(wait("Mon, 01 Jan 2024 00:00:00 GMT"), 1);
        assert_eq!(wait("soon"), 60);
        assert_eq!(retry_after(&HeaderMap::new(), now).as_secs(), 60);
    }

    #[test]
    fn mutated_retry_after_stays_within_bounds() {
        let now = DateTime::parse_from_rfc3339("2024-01-02T00:00:00Z").unwrap().to_utc();
        kit::fuzz::mutate(&["120", "Tue, 02 Jan 2024 00:01:30 GMT"], |bytes| {
            let Ok(value) = reqwest::header::HeaderValue::from_bytes(bytes) else { return };
            let wait = retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value)]), now);
            assert!((1..=86_400).contains(&wait.as_secs()), "{wait:?}");
        });
    }

    #[test]
    fn every_status_has_its_kind() {
        let kind = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            refusal(status, DEFAULT_RETRY_AFTER, "tushare", "http://elsewhere", "<html> no</html>")
        };
        assert!(matches!(kind(401), SourceErrorKind::Unauthorized(_)));
        assert!(matches!(kind(403), SourceErrorKind::Forbidden(_)));
        assert!(
            matches!(kind(404), SourceErrorKind::BadRequest(text) if text == "HTTP 404 Not Found: <html> no</html>")
        );
        assert!(matches!(kind(408), SourceErrorKind::Server(_)));
        assert!(matches!(kind(429), SourceErrorKind::RateLimited { .. }));
        assert!(matches!(kind(456), SourceErrorKind::RateLimited { .. }));
        assert!(matches!(kind(500), SourceErrorKind::Server(_)));
        assert!(matches!(kind(503), SourceErrorKind::Server(_)));
        assert!(matches!(kind(302), SourceErrorKind::BadAnswer(text) if text.contains("sources.tushare.url")));
    }
}
