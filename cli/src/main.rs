//! `cup`, the command-line client of Cupola: the verbs and flags of `cf` v6.
//!
//! It talks to the public HTTP API only (cloud controller v2, UAA, doppler) and links nothing of
//! the server. A command goes through three stages, each in a module of its own:
//!
//! ```text
//! args    what was typed        clap structs, help texts, examples
//!   |
//! plan    what it means         sizes parsed, names checked, manifest and flags merged
//!   |
//! action  what is done          requests, progress, tables
//! ```
//!
//! Below them: [`client`] sends requests, keeps the token fresh and traces; [`cc`] gives the
//! cloud controller's resources types; [`logs`] reads the doppler protocol; [`push`] knows files,
//! ignore rules and archives; [`manifest`] reads `manifest.yml`; [`session`] keeps what one
//! command leaves for the next.
//!
//! Exit codes: 0 done, 1 failed, 64 wrongly used (arguments, environment or manifest).

#![forbid(unsafe_code)]

mod action;
mod args;
mod cc;
mod chance;
mod client;
mod clock;
mod failure;
mod logs;
mod manifest;
mod patience;
mod plan;
mod push;
mod session;
mod size;
mod surroundings;
mod table;
mod uaa;
mod ui;

use std::process::ExitCode;

use crate::surroundings::Surroundings;
use crate::ui::Ui;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}

fn run() -> anyhow::Result<()> {
    let surroundings = Surroundings::read()?;
    let Some(typed) = args::parse(std::env::args_os(), surroundings.color)? else {
        return Ok(());
    };
    let ui = Ui::new(surroundings.color, surroundings.terminals);
    let surroundings = surroundings.with_verbosity(typed.verbose);
    let plan = plan::resolve(typed.verb, &surroundings)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(Box::pin(action::perform(plan, &surroundings, &ui)));
    // A blocking read of a file or of the terminal may still be under way; nobody waits for it.
    runtime.shutdown_background();
    outcome
}
