//! Settings of the log service.

use std::net::SocketAddr;

use cupola_http::server;
use serde::Deserialize;
use url::Url;

/// Section `[loggregator]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to listen when no supervisor holds the socket.
    #[serde(default)]
    pub address: Option<SocketAddr>,
    /// The user and token service: issuer of the tokens that are accepted.
    pub uaa_url: Url,
    /// Issuer that tokens must name; default `<uaa_url>/oauth/token`.
    #[serde(default)]
    pub token_issuer: Option<String>,
    /// The cloud controller, which knows who may read an app's log.
    pub cloud_controller_url: Url,
    /// Host names to register with the routers, such as `doppler.example.com`.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Lines kept for each app.
    #[serde(default = "Config::default_lines_per_app")]
    pub lines_per_app: usize,
    /// Bytes kept for each app.
    #[serde(default = "Config::default_bytes_per_app")]
    pub bytes_per_app: usize,
    /// Bytes kept in all; the apps that were silent longest are forgotten first.
    #[serde(default = "Config::default_bytes_total")]
    pub bytes_total: usize,
    /// Readers of streams at a time, in all.
    #[serde(default = "Config::default_streams")]
    pub streams: usize,
    /// Limits of the HTTP server.
    #[serde(default)]
    pub server: server::Limits,
}

impl Config {
    fn default_lines_per_app() -> usize {
        2_000
    }

    fn default_bytes_per_app() -> usize {
        1024 * 1024
    }

    fn default_bytes_total() -> usize {
        64 * 1024 * 1024
    }

    fn default_streams() -> usize {
        512
    }
}
