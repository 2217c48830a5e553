// Upstream: health, status
// Downstream: none
// Role: One GET to a worker's HTTP server, bounded in time and size.

use std::time::Duration;

use reqwest::{Client, StatusCode};

/// Largest answer in bytes: a status with hundreds of partitions is a tenth of it.
const MAX_ANSWER: usize = 1 << 20;

/// A client for workers: they are asked directly and without TLS.
pub fn client() -> Result<Client, String> {
    // Fails where a provider is installed already; none is needed, but the client wants one.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().tls_certs_only([]).build().map_err(|error| error.to_string())
}

/// Asks; the whole answer must be there within `deadline`.
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
        Ok(Ok((_, body))) if body.len() > MAX_ANSWER => Err(format!("{url} answers more than {MAX_ANSWER} bytes")),
        Ok(Ok(answer)) => Ok(answer),
    }
}
