//! Packages in, droplets and results out, over HTTP.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use cupola_component::Backoff;
use cupola_http::client;
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Body, Client, StatusCode};
use tokio::sync::OnceCell;
use tokio_util::io::ReaderStream;

/// Tries of a transfer whose other side is away or stumbles: with the pauses between them, time
/// enough for a controller to be restarted.
const TRIES: u32 = 10;
/// Pauses between tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Longest wait for the controller to answer one report.
const REPORT_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a file is sent at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// Moves blobs. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Transfer {
    near: Client,
    far: OnceCell<Client>,
    folder: PathBuf,
}

/// A transfer that did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    #[error("the address is of no use")]
    Address,
    #[error("{}", innermost(.0))]
    Http(reqwest::Error),
    #[error("the other side answered {0}")]
    Status(StatusCode),
    #[error("it is larger than the {limit} bytes allowed")]
    TooLarge { limit: u64 },
    #[error("it cannot be kept: {0}")]
    File(#[from] std::io::Error),
}

// === impl Transfer ===

impl Transfer {
    /// Keeps downloads in `folder`, without names: what this process leaves behind, the kernel
    /// removes.
    pub(crate) fn new(folder: PathBuf) -> reqwest::Result<Self> {
        Ok(Self {
            near: client::loopback("cupola-stager")?,
            far: OnceCell::new(),
            folder,
        })
    }

    /// An empty file that nobody else sees.
    pub(crate) fn scratch(&self) -> std::io::Result<File> {
        tempfile::tempfile_in(&self.folder)
    }

    /// Downloads `url` into a file, at its beginning; `None` when there is nothing (404).
    pub(crate) async fn download(
        &self,
        url: &str,
        limit: u64,
    ) -> Result<Option<(File, u64)>, TransferError> {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        for _ in 1..TRIES {
            match self.download_once(url, limit).await {
                Err(error) if error.is_transient() => {
                    tokio::time::sleep(backoff.next_pause()).await
                }
                ended => return ended,
            }
        }
        self.download_once(url, limit).await
    }

    async fn download_once(
        &self,
        url: &str,
        limit: u64,
    ) -> Result<Option<(File, u64)>, TransferError> {
        let mut answer = self.client(url).await?.get(url).send().await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status => return Err(TransferError::Status(status)),
        }
        let too_large = TransferError::TooLarge { limit };
        if answer.content_length().is_some_and(|length| length > limit) {
            return Err(too_large);
        }
        let mut file = self.scratch()?;
        let mut bytes = 0;
        while let Some(chunk) = answer.chunk().await? {
            bytes += chunk.len() as u64;
            if bytes > limit {
                return Err(too_large);
            }
            // Into the page cache: quicker than handing each chunk to another thread.
            file.write_all(&chunk)?;
        }
        file.seek(SeekFrom::Start(0))?;
        Ok(Some((file, bytes)))
    }

    /// Uploads all of `file` by POST.
    pub(crate) async fn upload(&self, url: &str, file: &File) -> Result<(), TransferError> {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        for _ in 1..TRIES {
            match self.upload_once(url, file).await {
                Err(error) if error.is_transient() => {
                    tokio::time::sleep(backoff.next_pause()).await
                }
                ended => return ended,
            }
        }
        self.upload_once(url, file).await
    }

    async fn upload_once(&self, url: &str, file: &File) -> Result<(), TransferError> {
        // The clone shares its position with the original, so one upload at a time.
        let mut file = file.try_clone()?;
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        let stream = ReaderStream::with_capacity(tokio::fs::File::from_std(file), CHUNK_BYTES);
        let request = self
            .client(url)
            .await?
            .post(url)
            .header(CONTENT_LENGTH, length);
        let answer = request.body(Body::wrap_stream(stream)).send().await?;
        accepted(answer.status())
    }

    /// Sends `report` by POST, once.
    pub(crate) async fn post(
        &self,
        url: &str,
        report: &impl serde::Serialize,
    ) -> Result<(), TransferError> {
        let request = self
            .client(url)
            .await?
            .post(url)
            .json(report)
            .timeout(REPORT_TIMEOUT);
        accepted(request.send().await?.status())
    }

    /// Plain HTTP needs no certificates; reading them costs time and memory, so that waits for the
    /// first address that needs them.
    async fn client(&self, url: &str) -> Result<&Client, TransferError> {
        if url.starts_with("http://") {
            return Ok(&self.near);
        }
        if !url.starts_with("https://") {
            return Err(TransferError::Address);
        }
        let far = async || client::world("cupola-stager", None);
        Ok(self.far.get_or_try_init(far).await?)
    }
}

// === impl TransferError ===

impl TransferError {
    /// Whether another try may work.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Http(error) => !error.is_builder(),
            Self::Status(status) => {
                status.is_server_error()
                    || matches!(
                        *status,
                        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
                    )
            }
            Self::Address | Self::TooLarge { .. } | Self::File(_) => false,
        }
    }
}

impl From<reqwest::Error> for TransferError {
    fn from(error: reqwest::Error) -> Self {
        // The address holds a signature that is good for the app's blobs.
        Self::Http(error.without_url())
    }
}

fn accepted(status: StatusCode) -> Result<(), TransferError> {
    if status.is_success() {
        Ok(())
    } else {
        Err(TransferError::Status(status))
    }
}

/// What really happened lies at the bottom of the chain ("connection refused").
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::io::Read as _;

    use wiremock::matchers::{body_bytes, header, method};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    fn transfer() -> Transfer {
        Transfer::new(std::env::temp_dir()).unwrap()
    }

    async fn answering(template: ResponseTemplate) -> MockServer {
        let server = MockServer::start().await;
        Mock::given(wiremock::matchers::any())
            .respond_with(template)
            .mount(&server)
            .await;
        server
    }

    #[tokio::test]
    async fn a_download_is_bounded_whatever_the_other_side_says() {
        let server = answering(ResponseTemplate::new(200).set_body_string("12345")).await;
        let (mut file, bytes) = transfer()
            .download(&server.uri(), 5)
            .await
            .unwrap()
            .unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), bytes), ("12345", 5));
        let refused = transfer().download(&server.uri(), 4).await.unwrap_err();
        assert!(
            matches!(refused, TransferError::TooLarge { limit: 4 }),
            "{refused:?}"
        );
    }

    #[tokio::test]
    async fn nothing_there_is_no_error_and_a_refusal_is_not_tried_again() {
        let server = answering(ResponseTemplate::new(404)).await;
        assert!(
            transfer()
                .download(&server.uri(), 5)
                .await
                .unwrap()
                .is_none()
        );
        let server = answering(ResponseTemplate::new(403)).await;
        let refused = transfer().download(&server.uri(), 5).await.unwrap_err();
        assert_eq!(refused.to_string(), "the other side answered 403 Forbidden");
        assert_eq!(server.received_requests().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn an_upload_is_repeated_whole_after_the_other_side_stumbled() {
        let server = MockServer::start().await;
        let stumbles = Mock::given(method("POST")).respond_with(ResponseTemplate::new(503));
        stumbles.up_to_n_times(2).mount(&server).await;
        let content = vec![7; 200_000];
        Mock::given(method("POST"))
            .and(body_bytes(content.clone()))
            .and(header("content-length", "200000"))
            .respond_with(ResponseTemplate::new(201))
            .mount(&server)
            .await;
        let mut file = transfer().scratch().unwrap();
        file.write_all(&content).unwrap();
        transfer().upload(&server.uri(), &file).await.unwrap();
        assert_eq!(server.received_requests().await.unwrap().len(), 3);
    }

    #[tokio::test]
    async fn errors_do_not_show_the_signature() {
        let refused = transfer()
            .post("http://127.0.0.1:1/x?signature=secret", &())
            .await
            .unwrap_err();
        assert!(refused.is_transient());
        let said = format!("{refused} {refused:?}");
        assert!(!said.contains("secret"), "{said}");
        let refused = transfer()
            .post("ftp://x/?signature=secret", &())
            .await
            .unwrap_err();
        assert!(!refused.is_transient());
    }
}
