//! Carries what an app says from its container to its log stream.
//!
//! The container's supervisor numbers every byte of output. How far the log has been carried is
//! noted in a small file of the instance, so that a dea that was killed goes on where it stopped:
//! nothing is lost, and at most the last moment is said twice. While the bus is away, a bounded
//! number of lines waits for it.

mod held;
mod lines;
mod rate;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cupola_component::{AppLog, Backoff};
use cupola_messages::logs::LogStream;
use cupola_types::{AppGuid, InstanceGuid, InstanceIndex};
use cupola_warden::aio::{Events, Process};
use cupola_warden::{Event, Exit, Stream, WardenError};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{debug, warn};

use held::{Held, HeldLine};
use lines::LineSplitter;
use rate::{Dropped, RateLimit};

/// How often the note of how far we are is written. A line is noted only at the second tick
/// after it was read, since it may wait for the bus for a moment.
const NOTE_EVERY: Duration = Duration::from_millis(100);
/// How often an instance is told of its dropped lines.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);
/// How often a broken connection to a living supervisor is made again before giving up.
const REATTACH_ATTEMPTS: u32 = 5;

/// Bounds on what one instance may say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputLimits {
    pub(crate) lines_per_second: u32,
    pub(crate) bytes_per_second: u32,
}

/// How a process went, as told by its last events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Departure {
    /// `None` when its supervisor went with it and nobody saw.
    pub(crate) exit: Option<Exit>,
    pub(crate) out_of_memory: bool,
    pub(crate) out_of_disk: bool,
}

/// Notes of how far each instance's output has been carried: one small file each.
#[derive(Debug, Clone)]
pub(crate) struct Positions {
    dir: PathBuf,
}

/// One instance's note.
#[derive(Debug)]
struct Position {
    file: Option<File>,
    written: u64,
    /// What will be written at the next tick.
    due: u64,
}

/// Carries one process's output.
#[derive(Debug)]
pub(crate) struct Carrier {
    pub(crate) app: AppGuid,
    pub(crate) index: InstanceIndex,
    /// Speaks as the app.
    pub(crate) app_log: AppLog,
    /// Speaks for what was lost.
    pub(crate) loss_log: AppLog,
    /// Whether the bus is there, and with it those who keep the lines.
    pub(crate) settled: watch::Receiver<bool>,
    pub(crate) limits: OutputLimits,
}

// === impl Positions ===

impl Positions {
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    /// Where to go on with an instance's output.
    pub(crate) fn get(&self, guid: &InstanceGuid) -> u64 {
        let note = std::fs::read(self.path(guid)).ok();
        note.and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)))
            .unwrap_or(0)
    }

    pub(crate) fn forget(&self, guid: &InstanceGuid) {
        let _ = std::fs::remove_file(self.path(guid));
    }

    /// Removes the notes of all instances but `known`.
    pub(crate) fn keep_only(&self, known: impl Fn(&str) -> bool) {
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if !entry.file_name().to_str().is_some_and(&known) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    fn path(&self, guid: &InstanceGuid) -> PathBuf {
        self.dir.join(guid.as_str())
    }
}

impl Position {
    fn open(path: &Path, from: u64) -> Self {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path);
        let file = file.inspect_err(|error| warn!(path = %path.display(), %error, "no log note"));
        Self {
            file: file.ok(),
            written: from,
            due: from,
        }
    }

    /// Writes what was due, and makes `now` due. A file of eight bytes is written in one piece.
    fn tick(&mut self, now: u64) {
        if self.due != self.written
            && let Some(file) = &self.file
            && file.write_all_at(&self.due.to_le_bytes(), 0).is_ok()
        {
            self.written = self.due;
        }
        self.due = now;
    }
}

// === impl Carrier ===

impl Carrier {
    /// Carries the output of `process` from position `from` on, until it is gone.
    pub(crate) async fn carry(
        self,
        process: Process,
        positions: &Positions,
        guid: &InstanceGuid,
        from: u64,
    ) -> Departure {
        let note = Position::open(&positions.path(guid), from);
        let mut carrying = Carrying::new(self, note, from);
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
        let mut failures = 0;
        loop {
            let before = carrying.next_seq;
            let error = match process.attach(before).await {
                Ok(mut events) => match Box::pin(carrying.follow(&mut events)).await {
                    Ok(departure) => return departure,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            let over = matches!(error, WardenError::Lost { .. } | WardenError::Unknown(_));
            if carrying.next_seq > before {
                failures = 0;
                backoff.reset();
            }
            failures += 1;
            if over || failures > REATTACH_ATTEMPTS {
                warn!(instance.guid = %guid, %error, "an instance's supervisor is gone");
                carrying.finish();
                return carrying.departure;
            }
            debug!(instance.guid = %guid, %error, "attaching again");
            sleep(backoff.next_pause()).await;
        }
    }
}

/// The state of carrying one process's output.
struct Carrying {
    carrier: Carrier,
    instance: String,
    note: Position,
    next_seq: u64,
    out: LineSplitter,
    err: LineSplitter,
    rate: RateLimit,
    held: Held,
    dropped: Dropped,
    complained: Instant,
    departure: Departure,
}

// === impl Carrying ===

impl Carrying {
    fn new(carrier: Carrier, note: Position, from: u64) -> Self {
        let now = Instant::now();
        let limits = carrier.limits;
        Self {
            instance: carrier.index.to_string(),
            carrier,
            note,
            next_seq: from,
            out: LineSplitter::default(),
            err: LineSplitter::default(),
            rate: RateLimit::new(limits.lines_per_second, limits.bytes_per_second, now),
            held: Held::default(),
            dropped: Dropped::default(),
            complained: now,
            departure: Departure::default(),
        }
    }

    async fn follow(&mut self, events: &mut Events) -> Result<Departure, WardenError> {
        let mut tick = interval(NOTE_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                event = events.next() => event?,
                _ = tick.tick() => {
                    self.tick();
                    continue;
                }
            };
            match event {
                Some(Event::Output { seq, stream, bytes }) => self.output(seq, stream, &bytes),
                Some(Event::Gap { from, to }) => self.gap(from, to),
                Some(Event::Oom) => self.departure.out_of_memory = true,
                Some(Event::OverDisk { .. }) => self.departure.out_of_disk = true,
                Some(Event::Exited(exit)) => {
                    self.departure.out_of_memory |= exit.oom;
                    self.departure.exit = Some(exit);
                }
                None => {
                    self.finish();
                    return Ok(self.departure.clone());
                }
            }
            if self.departure.exit.is_some() {
                self.finish();
                return Ok(self.departure.clone());
            }
        }
    }

    fn output(&mut self, seq: u64, stream: Stream, bytes: &[u8]) {
        self.next_seq = seq + bytes.len() as u64;
        let stream = match stream {
            Stream::Out => LogStream::Out,
            Stream::Err => LogStream::Err,
        };
        let mut lines = Vec::new();
        self.splitter(stream)
            .push(seq, bytes, |line| lines.push(line.to_owned()));
        for line in lines {
            self.line(stream, line);
        }
    }

    fn splitter(&mut self, stream: LogStream) -> &mut LineSplitter {
        match stream {
            LogStream::Out => &mut self.out,
            LogStream::Err => &mut self.err,
        }
    }

    /// Says a line, or holds it while the bus is away, or drops what is too much.
    fn line(&mut self, stream: LogStream, text: String) {
        let bytes = text.len();
        let told = self.rate.admits(bytes, Instant::now()) && {
            let line = HeldLine {
                stream,
                text,
                read_at_ns: now_ns(),
            };
            if self.held.is_empty() && *self.carrier.settled.borrow() {
                self.say(&line);
                true
            } else {
                self.held.keep(line)
            }
        };
        if !told {
            self.dropped.lines += 1;
            self.dropped.bytes += bytes as u64;
        }
    }

    fn say(&self, line: &HeldLine) {
        let HeldLine {
            stream,
            text,
            read_at_ns,
        } = line;
        let app = &self.carrier.app;
        self.carrier
            .app_log
            .line_at(app, *stream, &self.instance, text, *read_at_ns);
    }

    fn say_held(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        for line in held.release() {
            self.say(&line);
        }
    }

    fn gap(&mut self, from: u64, to: u64) {
        let lost = to.saturating_sub(from);
        self.say_lost(&format!(
            "{lost} bytes of output were lost: they came too fast"
        ));
        self.next_seq = to;
    }

    fn tick(&mut self) {
        if !self.held.is_empty() {
            if !*self.carrier.settled.borrow() {
                return; // what is held has not been carried
            }
            self.say_held();
        }
        let waiting = [self.out.waiting_since(), self.err.waiting_since()];
        let carried = waiting.into_iter().flatten().min().unwrap_or(self.next_seq);
        self.note.tick(carried);
        if self.dropped.lines > 0 && self.complained.elapsed() >= COMPLAIN_EVERY {
            self.complain();
        }
    }

    fn complain(&mut self) {
        let Dropped { lines, bytes } = std::mem::take(&mut self.dropped);
        self.complained = Instant::now();
        let limit = self.carrier.limits.lines_per_second;
        self.say_lost(&format!(
            "{lines} lines ({bytes} bytes) were dropped: the instance may log {limit} lines a second"
        ));
    }

    fn say_lost(&self, text: &str) {
        self.carrier
            .loss_log
            .line(&self.carrier.app, LogStream::Err, &self.instance, text);
    }

    fn finish(&mut self) {
        for stream in [LogStream::Out, LogStream::Err] {
            let mut rest = None;
            self.splitter(stream)
                .finish(|line| rest = Some(line.to_owned()));
            if let Some(rest) = rest {
                self.line(stream, rest);
            }
        }
        self.say_held();
        if self.dropped.lines > 0 {
            self.complain();
        }
    }
}

fn now_ns() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_position_is_noted_one_tick_late_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let positions = Positions::open(dir.path().join("positions")).unwrap();
        let guid = InstanceGuid::generate();
        assert_eq!(positions.get(&guid), 0);
        let mut note = Position::open(&positions.path(&guid), 0);
        note.tick(10);
        assert_eq!(positions.get(&guid), 0);
        note.tick(25);
        assert_eq!(positions.get(&guid), 10);
        note.tick(25);
        assert_eq!(positions.get(&guid), 25);
        positions.keep_only(|name| name == guid.as_str());
        assert_eq!(positions.get(&guid), 25);
        positions.forget(&guid);
        assert_eq!(positions.get(&guid), 0);
    }
}
