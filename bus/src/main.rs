//! `cupola-bus`: the broker as a program, with nats-server's command line and configuration file.
#![forbid(unsafe_code)]

mod flags;
mod log;
mod ports;

use std::process::ExitCode;

use anyhow::Context as _;
use cupola_bus::{Listeners, VERSION, build, conf, options::Options};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use flags::{Command, Flags};

fn main() -> ExitCode {
    let command = match flags::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            say(&format!("cupola-bus: {error}\n"));
            return ExitCode::FAILURE;
        }
    };
    let result = match command {
        Command::Help => {
            say(flags::HELP);
            Ok(())
        }
        Command::Version => {
            use std::io::Write as _;
            let mut out = std::io::stdout();
            out.write_all(format!("nats-server: v{VERSION}\n").as_bytes())
                .map_err(Into::into)
        }
        Command::Run(flags) => start(*flags),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("cupola-bus: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

fn start(flags: Flags) -> anyhow::Result<()> {
    let mut options = match &flags.config {
        Some(path) => Options::from_map(&conf::read(path, &conf::System)?)?,
        None => Options::default(),
    };
    if flags.test {
        let path = flags.config.as_ref().context("-t needs -c FILE")?;
        options.resolve()?;
        say(&format!(
            "cupola-bus: configuration file {} is valid\n",
            path.display()
        ));
        return Ok(());
    }
    flags.apply(&mut options);
    options.resolve()?;
    log::start(&options)?;
    for setting in &options.ignored {
        tracing::warn!("setting {setting:?} has no effect in this server");
    }
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(options))
}

async fn serve(options: Options) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let broker = build(options.config.clone(), Listeners::default()).await?;
    let address = broker.client_address()?;
    tracing::info!("Starting cupola-bus");
    tracing::info!("  Version:  {VERSION}");
    tracing::info!("  Name:     {}", broker.name());
    tracing::info!("  ID:       {}", broker.id());
    if let Some(monitor) = broker.monitor_address() {
        tracing::info!("Starting http monitor on {monitor}");
    }
    tracing::info!("Listening for client connections on {address}");
    let _files = ports::write(&options, address, broker.monitor_address())?;
    tracing::info!("Server is ready");
    let asked = shutdown.clone();
    let watch = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
        }
        tracing::info!("Initiating Shutdown...");
        asked.cancel();
    };
    let (result, ()) = tokio::join!(
        async {
            let result = broker.run(shutdown.clone()).await;
            shutdown.cancel();
            result
        },
        async {
            tokio::select! {
                () = watch => {}
                () = shutdown.cancelled() => {}
            }
        },
    );
    result?;
    tracing::info!("Server Exiting..");
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

/// Says something on standard error; if nobody can hear it, that is no reason to fail.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stderr().write_all(text.as_bytes());
}
