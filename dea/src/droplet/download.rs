//! Fetches a droplet's archive: bounded in size and time, checked against its SHA-1.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use reqwest::StatusCode;
use sha1::{Digest as _, Sha1};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::DropletSha;

/// Pause before the second attempt; doubled for each further one, with jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How much is gathered before a write to the disk.
const WRITE_BUFFER_BYTES: usize = 256 * 1024;

/// Limits of one download.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DownloadLimits {
    /// Largest archive that is accepted.
    pub(crate) max_bytes: u64,
    /// A transfer that brings nothing for this long has failed.
    pub(crate) inactivity: Duration,
    /// A transfer that takes longer than this in all has failed.
    pub(crate) total: Duration,
    /// How often it is tried in all.
    pub(crate) attempts: u32,
}

/// Why a droplet was not fetched. The address is left out on purpose: it holds a signature.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
    #[error("the request for the droplet failed")]
    Request(#[source] reqwest::Error),
    #[error("the blobstore answered {status}")]
    Status { status: StatusCode },
    #[error("the archive is larger than the {limit} bytes that are allowed")]
    TooLarge { limit: u64 },
    #[error("nothing came for {} s", .0.as_secs())]
    Inactive(Duration),
    #[error("the download took longer than {} s", .0.as_secs())]
    TooSlow(Duration),
    #[error("the archive's sha1 is {found}, expected {wanted}")]
    WrongSha { wanted: String, found: String },
    #[error("cannot write {path:?}")]
    Write { path: PathBuf, source: io::Error },
}

/// Downloads archives.
#[derive(Debug)]
pub(crate) struct Downloader {
    client: reqwest::Client,
    limits: DownloadLimits,
}

// === impl DownloadError ===

impl DownloadError {
    /// Whether another attempt may do better.
    fn worth_retrying(&self) -> bool {
        match self {
            Self::Request(_) | Self::Inactive(_) | Self::WrongSha { .. } => true,
            Self::Status { status } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Client(_) | Self::TooLarge { .. } | Self::TooSlow(_) | Self::Write { .. } => {
                false
            }
        }
    }
}

// === impl Downloader ===

impl Downloader {
    pub(crate) fn new(limits: DownloadLimits) -> Result<Self, DownloadError> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .no_proxy()
            .build()
            .map_err(DownloadError::Client)?;
        Ok(Self { client, limits })
    }

    /// Writes the archive at `uri` to the new file `target`; returns its size in bytes.
    pub(crate) async fn download(
        &self,
        sha: &DropletSha,
        uri: &str,
        target: &Path,
    ) -> Result<u64, DownloadError> {
        let all = async {
            let mut pause = FIRST_PAUSE;
            let mut attempt = 1;
            loop {
                match self.attempt(sha, uri, target).await {
                    Err(error) if error.worth_retrying() && attempt < self.limits.attempts => {
                        debug!(droplet.sha1 = sha.as_str(), attempt, %error, "download failed");
                        sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
                        pause *= 2;
                        attempt += 1;
                    }
                    result => return result,
                }
            }
        };
        let total = self.limits.total;
        timeout(total, all)
            .await
            .unwrap_or(Err(DownloadError::TooSlow(total)))
    }

    async fn attempt(
        &self,
        sha: &DropletSha,
        uri: &str,
        target: &Path,
    ) -> Result<u64, DownloadError> {
        let inactivity = self.limits.inactivity;
        let quiet = |_| DownloadError::Inactive(inactivity);
        let write_error = |source| DownloadError::Write {
            path: target.to_owned(),
            source,
        };
        let request = timeout(inactivity, self.client.get(uri).send())
            .await
            .map_err(quiet)?;
        let mut response = request.map_err(|e| DownloadError::Request(e.without_url()))?;
        if response.status() != StatusCode::OK {
            return Err(DownloadError::Status {
                status: response.status(),
            });
        }
        let limit = self.limits.max_bytes;
        if response
            .content_length()
            .is_some_and(|length| length > limit)
        {
            return Err(DownloadError::TooLarge { limit });
        }
        let file = tokio::task::spawn_blocking({
            let target = target.to_owned();
            move || fs::File::create(target)
        });
        let file = file
            .await
            .unwrap_or(Err(io::ErrorKind::Other.into()))
            .map_err(write_error)?;
        let mut file = tokio::io::BufWriter::with_capacity(
            WRITE_BUFFER_BYTES,
            tokio::fs::File::from_std(file),
        );
        let mut hash = Sha1::new();
        let mut bytes = 0_u64;
        loop {
            let chunk = timeout(inactivity, response.chunk()).await.map_err(quiet)?;
            let chunk = chunk.map_err(|e| DownloadError::Request(e.without_url()))?;
            let Some(chunk) = chunk else { break };
            bytes += chunk.len() as u64;
            if bytes > limit {
                return Err(DownloadError::TooLarge { limit });
            }
            hash.update(&chunk);
            file.write_all(&chunk).await.map_err(write_error)?;
        }
        file.flush().await.map_err(write_error)?;
        let found = hex::encode(hash.finalize());
        if found != sha.as_str() {
            return Err(DownloadError::WrongSha {
                wanted: sha.as_str().to_owned(),
                found,
            });
        }
        Ok(bytes)
    }
}
