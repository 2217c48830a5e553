// Upstream: source
// Downstream: actors, sources, sources::shared
// Role: HTTP transport to Tushare: the URL of each interface.

use actors::ports::SourceErrorKind;
use reqwest::Url;
use secrecy::SecretString;

use crate::sources::SourceSetupError;
use crate::sources::shared::http::{HttpClient, HttpSettings};

const USER_AGENT: &str = concat!("ginkgo-data-worker/", env!("CARGO_PKG_VERSION"));

/// A client for Tushare.
pub struct Transport(HttpClient);

impl Transport {
    /// Creates a client for `url`. Nothing that it returns contains `token`.
    pub fn new(url: &str, timeout_ms: u64, token: SecretString) -> Result<Self, SourceSetupError> {
        let settings =
            HttpSettings { section: "tushare", url, timeout_ms, user_agent: USER_AGENT, secret: Some(token) };
        Ok(Self(HttpClient::new(settings)?))
    }

    /// The base URL.
    pub fn address(&self) -> &str {
        self.0.base().as_str()
    }

    /// Sends a call and reads the body of a successful answer.
    pub async fn post(&self, api_name: &str, body: Vec<u8>) -> Result<String, SourceErrorKind> {
        self.0.post_json(self.url_of(api_name), body).await
    }

    /// The URL of an interface. The vendor's client appends the interface's name to a path. The documented URL has no
    /// path, and the body alone names the interface.
    fn url_of(&self, api_name: &str) -> Url {
        let mut url = self.0.base().clone();
        if !matches!(url.path(), "" | "/")
            && let Ok(mut segments) = url.path_segments_mut()
        {
            segments.pop_if_empty().push(api_name);
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_appended_to_a_path_only() {
        let url = |base: &str| Transport::new(base, 1_000, "t".to_owned().into()).unwrap().url_of("daily").to_string();
        assert_eq!(url("http://api.waditu.com/dataapi"), "http://api.waditu.com/dataapi/daily");
        assert_eq!(url("http://api.waditu.com/dataapi/"), "http://api.waditu.com/dataapi/daily");
        assert_eq!(url("http://api.tushare.pro"), "http://api.tushare.pro/");
        assert_eq!(url("http://api.tushare.pro/"), "http://api.tushare.pro/");
    }
}
