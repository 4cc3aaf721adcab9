//! The steps of a build (bus contract §3.5–3.7).
//!
//! Everything that the app's author has a hand in happens inside the container, as its user. This
//! side moves bytes that it never interprets, and reads three small texts with a bound: what detect
//! and release print, and the `Procfile`.

use std::time::{SystemTime, UNIX_EPOCH};

use cupola_messages::staging::StartStaging;
use cupola_types::{DiskMb, MemoryMb};
use cupola_warden::WardenError;
use cupola_warden::aio::Container;

use super::Workshop;
use super::droplet::Droplet;
use super::job::Printed;
use crate::archive;
use crate::buildpack::{Buildpack, Choice};
use crate::failure::Failure;
use crate::inside;
use crate::output::Output;
use crate::start_command::{self, Commands};

/// Most of what detect prints that is looked at, in bytes.
const MAX_DETECT_BYTES: usize = 1024;
/// Longest name that detect can give an app, in characters.
const MAX_DETECTED: usize = 120;

/// A build under way.
#[derive(Debug)]
pub(super) struct Build<'a> {
    pub(super) shop: &'a Workshop,
    pub(super) order: &'a StartStaging,
    pub(super) container: &'a Container,
    pub(super) output: &'a mut Output,
    pub(super) limits: archive::Limits,
    pub(super) memory: MemoryMb,
    pub(super) disk: DiskMb,
    /// The time of this staging, in seconds since 1970: that of every file it makes.
    pub(super) now_seconds: u64,
}

/// A buildpack that lies in the container.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) key: String,
    pub(super) path: String,
    /// What its detect said, if it was asked.
    pub(super) detected: Option<String>,
}

impl<'a> Build<'a> {
    pub(super) fn new(
        shop: &'a Workshop,
        order: &'a StartStaging,
        container: &'a Container,
        output: &'a mut Output,
    ) -> Self {
        let (memory, disk) = shop.room_for(order);
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let limits = archive::Limits {
            bytes: disk.bytes(),
            entries: shop.config.max_entries,
        };
        let now_seconds = since_1970.as_secs();
        Self {
            shop,
            order,
            container,
            output,
            limits,
            memory,
            disk,
            now_seconds,
        }
    }

    pub(super) async fn run(mut self) -> Result<Droplet, Failure> {
        let choice = Choice::of(self.order, &self.shop.carried)?;
        self.bring_app().await?;
        let pack = match choice {
            Choice::Given(pack) => self.fetch(&pack, 0).await?,
            Choice::Detect(packs) => self.detect(&packs).await?,
        };
        self.compile(&pack).await?;
        let commands = self.commands(&pack).await?;
        self.make_droplet(pack, &commands).await
    }

    /// The first of `packs` that wants the app.
    async fn detect(&mut self, packs: &[Buildpack]) -> Result<Ready, Failure> {
        for (number, pack) in packs.iter().enumerate() {
            let mut ready = self.fetch(pack, number).await?;
            let script = format!("{}/bin/detect", ready.path);
            let taken = Printed::TakenQuietly(MAX_DETECT_BYTES);
            match self.job(&[&script, inside::APP], taken).await {
                Ok((exit, said)) if exit.success() => {
                    let name: String = said
                        .trim()
                        .lines()
                        .next()
                        .unwrap_or_default()
                        .chars()
                        .take(MAX_DETECTED)
                        .collect();
                    let name = if name.is_empty() {
                        ready.key.clone()
                    } else {
                        name
                    };
                    self.output.say(&format!("-----> {name} app detected"));
                    ready.detected = Some(name);
                    return Ok(ready);
                }
                // A missing script counts as "no".
                Ok(_) | Err(Failure::Container(WardenError::Refused { .. })) => {}
                Err(failure) => return Err(failure),
            }
        }
        let tried: Vec<&str> = packs.iter().map(|pack| pack.key.as_str()).collect();
        Err(Failure::NoAppDetected {
            tried: tried.join(", "),
        })
    }

    async fn compile(&mut self, pack: &Ready) -> Result<(), Failure> {
        let script = format!("{}/bin/compile", pack.path);
        let why = match self
            .job(&[&script, inside::APP, inside::CACHE], Printed::Logged)
            .await
        {
            Ok((exit, _)) if exit.success() => return Ok(()),
            Ok((exit, _)) => exit.to_string(),
            Err(Failure::Container(WardenError::Refused { message, .. })) => message,
            Err(failure) => return Err(failure),
        };
        Err(Failure::Compile {
            key: pack.key.clone(),
            why,
        })
    }

    /// All process types: what the buildpack offers, and over it what the `Procfile` says. The file
    /// is read after the build, which may have made it.
    async fn commands(&mut self, pack: &Ready) -> Result<Commands, Failure> {
        let script = format!("{}/bin/release", pack.path);
        let taken = Printed::Taken(start_command::MAX_BYTES);
        let mut commands = match self.job(&[&script, inside::APP], taken).await {
            Ok((exit, said)) if exit.success() => start_command::release(&said)?,
            Ok((exit, _)) => {
                return Err(Failure::ReleaseFailed {
                    key: pack.key.clone(),
                    why: exit.to_string(),
                });
            }
            Err(Failure::Container(WardenError::Refused { message, .. })) => {
                return Err(Failure::ReleaseFailed {
                    key: pack.key.clone(),
                    why: message,
                });
            }
            Err(failure) => return Err(failure),
        };
        let read = "if [ -f Procfile ]; then exec cat Procfile; fi";
        let (_, procfile) = self.job(&["/bin/sh", "-c", read], taken).await?;
        if !procfile.trim().is_empty() {
            commands.extend(start_command::procfile(&procfile)?);
        }
        Ok(commands)
    }
}
