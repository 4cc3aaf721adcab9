//! Log lines in nats-server's form: `[pid] 2026/11/20 15:04:05.123456 [INF] text`.

use std::fmt;
use std::fs::OpenOptions;
use std::sync::Mutex;

use anyhow::Context as _;
use cupola_bus::options::Options;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Starts logging to standard error or to the file of the options.
pub(crate) fn start(options: &Options) -> anyhow::Result<()> {
    let level = match (options.trace, options.debug) {
        (true, _) => LevelFilter::TRACE,
        (false, true) => LevelFilter::DEBUG,
        (false, false) => LevelFilter::INFO,
    };
    let lines = Lines {
        pid: std::process::id(),
        time: options.logtime,
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .event_format(lines);
    match &options.log_file {
        None => builder.with_writer(std::io::stderr).init(),
        Some(path) => {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("cannot open the log {}", path.display()))?;
            builder.with_writer(Mutex::new(file)).init();
        }
    }
    Ok(())
}

/// The form of a line.
struct Lines {
    pid: u32,
    time: bool,
}

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
        write!(to, "[{}] ", self.pid)?;
        if self.time {
            write!(
                to,
                "{} ",
                chrono::Local::now().format("%Y/%m/%d %H:%M:%S%.6f")
            )?;
        }
        let level = match *event.metadata().level() {
            Level::ERROR => "ERR",
            Level::WARN => "WRN",
            Level::INFO => "INF",
            Level::DEBUG => "DBG",
            Level::TRACE => "TRC",
        };
        write!(to, "[{level}] ")?;
        context.field_format().format_fields(to.by_ref(), event)?;
        writeln!(to)
    }
}
