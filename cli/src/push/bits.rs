//! Sending an app's files: ask which ones the platform has, pack the rest, upload, wait until the
//! platform has put them together.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use cupola_types::AppGuid;
use futures_util::{Stream, stream};
use reqwest::StatusCode;
use reqwest::multipart::{Form, Part};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::archive;
use super::files::{Entry, FilesError, Kind, Tree, fingerprint};
use crate::cc;
use crate::client::{Answer, ApiError, Client, collect};
use crate::failure::Advised;
use crate::session::Secret;
use crate::size;
use crate::ui::Ui;

/// So many files are asked about at once.
const MATCH_CHUNK: usize = 1000;
/// The upload may take as long as it likes while bytes flow; when none does for this long, it
/// has broken off. The platform's answer has as long.
const STALLED_AFTER: Duration = Duration::from_secs(120);
const READ_AT_ONCE: usize = 64 * 1024;

/// A file as the resource pool knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Resource {
    #[serde(rename = "fn")]
    name: String,
    #[serde(default)]
    mode: String,
    sha1: String,
    size: u64,
}

/// What the multipart body is made of; it can be made again when the token had ended.
#[derive(Debug)]
pub(crate) struct Package {
    known: Vec<Resource>,
    archive: Option<tempfile::NamedTempFile>,
    archive_size: u64,
}

/// Makes ready what lies at `path`, a folder or an archive. Nothing is sent but questions.
pub(crate) async fn prepare(
    client: &Client,
    ui: &Ui,
    path: &Path,
    private: &Path,
) -> anyhow::Result<Package> {
    let metadata = std::fs::metadata(path)
        .map_err(|source| FilesError::Read {
            path: path.to_owned(),
            source,
        })
        .map_err(advised)?;
    if !metadata.is_dir() {
        return whole_archive(path).map_err(advised);
    }
    let (folder, private) = (path.to_owned(), private.to_owned());
    let (tree, resources) = blocking(move || {
        let tree = Tree::read(&folder, &private)?;
        let resources = resources(&tree)?;
        Ok((tree, resources))
    })
    .await?;
    if !tree.skipped.is_empty() {
        ui.warn(format_args!(
            "Not sent, for only files and folders are: {}",
            listed(&tree.skipped)
        ));
    }
    ui.say("Comparing local files to remote cache...")?;
    let known = ask_known(client, &resources).await?;
    let rest = without_known(&tree.entries, &known);
    if rest.is_empty() {
        ui.say("All files found in remote cache; nothing to upload.")?;
        return Ok(Package {
            known,
            archive: None,
            archive_size: 0,
        });
    }
    ui.say("Packaging files to upload...")?;
    let archive = blocking(move || archive::pack(&rest)).await?;
    let archive_size = archive
        .as_file()
        .metadata()
        .context("measuring the archive")?
        .len();
    Ok(Package {
        known,
        archive: Some(archive),
        archive_size,
    })
}

/// An archive that a person made goes as it is.
fn whole_archive(path: &Path) -> Result<Package, FilesError> {
    let mut original = archive::open(path)?;
    let fail = |source| FilesError::Pack {
        path: std::env::temp_dir(),
        source,
    };
    let mut copy = tempfile::NamedTempFile::new().map_err(fail)?;
    let archive_size = std::io::copy(&mut original, &mut copy).map_err(fail)?;
    Ok(Package {
        known: Vec::new(),
        archive: Some(copy),
        archive_size,
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FilesError> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("working on files")?
        .map_err(advised)
}

fn advised(error: FilesError) -> anyhow::Error {
    let advice = error.advice();
    let message = error.to_string();
    match std::error::Error::source(&error) {
        Some(cause) => Advised::new(format!("{message}: {cause}"), advice).into(),
        None => Advised::new(message, advice).into(),
    }
}

fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut list = names
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SHOWN {
        list.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    list
}

fn resources(tree: &Tree) -> Result<Vec<Resource>, FilesError> {
    let files = tree
        .entries
        .iter()
        .filter(|entry| matches!(entry.kind, Kind::File { .. }));
    files
        .map(|entry| {
            let (sha1, size) = fingerprint(&entry.path)?;
            Ok(Resource {
                name: entry.name.clone(),
                mode: format!("{:o}", entry.mode),
                sha1,
                size,
            })
        })
        .collect()
}

/// Which of the files the platform has. What it names must be what was asked about.
async fn ask_known(client: &Client, resources: &[Resource]) -> anyhow::Result<Vec<Resource>> {
    let mut known = Vec::new();
    for chunk in resources.chunks(MATCH_CHUNK) {
        let answer: Vec<Resource> = client
            .put("/v2/resource_match", &chunk)
            .await
            .context("asking which files the platform has")?;
        let has = |ours: &&Resource| {
            answer
                .iter()
                .any(|theirs| theirs.sha1 == ours.sha1 && theirs.size == ours.size)
        };
        known.extend(chunk.iter().filter(has).cloned());
    }
    Ok(known)
}

fn without_known(entries: &[Entry], known: &[Resource]) -> Vec<Entry> {
    let known: std::collections::HashSet<&str> = known.iter().map(|r| r.name.as_str()).collect();
    let rest: Vec<Entry> = entries
        .iter()
        .filter(|entry| !known.contains(entry.name.as_str()))
        .cloned()
        .collect();
    rest
}

// === impl Package ===

impl Package {
    /// Uploads it for an app and waits until the platform has taken it in.
    pub(crate) async fn upload(
        &self,
        client: &Client,
        ui: &Ui,
        app: &AppGuid,
    ) -> anyhow::Result<()> {
        ui.say("Uploading files...")?;
        let answer = self.send(client, ui, app).await?;
        let job: cc::Job = answer.json().context("reading the answer to the upload")?;
        ui.gap()?;
        ui.say("Waiting for API to complete processing files...")?;
        cc::finish_job(client, &job)
            .await
            .context("processing the uploaded files")
    }

    async fn send(&self, client: &Client, ui: &Ui, app: &AppGuid) -> anyhow::Result<Answer> {
        let token = client.live_token().await?;
        let answer = self.send_once(client, ui, app, &token).await?;
        let answer = if answer.status == StatusCode::UNAUTHORIZED {
            let token = client.renew(&token).await?;
            self.send_once(client, ui, app, &token).await?
        } else {
            answer
        };
        answer
            .accepted()
            .with_context(|| format!("uploading {}", size::bytes(self.archive_size)))
    }

    async fn send_once(
        &self,
        client: &Client,
        ui: &Ui,
        app: &AppGuid,
        token: &Secret,
    ) -> anyhow::Result<Answer> {
        let url = client.api_url(&format!("/v2/apps/{app}/bits?async=true"))?;
        let sent = Arc::new(AtomicU64::new(0));
        let form = self.form(&sent).await.context("reading the archive")?;
        let what = format!("{} of multipart form", size::bytes(self.archive_size));
        client.transport().trace().streamed("PUT", &url, &what);
        let request = client
            .transport()
            .pool(&url)?
            .put(url.clone())
            .header("accept", "application/json")
            .header("authorization", format!("bearer {}", token.reveal()))
            .multipart(form);
        let exchange = async {
            let response = request.send().await;
            let response = response.map_err(|e| ApiError::sending(&url, STALLED_AFTER, &e))?;
            collect(response, &url, STALLED_AFTER).await
        };
        let answer = watched(exchange, ui, &sent, self.archive_size)
            .await
            .with_context(|| {
                let (done, all) = (sent.load(Ordering::Relaxed), self.archive_size);
                format!(
                    "uploading files ({} of {} sent)",
                    size::bytes(done),
                    size::bytes(all)
                )
            })?;
        client.transport().trace().answer(&answer);
        Ok(answer)
    }

    async fn form(&self, sent: &Arc<AtomicU64>) -> anyhow::Result<Form> {
        let form = Form::new().part("resources", Part::text(serde_json::to_string(&self.known)?));
        let Some(archive) = &self.archive else {
            return Ok(form);
        };
        let file = tokio::fs::File::from_std(archive.reopen()?);
        let body = reqwest::Body::wrap_stream(counted(file, Arc::clone(sent)));
        let part = Part::stream_with_length(body, self.archive_size)
            .file_name("application.zip")
            .mime_str("application/octet-stream")?;
        Ok(form.part("application", part))
    }
}

/// The file in pieces; `sent` counts the bytes that were taken.
fn counted(
    file: tokio::fs::File,
    sent: Arc<AtomicU64>,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    stream::try_unfold((file, sent), |(mut file, sent)| async move {
        let mut piece = BytesMut::with_capacity(READ_AT_ONCE);
        let read = file.read_buf(&mut piece).await?;
        sent.fetch_add(read as u64, Ordering::Relaxed);
        Ok((read > 0).then(|| (piece.freeze(), (file, sent))))
    })
}

/// Shows how far the upload is and gives up when nothing moves any more.
async fn watched(
    exchange: impl Future<Output = Result<Answer, ApiError>>,
    ui: &Ui,
    sent: &AtomicU64,
    total: u64,
) -> anyhow::Result<Answer> {
    let bar = ui.byte_bar(total);
    let mut moved = (Instant::now(), 0);
    let mut look = tokio::time::interval(Duration::from_millis(100));
    tokio::pin!(exchange);
    loop {
        tokio::select! {
            answer = &mut exchange => {
                bar.set(sent.load(Ordering::Relaxed));
                return Ok(answer?);
            }
            _ = look.tick() => {}
        }
        let now = sent.load(Ordering::Relaxed);
        bar.set(now);
        if now != moved.1 {
            moved = (Instant::now(), now);
        } else if moved.0.elapsed() > STALLED_AFTER {
            let message = format!("nothing has moved for {} s", STALLED_AFTER.as_secs());
            return Err(Advised::new(message, "check the network and push again").into());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn resources_are_spelled_as_the_platform_spells_them() {
        let resource = Resource {
            name: "a/b".into(),
            mode: "644".into(),
            sha1: "00".into(),
            size: 3,
        };
        assert_eq!(
            serde_json::to_string(&resource).unwrap(),
            r#"{"fn":"a/b","mode":"644","sha1":"00","size":3}"#
        );
        let bare: Resource = serde_json::from_str(r#"{"fn":"a","sha1":"00","size":1}"#).unwrap();
        assert_eq!(bare.mode, "");
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..8).map(|n| n.to_string()).collect();
        assert_eq!(listed(&names), "0, 1, 2, 3, 4 and 3 more");
        assert_eq!(listed(&names[..2]), "0, 1");
    }

    #[tokio::test]
    async fn a_file_is_streamed_whole_and_counted() {
        use futures_util::TryStreamExt;
        let content = vec![7; READ_AT_ONCE * 2 + 1];
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &content).unwrap();
        let sent = Arc::new(AtomicU64::new(0));
        let file = tokio::fs::File::from_std(file.reopen().unwrap());
        let pieces: Vec<Bytes> = counted(file, Arc::clone(&sent))
            .try_collect()
            .await
            .unwrap();
        assert_eq!(pieces.concat(), content);
        assert_eq!(sent.load(Ordering::Relaxed), content.len() as u64);
    }
}
