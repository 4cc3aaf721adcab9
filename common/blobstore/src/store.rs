//! Writing, reading and removing blobs.

use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error as StoreError, MultipartUpload, ObjectStore, ObjectStoreExt as _};
use sha1::{Digest, Sha1};
use thiserror::Error;
use tokio::io::AsyncReadExt as _;

use crate::config::BlobstoreConfig;
use crate::key::{BadKey, Bucket, path};

/// Bytes that are collected before they are written in one piece.
const LOCAL_PART_BYTES: usize = 256 * 1024;
/// S3 takes no smaller parts, but for the last.
#[cfg(feature = "s3")]
const S3_PART_BYTES: usize = 6 * 1024 * 1024;
/// A temporary file that nobody has written to for so long was left by a process that died.
const STALE_AFTER: Duration = Duration::from_secs(3600);

/// A store of blobs; cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobstore {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    part_bytes: usize,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Digest of the contents, 40 hex digits.
    pub sha1: String,
    /// Length of the contents.
    pub size_bytes: u64,
}

/// The contents of a blob, on their way.
pub struct Contents {
    /// Length.
    pub size_bytes: u64,
    /// The bytes.
    pub stream: BoxStream<'static, Result<Bytes, BlobError>>,
}

/// What can go wrong with a blob.
#[derive(Debug, Error)]
pub enum BlobError {
    /// There is no such blob.
    #[error("there is no blob {key} in {bucket}")]
    NotFound {
        /// Where it was looked for.
        bucket: Bucket,
        /// What was looked for.
        key: String,
    },
    /// The contents are longer than they may be; nothing was kept.
    #[error("the blob is larger than {limit_bytes} bytes")]
    TooLarge {
        /// How long they may be.
        limit_bytes: u64,
    },
    /// The contents are not what they were announced to be; nothing was kept.
    #[error("the blob's SHA-1 is {actual}, expected {expected}")]
    WrongDigest {
        /// What was announced.
        expected: String,
        /// What came.
        actual: String,
    },
    /// The sender failed before the end; nothing was kept.
    #[error("the blob's sender broke off")]
    Source(#[source] std::io::Error),
    /// The key cannot be one.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// The store cannot be used as configured.
    #[error("the blobstore cannot be used: {0}")]
    Config(String),
    /// The store itself failed (a full disk, for one).
    #[error("the blobstore failed to {operation} {key} in {bucket}")]
    Store {
        /// What was tried.
        operation: &'static str,
        /// Where.
        bucket: Bucket,
        /// On what.
        key: String,
        /// What the store says.
        #[source]
        source: StoreError,
    },
    /// A file on the way to or from the store could not be used.
    #[error("cannot use the file {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

// === impl BlobError ===

impl BlobError {
    /// Whether the blob is simply not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, BlobError::NotFound { .. })
    }

    fn store(operation: &'static str, bucket: Bucket, key: &str) -> impl Fn(StoreError) -> Self {
        move |source| match source {
            StoreError::NotFound { .. } => BlobError::NotFound {
                bucket,
                key: key.to_owned(),
            },
            source => BlobError::Store {
                operation,
                bucket,
                key: key.to_owned(),
                source,
            },
        }
    }
}

// === impl Blobstore ===

impl Blobstore {
    /// Opens the store and removes what a process that died has left half written.
    ///
    /// # Errors
    /// When the folder cannot be made or the configuration makes no sense.
    pub fn open(config: &BlobstoreConfig) -> Result<Self, BlobError> {
        match config {
            BlobstoreConfig::Local(local) => Self::local(&local.folder),
            #[cfg(feature = "s3")]
            BlobstoreConfig::S3(s3) => Self::s3(s3),
            #[cfg(not(feature = "s3"))]
            BlobstoreConfig::S3(_) => Err(BlobError::Config(
                "this build has no S3 support (feature `s3`)".into(),
            )),
        }
    }

    fn local(folder: &FsPath) -> Result<Self, BlobError> {
        let failed = |source| BlobError::File {
            path: folder.to_owned(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        sweep(folder, SystemTime::now());
        let store = LocalFileSystem::new_with_prefix(folder)
            .map_err(|e| BlobError::Config(e.to_string()))?;
        Ok(Self {
            store: Arc::new(store),
            prefix: String::new(),
            part_bytes: LOCAL_PART_BYTES,
        })
    }

    #[cfg(feature = "s3")]
    fn s3(config: &crate::config::S3Config) -> Result<Self, BlobError> {
        use secrecy::ExposeSecret as _;
        let mut builder = object_store::aws::AmazonS3Builder::new()
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_allow_http(config.allow_http)
            .with_access_key_id(&config.access_key_id)
            .with_secret_access_key(config.secret_access_key.expose_secret());
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let store = builder
            .build()
            .map_err(|e| BlobError::Config(e.to_string()))?;
        let prefix = config.prefix.clone().unwrap_or_default();
        Ok(Self {
            store: Arc::new(store),
            prefix,
            part_bytes: S3_PART_BYTES,
        })
    }

    /// Writes a blob from a stream, replacing what was there.
    ///
    /// # Errors
    /// When more than `limit_bytes` come, the stream breaks off or the store fails; the
    /// blob is then as it was before.
    pub async fn put<S, E>(
        &self,
        bucket: Bucket,
        key: &str,
        contents: S,
        limit_bytes: u64,
    ) -> Result<Stored, BlobError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<std::io::Error>,
    {
        self.put_checked(bucket, key, contents, limit_bytes, None)
            .await
    }

    /// Writes a blob whose SHA-1 is known beforehand.
    ///
    /// # Errors
    /// As [`Blobstore::put`], and when the contents have another digest.
    pub async fn put_checked<S, E>(
        &self,
        bucket: Bucket,
        key: &str,
        mut contents: S,
        limit_bytes: u64,
        expected_sha1: Option<&str>,
    ) -> Result<Stored, BlobError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<std::io::Error>,
    {
        let location = path(&self.prefix, bucket, key)?;
        let begin = BlobError::store("begin writing", bucket, key);
        let upload = self.store.put_multipart(&location).await.map_err(begin)?;
        let mut writer = Writer {
            upload,
            failed: &BlobError::store("write", bucket, key),
            hash: Sha1::new(),
            size_bytes: 0,
            pending: BytesMut::new(),
            part_bytes: self.part_bytes,
        };
        let written = async {
            while let Some(chunk) = contents.next().await {
                let chunk = chunk.map_err(|e| BlobError::Source(e.into()))?;
                writer.write(&chunk, limit_bytes).await?;
            }
            writer.finish(expected_sha1).await
        }
        .await;
        if written.is_err()
            && let Err(error) = writer.upload.abort().await
        {
            tracing::warn!(blob.bucket = %bucket, blob.key = key, %error, "cannot discard a half written blob");
        }
        written
    }

    /// Writes a blob from a file.
    ///
    /// # Errors
    /// As [`Blobstore::put`].
    pub async fn put_file(
        &self,
        bucket: Bucket,
        key: &str,
        file: &FsPath,
    ) -> Result<Stored, BlobError> {
        let failed = |source| BlobError::File {
            path: file.to_owned(),
            source,
        };
        let opened = tokio::fs::File::open(file).await.map_err(failed)?;
        let stream = tokio_util::io::ReaderStream::with_capacity(opened, LOCAL_PART_BYTES);
        self.put(bucket, key, stream, u64::MAX).await
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub async fn get(&self, bucket: Bucket, key: &str) -> Result<Contents, BlobError> {
        let location = path(&self.prefix, bucket, key)?;
        let failed = BlobError::store("read", bucket, key);
        let found = self.store.get(&location).await.map_err(failed)?;
        let size_bytes = found.meta.size;
        let key = key.to_owned();
        let stream = found
            .into_stream()
            .map(move |chunk| chunk.map_err(BlobError::store("read", bucket, &key)))
            .boxed();
        Ok(Contents { size_bytes, stream })
    }

    /// Copies a blob into a new file.
    ///
    /// # Errors
    /// When there is none, or the file cannot be written.
    pub async fn get_file(
        &self,
        bucket: Bucket,
        key: &str,
        file: &FsPath,
    ) -> Result<u64, BlobError> {
        let failed = |source| BlobError::File {
            path: file.to_owned(),
            source,
        };
        let mut contents = self.get(bucket, key).await?;
        let mut out = tokio::fs::File::create(file).await.map_err(failed)?;
        while let Some(chunk) = contents.stream.next().await {
            tokio::io::AsyncWriteExt::write_all(&mut out, &chunk?)
                .await
                .map_err(failed)?;
        }
        tokio::io::AsyncWriteExt::flush(&mut out)
            .await
            .map_err(failed)?;
        Ok(contents.size_bytes)
    }

    /// Length of a blob, or `None` when there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn size(&self, bucket: Bucket, key: &str) -> Result<Option<u64>, BlobError> {
        let location = path(&self.prefix, bucket, key)?;
        match self.store.head(&location).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(BlobError::store("look for", bucket, key)(error)),
        }
    }

    /// Copies a blob inside the store.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub async fn copy(&self, bucket: Bucket, from: &str, to: &str) -> Result<(), BlobError> {
        let source = path(&self.prefix, bucket, from)?;
        let target = path(&self.prefix, bucket, to)?;
        self.store
            .copy(&source, &target)
            .await
            .map_err(BlobError::store("copy", bucket, from))
    }

    /// Removes a blob; one that is not there is no error.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete(&self, bucket: Bucket, key: &str) -> Result<(), BlobError> {
        let location: Path = path(&self.prefix, bucket, key)?;
        match self.store.delete(&location).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(BlobError::store("remove", bucket, key)(error)),
        }
    }
}

// === impl Contents ===

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Contents({} bytes)", self.size_bytes)
    }
}

/// A blob being written.
struct Writer<'a, F> {
    upload: Box<dyn MultipartUpload>,
    failed: &'a F,
    hash: Sha1,
    size_bytes: u64,
    pending: BytesMut,
    part_bytes: usize,
}

// === impl Writer ===

impl<F: Fn(StoreError) -> BlobError> Writer<'_, F> {
    async fn write(&mut self, chunk: &[u8], limit_bytes: u64) -> Result<(), BlobError> {
        self.size_bytes += chunk.len() as u64;
        if self.size_bytes > limit_bytes {
            return Err(BlobError::TooLarge { limit_bytes });
        }
        self.hash.update(chunk);
        self.pending.extend_from_slice(chunk);
        while self.pending.len() >= self.part_bytes {
            let part = self.pending.split_to(self.part_bytes).freeze();
            self.upload
                .put_part(part.into())
                .await
                .map_err(self.failed)?;
        }
        Ok(())
    }

    async fn finish(&mut self, expected_sha1: Option<&str>) -> Result<Stored, BlobError> {
        let sha1 = hex::encode(self.hash.clone().finalize());
        if let Some(expected) = expected_sha1
            && !expected.eq_ignore_ascii_case(&sha1)
        {
            return Err(BlobError::WrongDigest {
                expected: expected.to_owned(),
                actual: sha1,
            });
        }
        let rest = self.pending.split().freeze();
        if !rest.is_empty() || self.size_bytes == 0 {
            self.upload
                .put_part(rest.into())
                .await
                .map_err(self.failed)?;
        }
        self.upload.complete().await.map_err(self.failed)?;
        Ok(Stored {
            sha1,
            size_bytes: self.size_bytes,
        })
    }
}

/// Removes temporary files (their names hold a `#`, which no key does) that were given up.
fn sweep(folder: &FsPath, now: SystemTime) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            sweep(&entry.path(), now);
            continue;
        }
        let is_temporary = entry.file_name().to_string_lossy().contains('#');
        let written = entry.metadata().and_then(|meta| meta.modified());
        let is_stale =
            written.is_ok_and(|at| now.duration_since(at).unwrap_or_default() > STALE_AFTER);
        if is_temporary
            && is_stale
            && let Err(error) = std::fs::remove_file(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %error, "cannot remove a stale temporary file");
        }
    }
}

/// SHA-1 and length of a file.
///
/// # Errors
/// When the file cannot be read.
pub async fn digest(file: &FsPath) -> Result<Stored, BlobError> {
    let failed = |source| BlobError::File {
        path: file.to_owned(),
        source,
    };
    let mut opened = tokio::fs::File::open(file).await.map_err(failed)?;
    let mut hash = Sha1::new();
    let mut size_bytes = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = opened.read(&mut buffer).await.map_err(failed)?;
        if read == 0 {
            return Ok(Stored {
                sha1: hex::encode(hash.finalize()),
                size_bytes,
            });
        }
        hash.update(&buffer[..read]);
        size_bytes += read as u64;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use futures_util::stream;

    use super::*;
    use crate::config::LocalConfig;

    type Chunk = Result<Bytes, std::io::Error>;

    fn open(folder: &FsPath) -> Blobstore {
        Blobstore::open(&BlobstoreConfig::Local(LocalConfig {
            folder: folder.to_owned(),
        }))
        .unwrap()
    }

    fn chunks(parts: &[&[u8]]) -> impl Stream<Item = Chunk> + Unpin + use<> {
        let owned: Vec<Chunk> = parts
            .iter()
            .map(|p| Ok(Bytes::copy_from_slice(p)))
            .collect();
        stream::iter(owned)
    }

    async fn read(store: &Blobstore, key: &str) -> Vec<u8> {
        let mut contents = store.get(Bucket::Droplets, key).await.unwrap();
        let mut all = Vec::new();
        while let Some(chunk) = contents.stream.next().await {
            all.extend_from_slice(&chunk.unwrap());
        }
        assert_eq!(all.len() as u64, contents.size_bytes);
        all
    }

    fn files(folder: &FsPath) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                found.extend(files(&entry.path()));
            } else {
                found.push(entry.path());
            }
        }
        found
    }

    #[tokio::test]
    async fn keeps_what_was_written_and_says_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let stored = store
            .put(
                Bucket::Droplets,
                "abcdef",
                chunks(&[b"hello ", b"world"]),
                100,
            )
            .await
            .unwrap();
        assert_eq!(stored.sha1, "2aae6c35c94fcfb415dbe95f408b9ce91ee846ed");
        assert_eq!(read(&store, "abcdef").await, b"hello world");
        assert!(folder.path().join("droplets/ab/cd/abcdef").is_file());
        assert_eq!(
            store.size(Bucket::Droplets, "abcdef").await.unwrap(),
            Some(11)
        );
        assert_eq!(store.size(Bucket::Packages, "abcdef").await.unwrap(), None);
        store
            .copy(Bucket::Droplets, "abcdef", "fedcba")
            .await
            .unwrap();
        store.delete(Bucket::Droplets, "abcdef").await.unwrap();
        store.delete(Bucket::Droplets, "abcdef").await.unwrap();
        assert!(
            store
                .get(Bucket::Droplets, "abcdef")
                .await
                .unwrap_err()
                .is_not_found()
        );
        assert_eq!(read(&store, "fedcba").await, b"hello world");
    }

    #[tokio::test]
    async fn spans_many_parts_and_takes_empty_ones() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let big = vec![7_u8; LOCAL_PART_BYTES * 3 + 5];
        store
            .put(Bucket::Droplets, "bigone", chunks(&[&big]), u64::MAX)
            .await
            .unwrap();
        assert_eq!(read(&store, "bigone").await, big);
        store
            .put(Bucket::Droplets, "empty1", chunks(&[]), 0)
            .await
            .unwrap();
        assert_eq!(read(&store, "empty1").await, b"");
    }

    #[tokio::test]
    async fn keeps_nothing_of_what_it_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        store
            .put(Bucket::Droplets, "abcdef", chunks(&[b"first"]), 100)
            .await
            .unwrap();
        let too_large = store
            .put(Bucket::Droplets, "abcdef", chunks(&[b"12345", b"6"]), 5)
            .await;
        assert!(matches!(
            too_large,
            Err(BlobError::TooLarge { limit_bytes: 5 })
        ));
        let digest = Some("0000000000000000000000000000000000000000");
        let wrong = store
            .put_checked(Bucket::Droplets, "abcdef", chunks(&[b"x"]), 9, digest)
            .await;
        assert!(matches!(wrong, Err(BlobError::WrongDigest { .. })));
        let broken = stream::iter([
            Ok(Bytes::from_static(b"x")),
            Err(std::io::Error::other("gone")),
        ]);
        let broken = store.put(Bucket::Droplets, "abcdef", broken, 9).await;
        assert!(matches!(broken, Err(BlobError::Source(_))));
        assert_eq!(read(&store, "abcdef").await, b"first");
        assert_eq!(files(folder.path()).len(), 1, "{:?}", files(folder.path()));
    }

    #[test]
    fn sweeps_only_stale_temporary_files() {
        let folder = tempfile::tempdir().unwrap();
        let nested = folder.path().join("droplets/ab/cd");
        std::fs::create_dir_all(&nested).unwrap();
        for name in ["abcdef", "abcdef#1"] {
            std::fs::write(nested.join(name), b"x").unwrap();
        }
        sweep(folder.path(), SystemTime::now());
        assert_eq!(files(folder.path()).len(), 2);
        sweep(folder.path(), SystemTime::now() + STALE_AFTER * 2);
        assert_eq!(files(folder.path()), [nested.join("abcdef")]);
    }

    #[tokio::test]
    async fn goes_through_files() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("store"));
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::write(&from, b"hello world").unwrap();
        let stored = store
            .put_file(Bucket::Packages, "abcdef", &from)
            .await
            .unwrap();
        assert_eq!(stored, digest(&from).await.unwrap());
        assert_eq!(
            store
                .get_file(Bucket::Packages, "abcdef", &to)
                .await
                .unwrap(),
            11
        );
        assert_eq!(std::fs::read(&to).unwrap(), b"hello world");
    }
}
