//! `cupola-bus`: the broker as a program, with nats-server's command line and configuration file.
#![forbid(unsafe_code)]

mod flags;
mod log;
mod ports;
mod reload;
mod signals;

use std::io::Write as _;
use std::process::ExitCode;

use cupola_bus::options::Options;
use cupola_bus::{Broker, BuildError, Listeners, VERSION, build};
use tokio_util::sync::CancellationToken;

use flags::{Command, Flags};
use log::Log;
use ports::Files;
use reload::Reloader;
use signals::{Signals, Wish};

fn main() -> ExitCode {
    let command = match flags::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            say(&format!("{}: {error}\n", ports::program()));
            return ExitCode::FAILURE;
        }
    };
    let result = match command {
        Command::Help => print(&format!(
            "\nUsage: {} [options]\n{}",
            ports::program(),
            flags::HELP
        )),
        Command::HelpTls => print(flags::HELP_TLS),
        // The name is part of what others parse.
        Command::Version => print(&format!("nats-server: v{VERSION}\n")),
        Command::Signal(text) => signals::send(&text),
        Command::Run(flags) => match start(*flags) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{}: {error:#}\n", ports::program()));
            ExitCode::FAILURE
        }
    }
}

fn start(flags: Flags) -> anyhow::Result<ExitCode> {
    let options = reload::read(&flags)?;
    if let (true, Some(path)) = (flags.test, &flags.config) {
        cupola_bus::check(&options.config).map_err(|error| located(&options, error))?;
        if !options.doubtful.is_empty() {
            // A server would start with these, but whoever asks wants to know.
            anyhow::bail!("{}", options.doubtful.join("\n"));
        }
        say(&format!(
            "{}: configuration file {} is valid\n",
            ports::program(),
            path.display()
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let log = Log::start(&options.log)?;
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let last_words = log.clone();
    let result = runtime.block_on(serve(flags, options, log));
    Ok(result.unwrap_or_else(|error| {
        last_words.fatal(&format!("{error:#}"));
        ExitCode::FAILURE
    }))
}

/// An error of the configuration with the place in the file that led to it.
fn located(options: &Options, error: BuildError) -> anyhow::Error {
    let place = options.place_of(&error).map(ToString::to_string);
    let error = anyhow::Error::from(error);
    match place {
        Some(place) => anyhow::anyhow!("{place}: {error:#}"),
        None => error,
    }
}

async fn serve(flags: Flags, options: Options, log: Log) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new()?;
    let mut broker = build(options.config.clone(), Listeners::default())
        .await
        .map_err(|error| located(&options, error))?;
    introduce(&flags, &options, &broker);
    broker.open().await?;
    list_doors(&options, &broker)?;
    let files = Files::write(&options, &broker)?;
    tracing::info!("Server is ready");
    let handle = broker.handle();
    let shutdown = CancellationToken::new();
    let mut reloader = Reloader::new(flags, options, log, files, handle.clone());
    let running = broker.run(shutdown.clone());
    tokio::pin!(running);
    // One that waits stands for all that follow.
    let (reload, mut reload_asked) = tokio::sync::mpsc::channel(1);
    handle.on_reload_request(reload);
    loop {
        let wish = tokio::select! {
            result = &mut running => {
                result?;
                if !shutdown.is_cancelled() {
                    // Nobody is left to be sent away.
                    tracing::info!("Initiating Shutdown...");
                }
                tracing::info!("Server Exiting..");
                return Ok(ExitCode::SUCCESS);
            }
            wish = signals.next() => wish,
            Some(()) = reload_asked.recv() => Wish::Reload,
        };
        match wish {
            // Whoever said that it should leave in an orderly way shall have it.
            Wish::Terminate if handle.is_leaving() => {}
            Wish::End | Wish::Terminate => {
                if !shutdown.is_cancelled() {
                    tracing::info!("Initiating Shutdown...");
                }
                shutdown.cancel();
            }
            Wish::LameDuck => handle.lame_duck(),
            Wish::Reopen => reloader.reopen_log(),
            Wish::Reload => reloader.reload(),
        }
    }
}

/// The lines at the start; many a script looks for some of them.
fn introduce(flags: &Flags, options: &Options, broker: &Broker) {
    tracing::info!("Starting {}", ports::program());
    tracing::info!("  Version:  {VERSION}");
    tracing::info!("  Git:      [not set]");
    if let Some(name) = options
        .config
        .cluster
        .as_ref()
        .and_then(|it| it.name.as_ref())
    {
        tracing::info!("  Cluster:  {name}");
    }
    tracing::info!("  Name:     {}", broker.name());
    tracing::info!("  ID:       {}", broker.id());
    if let Some(path) = &flags.config {
        tracing::info!("Using configuration file: {}", path.display());
    }
    reload::warn(options);
    if let Some(monitor) = broker.monitor_address() {
        tracing::info!("Starting http monitor on {monitor}");
    }
    if let Some(monitor) = broker.monitor_https_address() {
        tracing::info!("Starting https monitor on {monitor}");
    }
}

/// The lines that say where clients can come.
fn list_doors(options: &Options, broker: &Broker) -> anyhow::Result<()> {
    tracing::info!(
        "Listening for client connections on {}",
        broker.client_address()?
    );
    if options.config.tls.is_some() {
        tracing::info!("TLS required for client connections");
    }
    if let Some((address, secure)) = broker.websocket_address() {
        let scheme = if secure { "wss" } else { "ws" };
        tracing::info!("Listening for websocket clients on {scheme}://{address}");
        if !secure {
            tracing::warn!("Websocket not configured with TLS. DO NOT USE IN PRODUCTION!");
        }
    }
    Ok(())
}

/// Allows as many connections as the system lets us have, as Go programs do by themselves.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// Says something on standard output, where it was asked for.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Says something on standard error; if nobody can hear it, that is no reason to fail.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
