//! Where blobs are kept.

use std::path::PathBuf;

use secrecy::SecretString;
use serde::Deserialize;

/// The `[blobstore]` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum BlobstoreConfig {
    /// In a folder of this machine.
    Local(LocalConfig),
    /// In S3 or a store that speaks its protocol (needs the build feature `s3`).
    S3(S3Config),
}

/// A local folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalConfig {
    /// The folder; made when absent.
    pub folder: PathBuf,
}

/// An S3 bucket.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// Name of the bucket.
    pub bucket: String,
    /// Region. Default `us-east-1`.
    #[serde(default = "default_region")]
    pub region: String,
    /// Address of the store when it is not Amazon's, such as `https://minio.example:9000`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Whether an `http:` endpoint is allowed. Default no.
    #[serde(default)]
    pub allow_http: bool,
    /// Who we are.
    pub access_key_id: String,
    /// How we prove it.
    pub secret_access_key: SecretString,
    /// Put in front of every key, for sharing a bucket. Default none.
    #[serde(default)]
    pub prefix: Option<String>,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}
