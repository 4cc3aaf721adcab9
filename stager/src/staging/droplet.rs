//! What comes out of the container: the droplet, and the cache for later builds.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::time::Duration;

use cupola_warden::aio::Container;
use cupola_warden::{Pack, WardenError};
use sha1::{Digest as _, Sha1};

use super::Workshop;
use super::build::{Build, Ready};
use super::fetch::size;
use crate::failure::Failure;
use crate::inside;
use crate::start_command::{self, Commands};
use crate::transfer::TransferError;

/// The time limit of the whole build is what counts; this one only must not be longer.
const WITHIN: Duration = Duration::from_secs(24 * 3600);

/// What a build came to.
#[derive(Debug)]
pub(super) struct Droplet {
    pub(super) buildpack_key: String,
    pub(super) detected: Option<String>,
    pub(super) sha1: String,
    /// What the app itself or its buildpack says; the user's own wish is not detected.
    pub(super) detected_command: Option<String>,
}

/// The build cache was not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum CacheError {
    #[error(transparent)]
    Container(#[from] WardenError),
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error(transparent)]
    File(#[from] io::Error),
    #[error("it has {bytes} bytes")]
    TooLarge { bytes: u64 },
}

impl Build<'_> {
    /// Packs what was built and uploads it.
    pub(super) async fn make_droplet(
        self,
        pack: Ready,
        commands: &Commands,
    ) -> Result<Droplet, Failure> {
        let detected_command = start_command::web(commands).map(str::to_owned);
        let wished = self.order.properties.meta.command.as_deref();
        let command = detected_command
            .as_deref()
            .or(wished)
            .ok_or(Failure::NoStartCommand)?;
        let info = staging_info(&pack, command, commands);
        self.output.say("-----> Uploading droplet");
        let files = [
            ("staging_info.yml", info.as_bytes()),
            ("logs/staging_task.log", self.output.transcript()),
        ];
        self.write_files(&["logs", "tmp"], &files, inside::DROPLET)
            .await?;

        let droplet = self.shop.transfer.scratch()?;
        let mut packed = Pack::from_dir(inside::DROPLET);
        (packed.bytes_max, packed.entries_max) =
            (self.limits.bytes, self.limits.entries.saturating_mul(2));
        self.container
            .pack(packed, droplet.try_clone()?, WITHIN)
            .await?;
        let (droplet, bytes, sha1) = digest(droplet).await?;
        let limit = self.shop.config.max_droplet.bytes();
        if bytes > limit {
            return Err(Failure::Upload(TransferError::TooLarge { limit }));
        }
        self.shop
            .transfer
            .upload(&self.order.upload_uri, &droplet)
            .await
            .map_err(Failure::Upload)?;
        self.output
            .say(&format!("-----> Uploaded droplet ({})", size(bytes)));
        Ok(Droplet {
            buildpack_key: pack.key,
            detected: pack.detected,
            sha1,
            detected_command,
        })
    }
}

impl Workshop {
    /// Uploads what the build left for later ones, if it left anything.
    pub(super) async fn keep_cache(
        &self,
        container: &Container,
        url: &str,
    ) -> Result<(), CacheError> {
        let cache = self.transfer.scratch()?;
        let report = container
            .pack(Pack::from_dir(inside::CACHE), cache.try_clone()?, WITHIN)
            .await?;
        if report.bytes == 0 {
            return Ok(());
        }
        let bytes = cache.metadata()?.len();
        if bytes > self.config.max_droplet.bytes() {
            return Err(CacheError::TooLarge { bytes });
        }
        Ok(self.transfer.upload(url, &cache).await?)
    }
}

/// Length and SHA-1 of a file, which is at its beginning afterwards.
async fn digest(mut file: File) -> Result<(File, u64, String), Failure> {
    let read = move || -> io::Result<(File, u64, String)> {
        file.seek(SeekFrom::Start(0))?;
        let mut hash = Sha1::new();
        let mut bytes = 0;
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let n = file.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            hash.update(&buffer[..n]);
            bytes += n as u64;
        }
        file.seek(SeekFrom::Start(0))?;
        Ok((file, bytes, hex::encode(hash.finalize())))
    };
    let joined = tokio::task::spawn_blocking(read).await;
    Ok(joined.map_err(io::Error::other)??)
}

/// `staging_info.yml`. Scalars are written as JSON strings, which are YAML too and need no thought
/// about quotes.
fn staging_info(pack: &Ready, command: &str, commands: &Commands) -> String {
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    let mut yaml = String::from("---\n");
    let detected = pack.detected.as_deref().map_or("null".to_owned(), quote);
    // Writing into a String cannot fail.
    let _ = writeln!(yaml, "buildpack_path: {}", quote(&pack.key));
    let _ = writeln!(yaml, "detected_buildpack: {detected}");
    let _ = writeln!(yaml, "start_command: {}", quote(command));
    let _ = writeln!(
        yaml,
        "effective_procfile:{}",
        if commands.is_empty() { " {}" } else { "" }
    );
    for (name, command) in commands {
        let _ = writeln!(yaml, "  {}: {}", quote(name), quote(command));
    }
    yaml
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn staging_info_reads_back_as_it_was_meant() {
        let pack = Ready {
            key: "python".into(),
            path: "/x".into(),
            detected: Some("Py: \"thon\"".into()),
        };
        let command = "sh -c 'echo \"a: b\" # c' \\ \u{1f525}\t";
        let commands =
            Commands::from([("web".into(), command.into()), ("on".into(), "yes".into())]);
        let yaml = staging_info(&pack, command, &commands);
        let read: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(read["start_command"], command);
        assert_eq!(read["detected_buildpack"], "Py: \"thon\"");
        assert_eq!(read["effective_procfile"]["web"], command);
        assert_eq!(read["effective_procfile"]["on"], "yes");
        let bare = Ready {
            detected: None,
            ..pack
        };
        let read: serde_json::Value =
            serde_saphyr::from_str(&staging_info(&bare, "x", &Commands::new())).unwrap();
        assert!(read["detected_buildpack"].is_null());
        assert_eq!(read["effective_procfile"], serde_json::json!({}));
    }
}
