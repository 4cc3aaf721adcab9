//! Running one program of a build.

use cupola_warden::{Event, Exit, ProcessSpec, Stream};

use super::build::Build;
use crate::failure::Failure;
use crate::inside;

/// What happens to what a program prints.
#[derive(Debug, Clone, Copy)]
pub(super) enum Printed {
    /// All of it goes to the log.
    Logged,
    /// Standard output is taken, up to so many bytes; the rest goes to the log.
    Taken(usize),
    /// Standard output is taken, up to so many bytes; the rest is dropped.
    TakenQuietly(usize),
}

impl Build<'_> {
    /// Runs a program in the app's folder until it exits; returns what was taken of its output.
    pub(super) async fn job(
        &mut self,
        argv: &[&str],
        printed: Printed,
    ) -> Result<(Exit, String), Failure> {
        let mut spec = ProcessSpec::new(argv.iter().copied());
        spec.cwd = inside::APP.into();
        let process = self.container.run(spec).await?;
        let mut events = process.attach(0).await?;
        let mut taken = Vec::new();
        let mut over_disk = false;
        let mut over_memory = false;
        let mut ended = None;
        while let Some(event) = events.next().await? {
            match event {
                Event::Output { stream, bytes, .. } => match (printed, stream) {
                    (Printed::Taken(most) | Printed::TakenQuietly(most), Stream::Out) => {
                        let room = most.saturating_sub(taken.len());
                        taken.extend_from_slice(&bytes[..bytes.len().min(room)]);
                    }
                    (Printed::TakenQuietly(_), Stream::Err) => {}
                    _ => self.output.push(stream, &bytes),
                },
                Event::Gap { from, to } => {
                    self.output
                        .complain(&format!("({} bytes of output were lost)", to - from));
                }
                Event::Oom => over_memory = true,
                Event::OverDisk { .. } => over_disk = true,
                Event::Exited(exit) => ended = Some(exit),
            }
        }
        self.output.finish();
        if over_disk {
            return Err(Failure::OutOfDisk {
                limit_mb: self.disk.0,
            });
        }
        match ended {
            Some(exit) if exit.oom || over_memory => Err(Failure::OutOfMemory {
                limit_mb: self.memory.0,
            }),
            Some(exit) => Ok((exit, String::from_utf8_lossy(&taken).into_owned())),
            None => Err(Failure::Vanished {
                program: argv.first().copied().unwrap_or_default().to_owned(),
            }),
        }
    }
}
