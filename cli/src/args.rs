//! What was typed: the commands, their flags, and the help that goes with them. Nothing here knows
//! what a flag means; that is `plan`.

mod apps;
mod places;
mod platform;
mod push;
mod routes;
mod session;

pub(crate) use apps::{AppOnly, Delete, Logs, Scale, SetEnv, Show, UnsetEnv};
pub(crate) use places::{CreateOrg, CreateSpace};
pub(crate) use platform::{Completions, Curl};
pub(crate) use push::Push;
pub(crate) use routes::{AppRoute, CreateRoute, DeleteRoute};
pub(crate) use session::{Api, Auth, Login, Target};

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::plan::UsageError;
use crate::ui::OutputError;

/// Help is wrapped here on wide terminals.
const WIDEST_HELP: usize = 100;

/// Push apps to Cupola and look after them
#[derive(Debug, Parser)]
#[command(
    name = "cup",
    version,
    max_term_width = WIDEST_HELP,
    disable_version_flag = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = AFTER_HELP
)]
pub(crate) struct Cli {
    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,

    /// Show each request and answer on stderr, with secrets masked
    #[arg(short = 'v', long, global = true, display_order = 900)]
    pub(crate) verbose: bool,

    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const AFTER_HELP: &str = "\
First steps:
  cup login -a http://127.0.0.1:8080     log in; the platform's start prints the address
  cup push my-app -p ./site              push a folder and start it
  cup logs my-app --recent               see what it wrote

Environment:
  CUP_HOME=DIR             where the login is kept (default ~/.cup)
  CUP_TRACE=true|FILE      show requests and answers, or write them to a file
  CUP_COLOR=true|false     colours always or never; NO_COLOR is honoured too
  CUP_STAGING_TIMEOUT=15   longest wait for staging, in minutes (or 90s, 1h)
  CUP_STARTUP_TIMEOUT=5    longest wait for the first instance, in minutes
  CUP_USERNAME, CUP_PASSWORD   for 'cup auth' without arguments
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY   honoured, never for this machine itself

Exit codes: 0 done, 1 failed, 64 wrong arguments, environment or manifest.";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    // --- the platform and who you are ---
    Api(Api),
    #[command(visible_alias = "l")]
    Login(Login),
    Auth(Auth),
    /// Forget who is logged in
    #[command(visible_alias = "lo")]
    Logout,
    /// Change your password
    #[command(visible_alias = "pw")]
    Passwd,
    /// Print a live access token
    OauthToken,
    #[command(visible_alias = "t")]
    Target(Target),

    // --- orgs and spaces ---
    /// List the orgs you can see
    #[command(visible_alias = "o")]
    Orgs,
    #[command(visible_alias = "co")]
    CreateOrg(CreateOrg),
    /// List the spaces of the targeted org
    Spaces,
    #[command(visible_alias = "csp")]
    CreateSpace(CreateSpace),

    // --- apps ---
    #[command(visible_alias = "p")]
    Push(Box<Push>),
    /// List the apps of the targeted space
    #[command(visible_alias = "a")]
    Apps,
    App(Show),
    /// Start an app
    ///
    /// Stages it first if that is needed, shows the staging log, and waits until an instance runs.
    #[command(visible_alias = "st")]
    Start(AppOnly),
    /// Stop an app
    #[command(visible_alias = "sp")]
    Stop(AppOnly),
    /// Stop an app and start it again
    #[command(visible_alias = "rs")]
    Restart(AppOnly),
    /// Build an app again from its files and start it
    #[command(visible_alias = "rg")]
    Restage(AppOnly),
    Scale(Scale),
    #[command(visible_alias = "d")]
    Delete(Delete),
    Logs(Logs),
    /// Show what happened to an app, newest first
    Events(AppOnly),
    /// Show the environment that an app runs in
    #[command(visible_alias = "e")]
    Env(AppOnly),
    #[command(visible_alias = "se")]
    SetEnv(SetEnv),
    UnsetEnv(UnsetEnv),

    // --- routes ---
    /// List the routes of the targeted space
    #[command(visible_alias = "r")]
    Routes,
    CreateRoute(CreateRoute),
    /// Send what comes for a route to an app
    ///
    /// Creates the route if it does not exist.
    #[command(after_help = "Examples:
  cup map-route my-app example.com                        example.com
  cup map-route my-app example.com -n www                 www.example.com
  cup map-route my-app example.com -n www --path shop     www.example.com/shop")]
    MapRoute(AppRoute),
    /// Take an app from behind a route
    #[command(after_help = "Example:\n  cup unmap-route my-app example.com -n www")]
    UnmapRoute(AppRoute),
    DeleteRoute(DeleteRoute),
    /// List the domains of the targeted org
    Domains,

    // --- more ---
    Curl(Curl),
    Completions(Completions),
    /// Print the version
    Version,
}

/// Reads the command line. Nothing when it only asked for help or the version, which is printed.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    color: bool,
) -> anyhow::Result<Option<Cli>> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    // As in `cf`: alone it asks for the version, within a command for more words.
    if arguments.len() == 2 && arguments[1] == "-v" {
        arguments[1] = "-V".into();
    }
    let choice = if color {
        ColorChoice::Always
    } else {
        ColorChoice::Never
    };
    let mut command = Cli::command().color(choice);
    let error = match command.try_get_matches_from_mut(arguments) {
        Ok(matches) => match Cli::from_arg_matches(&matches) {
            Ok(cli) => return Ok(Some(cli)),
            Err(error) => error,
        },
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            error.print().map_err(OutputError)?;
            Ok(None)
        }
        _ => {
            let words = error.render().to_string();
            let words = words
                .strip_prefix("error: ")
                .unwrap_or(&words)
                .trim_end()
                .to_owned();
            Err(UsageError::new(words).into())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_is_for() {
        for command in Cli::command().get_subcommands() {
            assert!(
                command.get_about().is_some(),
                "{} has no help",
                command.get_name()
            );
        }
    }

    #[test]
    fn the_short_names_of_cf_are_known() {
        let command = Cli::command();
        for (short, long) in [
            ("l", "login"),
            ("lo", "logout"),
            ("t", "target"),
            ("o", "orgs"),
            ("p", "push"),
            ("a", "apps"),
            ("st", "start"),
            ("sp", "stop"),
            ("rs", "restart"),
            ("rg", "restage"),
            ("d", "delete"),
            ("e", "env"),
            ("se", "set-env"),
            ("r", "routes"),
            ("co", "create-org"),
        ] {
            assert_eq!(command.find_subcommand(short).unwrap().get_name(), long);
        }
    }
}
