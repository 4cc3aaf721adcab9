//! `cupola`, the platform's one daemon binary.
//!
//! `cupola up` is a supervisor that runs this same executable once per role; `cupola <role>` is
//! one role alone. There is no other mode: what runs on a laptop is what runs in production.

#![forbid(unsafe_code)]

mod args;
mod bus_config;
mod config_check;
mod credentials;
mod data_folder;
mod identity;
mod plan;
mod role_log;
mod role_process;
mod roles;
mod sample;
mod sockets;
mod status;
mod supervisor;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command, ConfigCommand};

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Up(up) => finish(supervisor::up(*up)),
        Command::Status(status) => finish(status::show(&status)),
        Command::Credentials(data) => finish(credentials::show(&data)),
        Command::Config(ConfigCommand::Check(check)) => finish(config_check::show(check)),
        Command::BusConfig(bus) => finish(bus_config::show(&bus)),
        Command::Role(role) => roles::run(role),
    }
}

/// Errors are printed as one chained line; a reader that went away is no error.
fn finish(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    let broken_pipe = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe);
    if broken_pipe {
        return ExitCode::SUCCESS;
    }
    #[expect(
        clippy::print_stderr,
        reason = "this is how a command reports its failure"
    )]
    {
        eprintln!("cupola: {error:#}");
    }
    match error.downcast_ref::<args::Unusable>() {
        Some(_) => ExitCode::from(cupola_component::EX_CONFIG),
        None => ExitCode::FAILURE,
    }
}
