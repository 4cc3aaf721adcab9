//! What comes into the container: the app, the cache of earlier builds, buildpacks.

use std::fs::File;
use std::io::{Seek as _, SeekFrom};
use std::time::Duration;

use cupola_warden::{Unpack, WardenError};

use super::build::{Build, Ready};
use super::job::Printed;
use crate::archive::{self, ArchiveError, Shape};
use crate::buildpack::{Buildpack, Source};
use crate::failure::Failure;
use crate::inside;
use crate::transfer::TransferError;

/// The time limit of the whole build is what counts; this one only must not be longer.
const WITHIN: Duration = Duration::from_secs(24 * 3600);
/// Modes of an app's files, as the contract has it: zips and matched resources do not tell what is
/// executable.
const APP_FILE_MODE: u32 = 0o744;
/// Modes of a buildpack's files.
const BUILDPACK_FILE_MODE: u32 = 0o755;

/// What can go wrong between a zip archive and the files in the container.
#[derive(Debug)]
enum UnzipError {
    Archive(ArchiveError),
    Container(WardenError),
    Pipe(std::io::Error),
}

impl Build<'_> {
    /// Brings the app and what earlier builds kept.
    pub(super) async fn bring_app(&mut self) -> Result<(), Failure> {
        let folders = self.write_files(&["cache", "home", "buildpacks"], &[], "/tmp");
        let transfer = &self.shop.transfer;
        let most = self.shop.config.max_package.bytes();
        let package = transfer.download(&self.order.download_uri, most);
        let (made, package, cache) = tokio::join!(folders, package, self.download_cache());
        made?;
        let what = "the app package";
        let (package, bytes) = package
            .and_then(|found| found.ok_or(TransferError::Status(reqwest::StatusCode::NOT_FOUND)))
            .map_err(|source| Failure::Download {
                what: what.to_owned(),
                source,
            })?;
        self.output
            .say(&format!("-----> Downloaded app package ({})", size(bytes)));
        let unzipped = self.unzip(package, inside::APP, APP_FILE_MODE).await;
        unzipped.map_err(|error| self.explain(error, Failure::Package))?;
        if let Some((cache, bytes)) = cache {
            self.output
                .say(&format!("-----> Downloaded build cache ({})", size(bytes)));
            self.bring_cache(cache).await?;
        }
        Ok(())
    }

    /// A cache makes a build quick; a build without one is only slower.
    async fn download_cache(&self) -> Option<(File, u64)> {
        let url = self.order.buildpack_cache_download_uri.as_ref()?;
        let most = self.shop.config.max_droplet.bytes();
        match self.shop.transfer.download(url, most).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(app.guid = %self.order.app_id, "building without a cache: {error}");
                None
            }
        }
    }

    async fn bring_cache(&mut self, cache: File) -> Result<(), Failure> {
        let mut unpack = Unpack::into_dir(inside::CACHE);
        (unpack.bytes_max, unpack.entries_max) = (self.limits.bytes, self.limits.entries);
        if let Err(error) = self.container.unpack(cache, unpack, WITHIN).await {
            tracing::warn!(app.guid = %self.order.app_id, "building without a cache: {error}");
            let clear = ["/usr/bin/find", inside::CACHE, "-mindepth", "1", "-delete"];
            self.job(&clear, Printed::Logged).await?;
        }
        Ok(())
    }

    /// Makes a buildpack ready in the container.
    pub(super) async fn fetch(
        &mut self,
        pack: &Buildpack,
        number: usize,
    ) -> Result<Ready, Failure> {
        let key = pack.key.clone();
        let path = match &pack.source {
            Source::Carried => format!("{}/{key}", inside::CARRIED),
            Source::Zip(_) | Source::Git { .. } => format!("{}/{number}", inside::FETCHED),
        };
        match &pack.source {
            Source::Carried => {}
            Source::Zip(url) => self.fetch_zip(&key, url, &path).await?,
            Source::Git { url, revision } => {
                self.clone(&key, url, revision.as_deref(), &path).await?
            }
        }
        Ok(Ready {
            key,
            path,
            detected: None,
        })
    }

    async fn fetch_zip(&mut self, key: &str, url: &str, path: &str) -> Result<(), Failure> {
        let most = self.shop.config.max_package.bytes();
        let found = self.shop.transfer.download(url, most).await;
        let (archive, bytes) = found
            .and_then(|found| found.ok_or(TransferError::Status(reqwest::StatusCode::NOT_FOUND)))
            .map_err(|source| Failure::Download {
                what: format!("the buildpack {key}"),
                source,
            })?;
        self.output.say(&format!(
            "-----> Downloaded buildpack {key} ({})",
            size(bytes)
        ));
        let refused = |source| Failure::BuildpackArchive {
            key: key.to_owned(),
            source,
        };
        let unzipped = self.unzip(archive, path, BUILDPACK_FILE_MODE).await;
        unzipped.map_err(|error| self.explain(error, refused))
    }

    /// Clones a buildpack inside the container, where its address can do no harm.
    async fn clone(
        &mut self,
        key: &str,
        url: &str,
        revision: Option<&str>,
        path: &str,
    ) -> Result<(), Failure> {
        self.output.say(&format!("-----> Cloning buildpack {key}"));
        let mut shallow = vec!["git", "clone", "--quiet", "--recursive", "--depth", "1"];
        if let Some(revision) = revision {
            shallow.extend(["--branch", revision]);
        }
        shallow.extend(["--", url, path]);
        // Without a terminal, git would otherwise wait for a name and a password.
        let git = |argv: &[&str]| -> Vec<String> {
            let quiet = ["/usr/bin/env", "GIT_TERMINAL_PROMPT=0"];
            quiet
                .iter()
                .chain(argv)
                .map(|word| (*word).to_owned())
                .collect()
        };
        let mut exit = self.tool(&git(&shallow)).await?;
        if !exit.success() {
            // `--branch` takes no commit, and some servers send no part of a history.
            self.output
                .say("       trying again with the whole history");
            let all = ["git", "clone", "--quiet", "--recursive", "--", url, path];
            exit = self.tool(&git(&all)).await?;
            if exit.success()
                && let Some(revision) = revision
            {
                let checkout = [
                    "git",
                    "-C",
                    path,
                    "checkout",
                    "--quiet",
                    "--recurse-submodules",
                    revision,
                ];
                exit = self.tool(&git(&checkout)).await?;
            }
        }
        if !exit.success() {
            return Err(Failure::Clone {
                key: key.to_owned(),
                exit,
            });
        }
        let script = format!("{path}/bin/compile");
        match self
            .tool(&["/usr/bin/test".to_owned(), "-x".to_owned(), script])
            .await?
            .success()
        {
            true => Ok(()),
            false => Err(Failure::NotABuildpack {
                key: key.to_owned(),
            }),
        }
    }

    async fn tool(&mut self, argv: &[String]) -> Result<cupola_warden::Exit, Failure> {
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        Ok(self.job(&argv, Printed::Logged).await?.0)
    }

    /// Unzips `archive` into the folder `target` of the container.
    ///
    /// One side reads the zip and writes a tar stream, the container's side reads that and makes
    /// the files.
    async fn unzip(&self, archive: File, target: &str, file_mode: u32) -> Result<(), UnzipError> {
        let shape = Shape {
            file_mode,
            modified_seconds: self.now_seconds,
        };
        let limits = self.limits;
        let (from, to) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)
            .map_err(|errno| UnzipError::Pipe(errno.into()))?;
        let mut unpack = Unpack::into_dir(target);
        (unpack.bytes_max, unpack.entries_max) = (limits.bytes, limits.entries.saturating_add(1));
        let convert = tokio::task::spawn_blocking(move || {
            archive::zip_to_tar(archive, File::from(to), shape, limits)
        });
        let (unpacked, converted) = tokio::join!(
            self.container.unpack(File::from(from), unpack, WITHIN),
            convert
        );
        let converted =
            converted.map_err(|error| UnzipError::Pipe(std::io::Error::other(error)))?;
        match (converted, unpacked) {
            (Ok(()), Ok(_)) => Ok(()),
            // When the reader went away, it knows why.
            (Err(error), Err(why)) if error.is_broken_pipe() => Err(UnzipError::Container(why)),
            (Err(error), _) => Err(UnzipError::Archive(error)),
            (Ok(()), Err(why)) => Err(UnzipError::Container(why)),
        }
    }

    /// Makes folders and small files in the folder `target` of the container.
    pub(super) async fn write_files(
        &self,
        folders: &[&str],
        files: &[(&str, &[u8])],
        target: &str,
    ) -> Result<(), Failure> {
        let mut archive = self.shop.transfer.scratch()?;
        archive::tar_of(folders, files, &archive, self.now_seconds)?;
        archive.seek(SeekFrom::Start(0))?;
        self.container
            .unpack(archive, Unpack::into_dir(target), WITHIN)
            .await?;
        Ok(())
    }

    fn explain(&self, error: UnzipError, refused: impl FnOnce(ArchiveError) -> Failure) -> Failure {
        match error {
            UnzipError::Archive(ArchiveError::TooLarge { .. }) => Failure::OutOfDisk {
                limit_mb: self.disk.0,
            },
            UnzipError::Archive(error) => refused(error),
            UnzipError::Container(error) => error.into(),
            UnzipError::Pipe(error) => error.into(),
        }
    }
}

/// A size for people.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "K", "M", "G"];
    let mut whole = bytes;
    let mut rest = 0;
    let mut unit = 0;
    while whole >= 1024 && unit + 1 < UNITS.len() {
        rest = (whole % 1024) * 10 / 1024;
        whole /= 1024;
        unit += 1;
    }
    match (unit, whole) {
        (0, _) | (_, 10..) => format!("{whole}{}", UNITS[unit]),
        _ => format!("{whole}.{rest}{}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_two_digits_or_more() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.0K"),
            (1536, "1.5K"),
            (10 * 1024, "10K"),
            (5 * 1024 * 1024 + 700_000, "5.6M"),
            (3 << 30, "3.0G"),
            (5000 << 30, "5000G"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
