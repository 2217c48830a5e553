// Upstream: health, status
// Downstream: none
// Role: Sends one GET request to a worker's HTTP server, with limits for time and size.

use std::time::Duration;

use reqwest::{Client, StatusCode};

/// Maximum size of a response in bytes. A status with hundreds of partitions needs a tenth of it.
const MAX_ANSWER: usize = 1 << 20;

/// Creates an HTTP client for workers: without proxy and without TLS.
pub fn client() -> Result<Client, String> {
    // The client requires a provider although it does not use TLS. The call fails if one is installed already.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().tls_certs_only([]).build().map_err(|error| error.to_string())
}

/// Sends the request; the complete response must arrive within `deadline`.
pub async fn get(client: &Client, url: &str, deadline: Duration) -> Result<(StatusCode, String), String> {
    let asking = async {
        let mut response = client.get(url).send().await?;
        let (status, mut body) = (response.status(), Vec::new());
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                break;
            }
        }
        Ok::<_, reqwest::Error>((status, String::from_utf8_lossy(&body).into_owned()))
    };
    match tokio::time::timeout(deadline, asking).await {
        Err(_) => Err(format!("{url} does not answer within {deadline:?}")),
        Ok(Err(error)) if error.is_connect() => Err(format!("{url} cannot be reached")),
        Ok(Err(error)) => Err(format!("{url}: {error}")),
        Ok(Ok((_, body))) if body.len() > MAX_ANSWER => Err(format!("{url} returned more than {MAX_ANSWER} bytes")),
        Ok(Ok(answer)) => Ok(answer),
    }
}
