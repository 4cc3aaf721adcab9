//! Bytes over HTTP: two connection pools, one that honours the proxy variables and one for this
//! machine that never does.

use std::cell::OnceCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::CONTENT_TYPE;
use url::{Host, Url};

use super::error::{ApiError, root_cause};
use super::request::{Answer, Body, Request};
use super::trace::Trace;

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Largest answer that is kept in memory: a page of a hundred apps has some 300 KB.
const LARGEST_ANSWER: usize = 64 << 20;
const USER_AGENT: &str = concat!("cup/", env!("CARGO_PKG_VERSION"));

#[derive(Debug)]
pub(crate) struct Transport {
    local: OnceCell<reqwest::Client>,
    remote: OnceCell<reqwest::Client>,
    skip_ssl_validation: bool,
    trace: Trace,
}

/// Every name under `localhost` is this machine (RFC 6761), whatever the system's resolver knows.
#[derive(Debug)]
struct Localhost;

// === impl Transport ===

impl Transport {
    pub(crate) fn new(skip_ssl_validation: bool, trace: Trace) -> Self {
        Self {
            local: OnceCell::new(),
            remote: OnceCell::new(),
            skip_ssl_validation,
            trace,
        }
    }

    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The pool for this address.
    pub(crate) fn pool(&self, url: &Url) -> Result<reqwest::Client, ApiError> {
        let local = is_this_machine(url);
        let cell = if local { &self.local } else { &self.remote };
        if let Some(client) = cell.get() {
            return Ok(client.clone());
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_WITHIN)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .http1_only()
            .tls_danger_accept_invalid_certs(self.skip_ssl_validation);
        if local {
            builder = builder.no_proxy().dns_resolver(Localhost);
        }
        let client = builder.build().map_err(|error| ApiError::Setup {
            cause: root_cause(&error),
        })?;
        Ok(cell.get_or_init(|| client).clone())
    }

    /// Sends once; any status is an answer.
    pub(crate) async fn send(&self, request: &Request) -> Result<Answer, ApiError> {
        self.trace.request(request);
        let mut builder = self
            .pool(&request.url)?
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone())
            .timeout(request.within);
        builder = match &request.body {
            Body::Empty => builder,
            Body::Json(bytes) => builder
                .header(CONTENT_TYPE, "application/json")
                .body(bytes.clone()),
            Body::Form(bytes) => builder
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(bytes.clone()),
            Body::Raw(bytes) => builder.body(bytes.clone()),
        };
        let fail = |error: reqwest::Error| ApiError::sending(&request.url, request.within, &error);
        let response = builder.send().await.map_err(fail)?;
        let answer = collect(response, &request.url, request.within).await?;
        self.trace.answer(&answer);
        Ok(answer)
    }
}

/// Reads an answer to its end, but no more than memory should hold.
pub(crate) async fn collect(
    mut response: reqwest::Response,
    url: &Url,
    within: Duration,
) -> Result<Answer, ApiError> {
    let mut answer = Answer {
        url: url.clone(),
        status: response.status(),
        version: response.version(),
        headers: response.headers().clone(),
        body: Bytes::new(),
    };
    let mut body = BytesMut::new();
    loop {
        let chunk = response.chunk().await;
        match chunk.map_err(|error| ApiError::sending(url, within, &error))? {
            None => break,
            Some(chunk) if body.len() + chunk.len() > LARGEST_ANSWER => {
                return Err(ApiError::TooLarge {
                    url: url.clone(),
                    limit: LARGEST_ANSWER,
                });
            }
            Some(chunk) => body.extend_from_slice(&chunk),
        }
    }
    answer.body = body.freeze();
    Ok(answer)
}

/// A proxy cannot reach this machine's own loopback for us.
pub(crate) fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => is_localhost(name),
        None => false,
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

// === impl Localhost ===

impl Resolve for Localhost {
    fn resolve(&self, _: Name) -> Resolving {
        let both = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        let addresses: Addrs = Box::new(both.into_iter().map(|ip| SocketAddr::new(ip, 0)));
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn this_machine_goes_by_many_names() {
        let local = |url: &str| is_this_machine(&url.parse().unwrap());
        for url in [
            "http://127.0.0.1:8080",
            "http://127.9.9.9",
            "http://[::1]:80/x",
            "http://localhost",
            "http://api.cupola.LOCALHOST:8080/v2/info",
        ] {
            assert!(local(url), "{url}");
        }
        for url in [
            "http://10.0.0.1",
            "https://api.example.com",
            "http://localhost.example.com",
        ] {
            assert!(!local(url), "{url}");
        }
    }
}
