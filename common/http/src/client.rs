//! HTTP clients: one for talk between rooms, one for the world outside.
//!
//! Neither reads the environment: a proxy for the world comes from configuration, and loopback
//! never goes through one.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, NoProxy, Proxy};
use url::Url;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connected peer may stay silent.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an idle connection is kept; shorter than our servers keep theirs, so that a request
/// does not meet a connection that is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections kept per peer.
const MAX_IDLE: usize = 4;
/// Redirects followed in the world outside.
const MAX_REDIRECTS: usize = 5;
/// Where no proxy is asked.
const LOCAL: &str = "localhost,127.0.0.0/8,::1";

/// A client for other rooms on this machine: plain HTTP, no proxy, no redirects. It loads no
/// certificates, which makes it quick to build and small.
///
/// There is no limit on a whole exchange, for blobs take their time; set one per request with
/// `RequestBuilder::timeout` where an answer is due.
///
/// # Errors
/// When the client cannot be built.
pub fn loopback(user_agent: &str) -> reqwest::Result<Client> {
    base(user_agent)
        .no_proxy()
        .redirect(Policy::none())
        .tls_certs_only([])
        .build()
}

/// A client for rooms on other machines and for the world: TLS with the system's certificates,
/// through `proxy` if one is configured, following a few redirects.
///
/// # Errors
/// When the proxy's address is of no use or the client cannot be built.
pub fn world(user_agent: &str, proxy: Option<&Url>) -> reqwest::Result<Client> {
    let builder = base(user_agent)
        .no_proxy()
        .redirect(Policy::limited(MAX_REDIRECTS));
    match proxy {
        Some(url) => {
            let proxy = Proxy::all(url.clone())?.no_proxy(NoProxy::from_string(LOCAL));
            builder.proxy(proxy).build()
        }
        None => builder.build(),
    }
}

fn base(user_agent: &str) -> ClientBuilder {
    Client::builder()
        .user_agent(user_agent)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE)
        .tcp_nodelay(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use wiremock::matchers::any;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    #[tokio::test]
    async fn both_clients_reach_loopback_past_a_proxy() {
        let server = MockServer::start().await;
        Mock::given(any())
            .respond_with(ResponseTemplate::new(204))
            .mount(&server)
            .await;
        let nowhere: Url = "http://127.0.0.1:1".parse().unwrap();
        for client in [loopback("t").unwrap(), world("t", Some(&nowhere)).unwrap()] {
            assert_eq!(client.get(server.uri()).send().await.unwrap().status(), 204);
        }
    }

    #[tokio::test]
    async fn the_loopback_client_follows_no_redirect() {
        let server = MockServer::start().await;
        let away = ResponseTemplate::new(302).insert_header("location", "http://192.0.2.1/");
        Mock::given(any()).respond_with(away).mount(&server).await;
        let answer = loopback("t")
            .unwrap()
            .get(server.uri())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 302);
    }
}
