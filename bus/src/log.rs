//! Log lines in nats-server's form: `[pid] 2026/11/20 15:04:05.123456 [INF] text`.
//!
//! Where they go and what is in them can be changed while the program runs.

mod sink;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use cupola_bus::options;
use parking_lot::Mutex;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use sink::Sink;

/// The log of this program.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    level: reload::Handle<LevelFilter, Registry>,
    output: Output,
    style: Arc<Style>,
}

#[derive(Clone, Debug)]
struct Output(Arc<Mutex<Sink>>);

/// What a line begins with.
#[derive(Debug, Default)]
struct Style {
    /// No beginning at all: the system's log has its own.
    bare: AtomicBool,
    time: AtomicBool,
    utc: AtomicBool,
}

/// One line on its way out.
struct Line<'a> {
    output: &'a Output,
    level: Level,
}

/// The form of a line.
struct Lines {
    style: Arc<Style>,
}

// === impl Log ===

impl Log {
    /// Starts logging as the options say.
    pub(crate) fn start(options: &options::Log) -> anyhow::Result<Self> {
        let style = Arc::new(Style::default());
        style.set(options);
        let output = Output(Arc::new(Mutex::new(sink(options)?)));
        let (level, handle) = reload::Layer::new(level(options));
        let lines = Lines {
            style: Arc::clone(&style),
        };
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .event_format(lines)
            .with_writer(output.clone());
        tracing_subscriber::registry()
            .with(level)
            .with(lines)
            .try_init()
            .context("cannot start the log")?;
        Ok(Log {
            level: handle,
            output,
            style,
        })
    }

    /// Goes on as other options say; when those lead nowhere, nothing changes.
    pub(crate) fn apply(&self, old: &options::Log, new: &options::Log) -> anyhow::Result<()> {
        if destination(old) != destination(new) {
            *self.output.0.lock() = sink(new)?;
        }
        self.style.set(new);
        self.level
            .reload(level(new))
            .context("cannot change the level of the log")
    }

    /// The last line of a program that cannot go on: a level that only programs know.
    pub(crate) fn fatal(&self, text: &str) {
        let mut line = self.style.beginning();
        if !line.is_empty() {
            line.push_str("[FTL] ");
        }
        line.push_str(text);
        line.push('\n');
        // If nobody can hear it, the exit code has to do.
        let _ = self.output.0.lock().write(Level::ERROR, line.as_bytes());
    }

    /// Opens the log file again, for those who have moved it away.
    pub(crate) fn reopen(&self) {
        let reopened = self.output.0.lock().reopen();
        match reopened {
            None => tracing::info!("File log re-open ignored, not a file logger"),
            Some(Ok(())) => tracing::info!("File log re-opened"),
            Some(Err(error)) => tracing::error!("Unable to re-open the log file: {error}"),
        }
    }
}

fn level(options: &options::Log) -> LevelFilter {
    match (options.trace, options.debug) {
        (true, _) => LevelFilter::TRACE,
        (false, true) => LevelFilter::DEBUG,
        (false, false) => LevelFilter::INFO,
    }
}

/// What, when it changes, needs another sink.
fn destination(log: &options::Log) -> impl PartialEq + '_ {
    (
        &log.file,
        log.size_limit,
        log.max_files,
        log.syslog,
        &log.remote_syslog,
    )
}

fn sink(options: &options::Log) -> anyhow::Result<Sink> {
    if let Some(address) = &options.remote_syslog {
        return Sink::remote(address).with_context(|| format!("cannot log to {address}"));
    }
    if options.syslog {
        return Sink::system().context("cannot log to the system's log");
    }
    match &options.file {
        None => Ok(Sink::Stderr),
        Some(path) => Sink::file(path, options.size_limit, options.max_files)
            .with_context(|| format!("cannot open the log {}", path.display())),
    }
}

// === impl Style ===

impl Style {
    fn set(&self, options: &options::Log) {
        let bare = options.syslog || options.remote_syslog.is_some();
        self.bare.store(bare, Ordering::Relaxed);
        self.time.store(options.time, Ordering::Relaxed);
        self.utc.store(options.utc, Ordering::Relaxed);
    }

    /// `[pid] time `, as far as it is wanted.
    fn beginning(&self) -> String {
        if self.bare.load(Ordering::Relaxed) {
            return String::new();
        }
        let pid = std::process::id();
        if !self.time.load(Ordering::Relaxed) {
            return format!("[{pid}] ");
        }
        let form = "%Y/%m/%d %H:%M:%S%.6f";
        if self.utc.load(Ordering::Relaxed) {
            format!("[{pid}] {} ", chrono::Utc::now().format(form))
        } else {
            format!("[{pid}] {} ", chrono::Local::now().format(form))
        }
    }
}

// === impl Output ===

impl<'a> MakeWriter<'a> for Output {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            output: self,
            level: Level::INFO,
        }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line<'a> {
        Line {
            output: self,
            level: *meta.level(),
        }
    }
}

impl io::Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A full disk or a closed pipe is no reason to stop serving, and there is nobody to tell.
        let _ = self.output.0.lock().write(self.level, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// === impl Lines ===

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut to: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let beginning = self.style.beginning();
        if !beginning.is_empty() {
            let level = match *event.metadata().level() {
                Level::ERROR => "ERR",
                Level::WARN => "WRN",
                Level::INFO => "INF",
                Level::DEBUG => "DBG",
                Level::TRACE => "TRC",
            };
            write!(to, "{beginning}[{level}] ")?;
        }
        context.field_format().format_fields(to.by_ref(), event)?;
        writeln!(to)
    }
}
