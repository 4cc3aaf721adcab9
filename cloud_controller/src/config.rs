//! What an operator can set about a cloud controller.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use cupola_blobstore::BlobstoreConfig;
use cupola_db::DatabaseConfig;
use cupola_http::server::Limits as HttpLimits;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

/// The cloud controller's part of its config file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the API listens when no supervisor holds the socket `api`. Default 127.0.0.1:8181.
    #[serde(default = "default_address")]
    pub address: SocketAddr,
    /// The API as its clients reach it, such as `http://127.0.0.1:8181`.
    pub external_url: Url,
    /// The API as DEAs and stagers reach it; the external url when absent.
    #[serde(default)]
    pub internal_url: Option<Url>,
    /// Domain of the apps; made a shared domain at the first start. The API is registered with the
    /// routers as `api.<domain>`.
    pub domain: String,
    /// Where the rows are.
    pub database: DatabaseConfig,
    /// Where the blobs are.
    pub blobstore: BlobstoreConfig,
    /// Folder for uploads on their way; the system's temporary folder when absent.
    #[serde(default)]
    pub work_folder: Option<PathBuf>,
    /// Who vouches for users.
    pub uaa: UaaConfig,
    /// Where clients find logs.
    pub logs: LogsConfig,
    /// Secrets of the controller's own.
    pub secrets: SecretsConfig,
    /// What `/v2/info` says of the platform.
    #[serde(default)]
    pub info: InfoConfig,
    /// What is made at the first start.
    #[serde(default)]
    pub seed: SeedConfig,
    /// What an app gets that says nothing, and what it may ask for.
    #[serde(default)]
    pub apps: AppsConfig,
    /// How apps are staged.
    #[serde(default)]
    pub staging: StagingConfig,
    /// What uploads may hold.
    #[serde(default)]
    pub uploads: UploadLimits,
    /// What the HTTP server puts up with.
    #[serde(default)]
    pub http: HttpLimits,
    /// Days that events are kept. Default 31.
    #[serde(default = "default_event_days")]
    pub event_days: u32,
}

/// The `[uaa]` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UaaConfig {
    /// UAA as clients reach it.
    pub external_url: Url,
    /// UAA as the controller reaches it; the external url when absent.
    #[serde(default)]
    pub internal_url: Option<Url>,
    /// The `iss` that tokens must carry; any when absent.
    #[serde(default)]
    pub issuer: Option<String>,
    /// The `aud` that tokens must name. Default `cloud_controller`.
    #[serde(default = "default_audience")]
    pub audience: String,
    /// The client as which user names are looked up; without it only users who have used the API
    /// are known by name.
    #[serde(default)]
    pub client_id: Option<String>,
    /// Its secret.
    #[serde(default)]
    pub client_secret: Option<SecretString>,
}

/// The `[logs]` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogsConfig {
    /// Doppler's websocket endpoint, such as `ws://127.0.0.1:8383`.
    pub doppler_url: Url,
    /// Root of the log cache, such as `http://127.0.0.1:8383`.
    pub log_cache_url: Url,
}

/// The `[secrets]` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretsConfig {
    /// Signs URLs of blobs: at least 32 bytes, in hex.
    pub url_signing_key: SecretString,
    /// Earlier signing keys that are still accepted, in hex.
    #[serde(default)]
    pub earlier_url_signing_keys: Vec<SecretString>,
    /// Which of `row_keys` seals new values.
    pub row_key: String,
    /// Keys that seal secrets in rows, by id: 32 bytes each, in hex.
    pub row_keys: BTreeMap<String, SecretString>,
    /// User of the bulk API.
    pub bulk_user: String,
    /// Password of the bulk API.
    pub bulk_password: SecretString,
}

/// The `[info]` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InfoConfig {
    /// Name of the platform.
    pub name: String,
    /// Which build.
    pub build: String,
    /// Where to ask for help.
    pub support: String,
    /// One line about the platform.
    pub description: String,
    /// Port under which apps are reached, for clients that print URLs; the scheme's own when absent.
    pub apps_url_port: Option<u16>,
    /// Scheme under which apps are reached. Default `http`.
    pub apps_url_scheme: String,
}

/// The `[seed]` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SeedConfig {
    /// Organization to make. Default `cupola`.
    pub org: String,
    /// Space to make in it. Default `dev`.
    pub space: String,
    /// Guid of the administrator in UAA; manager of that organization and developer in that space.
    pub admin_guid: Option<String>,
    /// The administrator's name.
    pub admin_name: Option<String>,
    /// Stack to make, which is also what an app gets that asks for none. Default `cupola-host`.
    pub stack: String,
    /// Memory of all apps of an organization under the default quota, in MiB. Default 10 240.
    pub quota_memory_mb: i32,
    /// Routes of an organization under the default quota. Default 1000.
    pub quota_routes: i32,
}

/// The `[apps]` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AppsConfig {
    /// Memory of an instance that asks for none, in MiB. Default 256.
    pub default_memory_mb: i32,
    /// Disk of an instance that asks for none, in MiB. Default 1024.
    pub default_disk_mb: i32,
    /// Most disk an instance may ask for, in MiB. Default 2048.
    pub maximum_disk_mb: i32,
    /// Most instances an app may ask for. Default 100: one start order each.
    pub maximum_instances: i32,
    /// Longest health check time-out an app may ask for, in seconds. Default 180.
    pub maximum_health_check_timeout: i32,
    /// Open files of an instance. Default 16384.
    pub file_descriptors: u32,
    /// What apps may reach.
    pub egress_rules: Vec<cupola_messages::dea::EgressRule>,
}

/// The `[staging]` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StagingConfig {
    /// Least memory of a build, in MiB. Default 1024.
    pub minimum_memory_mb: u32,
    /// Least disk of a build, in MiB. Default 4096.
    pub minimum_disk_mb: u32,
    /// How long a build may take, in seconds. Default 900.
    pub timeout_seconds: u32,
    /// How long a build may be overdue, for its result to arrive, in seconds. Default 60.
    pub grace_seconds: u32,
    /// How long to look for a stager with room, in seconds. Default 15: three advertisements.
    pub find_seconds: u32,
    /// How often builds are looked after, in milliseconds. Default 5000.
    pub watch_period_ms: u64,
    /// How long a build may be missing from what its stager lists before it is looked at again, in
    /// seconds. Default 15: longer than an advertisement or a result may be on its way.
    pub listed_within_seconds: u32,
}

/// The `[uploads]` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UploadLimits {
    /// Largest package, as sent and as unpacked, in MiB. Default 512.
    pub package_mb: u64,
    /// Largest droplet, in MiB. Default 2048.
    pub droplet_mb: u64,
    /// Largest build cache, in MiB. Default 2048.
    pub cache_mb: u64,
    /// Most files in a package. Default 65 000.
    pub entries: usize,
    /// Uploads that are unpacked at the same time. Default 2.
    pub concurrent: usize,
    /// Smallest file that the resource pool keeps, in bytes: below it, sending is cheaper than
    /// asking. Default 65 536.
    pub pool_minimum_bytes: u64,
    /// Largest file that the resource pool keeps, in bytes. Default 512 MiB.
    pub pool_maximum_bytes: u64,
}

fn default_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8181))
}
fn default_event_days() -> u32 {
    31
}
fn default_audience() -> String {
    "cloud_controller".to_owned()
}

// === impl Config ===

impl Config {
    /// The API as other roles reach it, without a trailing slash.
    pub(crate) fn internal_base(&self) -> String {
        base(self.internal_url.as_ref().unwrap_or(&self.external_url))
    }

    /// The API as clients reach it, without a trailing slash.
    pub(crate) fn external_base(&self) -> String {
        base(&self.external_url)
    }
}

// === impl UaaConfig ===

impl UaaConfig {
    /// UAA as the controller reaches it, without a trailing slash.
    pub(crate) fn internal_base(&self) -> String {
        base(self.internal_url.as_ref().unwrap_or(&self.external_url))
    }
}

// === impl StagingConfig ===

impl StagingConfig {
    /// From the decision to build to the moment when the build has failed, whatever comes later.
    pub(crate) fn patience(&self) -> chrono::Duration {
        let seconds = self.timeout_seconds.saturating_add(self.grace_seconds);
        chrono::Duration::seconds(i64::from(seconds))
    }
}

/// A url as the front of longer ones.
pub(crate) fn base(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

// === defaults ===

impl Default for InfoConfig {
    fn default() -> Self {
        Self {
            name: "Cupola".to_owned(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            support: String::new(),
            description: "Cupola, a Cloud Foundry style platform".to_owned(),
            apps_url_port: None,
            apps_url_scheme: "http".to_owned(),
        }
    }
}

impl Default for SeedConfig {
    fn default() -> Self {
        Self {
            org: "cupola".to_owned(),
            space: "dev".to_owned(),
            admin_guid: None,
            admin_name: None,
            stack: "cupola-host".to_owned(),
            quota_memory_mb: 10_240,
            quota_routes: 1_000,
        }
    }
}

impl Default for AppsConfig {
    fn default() -> Self {
        Self {
            default_memory_mb: 256,
            default_disk_mb: 1024,
            maximum_disk_mb: 2048,
            maximum_instances: 100,
            maximum_health_check_timeout: 180,
            file_descriptors: 16_384,
            egress_rules: Vec::new(),
        }
    }
}

impl Default for StagingConfig {
    fn default() -> Self {
        Self {
            minimum_memory_mb: 1024,
            minimum_disk_mb: 4096,
            timeout_seconds: 900,
            grace_seconds: 60,
            find_seconds: 15,
            watch_period_ms: 5_000,
            listed_within_seconds: 15,
        }
    }
}

impl Default for UploadLimits {
    fn default() -> Self {
        Self {
            package_mb: 512,
            droplet_mb: 2048,
            cache_mb: 2048,
            entries: 65_000,
            concurrent: 2,
            pool_minimum_bytes: 65_536,
            pool_maximum_bytes: 512 * 1024 * 1024,
        }
    }
}
