//! What a command line means: every text parsed, every contradiction found, manifest and flags
//! merged. What comes out of here can be carried out without looking at a flag again.

mod curl;
mod push;
mod route;
mod session;

pub(crate) use curl::CurlPlan;
pub(crate) use push::{AppPlan, PushPlan, Routing};
pub(crate) use route::RouteWish;
pub(crate) use session::{ApiPlan, AuthPlan, LoginPlan, TargetPlan, address};

use clap::CommandFactory as _;
use cupola_types::{DiskMb, MemoryMb};

use crate::args::{self, Cli, Verb};
use crate::manifest::MOST_INSTANCES;
use crate::surroundings::Surroundings;

/// The command line asks for something that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("Incorrect Usage: {0}")]
pub(crate) struct UsageError(String);

#[derive(Debug)]
pub(crate) enum Plan {
    Api(ApiPlan),
    Login(LoginPlan),
    Auth(AuthPlan),
    Logout,
    Passwd,
    OauthToken,
    Target(TargetPlan),
    Orgs,
    CreateOrg {
        name: String,
    },
    Spaces,
    CreateSpace {
        name: String,
        org: Option<String>,
    },
    Push(PushPlan),
    Apps,
    App {
        name: String,
        guid_only: bool,
    },
    Start {
        app: String,
    },
    Stop {
        app: String,
    },
    Restart {
        app: String,
    },
    Restage {
        app: String,
    },
    ShowScale {
        app: String,
    },
    Scale(ScalePlan),
    Delete {
        app: String,
        with_routes: bool,
        ask: bool,
    },
    RecentLogs {
        app: String,
    },
    FollowLogs {
        app: String,
    },
    Events {
        app: String,
    },
    Env {
        app: String,
    },
    SetEnv {
        app: String,
        name: String,
        value: String,
    },
    UnsetEnv {
        app: String,
        name: String,
    },
    Routes,
    CreateRoute {
        space: String,
        route: RouteWish,
    },
    MapRoute {
        app: String,
        route: RouteWish,
    },
    UnmapRoute {
        app: String,
        route: RouteWish,
    },
    DeleteRoute {
        route: RouteWish,
        ask: bool,
    },
    Domains,
    Curl(CurlPlan),
    /// Text that needs no platform.
    Print(Vec<u8>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScalePlan {
    pub(crate) app: String,
    pub(crate) instances: Option<u32>,
    pub(crate) memory: Option<MemoryMb>,
    pub(crate) disk: Option<DiskMb>,
    /// Before restarting a running app.
    pub(crate) ask: bool,
}

// === impl UsageError ===

impl UsageError {
    pub(crate) fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

/// Gives a typed command its meaning.
pub(crate) fn resolve(verb: Verb, surroundings: &Surroundings) -> anyhow::Result<Plan> {
    Ok(match verb {
        Verb::Api(typed) => Plan::Api(session::api(&typed)?),
        Verb::Login(typed) => Plan::Login(session::login(typed)?),
        Verb::Auth(typed) => Plan::Auth(session::auth(typed, surroundings)?),
        Verb::Logout => Plan::Logout,
        Verb::Passwd => Plan::Passwd,
        Verb::OauthToken => Plan::OauthToken,
        Verb::Target(typed) => Plan::Target(session::target(typed)),
        Verb::Orgs => Plan::Orgs,
        Verb::CreateOrg(typed) => Plan::CreateOrg { name: typed.name },
        Verb::Spaces => Plan::Spaces,
        Verb::CreateSpace(typed) => Plan::CreateSpace {
            name: typed.name,
            org: typed.org,
        },
        Verb::Push(typed) => Plan::Push(push::push(*typed, surroundings)?),
        Verb::Apps => Plan::Apps,
        Verb::App(typed) => Plan::App {
            name: typed.app,
            guid_only: typed.guid,
        },
        Verb::Start(typed) => Plan::Start { app: typed.app },
        Verb::Stop(typed) => Plan::Stop { app: typed.app },
        Verb::Restart(typed) => Plan::Restart { app: typed.app },
        Verb::Restage(typed) => Plan::Restage { app: typed.app },
        Verb::Scale(typed) => scale(typed)?,
        Verb::Delete(typed) => Plan::Delete {
            app: typed.app,
            with_routes: typed.routes,
            ask: !typed.force,
        },
        Verb::Logs(args::Logs { app, recent: true }) => Plan::RecentLogs { app },
        Verb::Logs(args::Logs { app, recent: false }) => Plan::FollowLogs { app },
        Verb::Events(typed) => Plan::Events { app: typed.app },
        Verb::Env(typed) => Plan::Env { app: typed.app },
        Verb::SetEnv(typed) => Plan::SetEnv {
            app: typed.app,
            name: typed.name,
            value: typed.value,
        },
        Verb::UnsetEnv(typed) => Plan::UnsetEnv {
            app: typed.app,
            name: typed.name,
        },
        Verb::Routes => Plan::Routes,
        Verb::CreateRoute(typed) => Plan::CreateRoute {
            space: typed.space,
            route: RouteWish::new(typed.domain, typed.host, typed.path)?,
        },
        Verb::MapRoute(typed) => {
            let (app, route) = app_route(typed)?;
            Plan::MapRoute { app, route }
        }
        Verb::UnmapRoute(typed) => {
            let (app, route) = app_route(typed)?;
            Plan::UnmapRoute { app, route }
        }
        Verb::DeleteRoute(typed) => Plan::DeleteRoute {
            route: RouteWish::new(typed.domain, typed.host, typed.path)?,
            ask: !typed.force,
        },
        Verb::Domains => Plan::Domains,
        Verb::Curl(typed) => Plan::Curl(curl::curl(typed)?),
        Verb::Completions(typed) => Plan::Print(completions(typed.shell)),
        Verb::Version => Plan::Print(Cli::command().render_version().into_bytes()),
    })
}

fn app_route(typed: args::AppRoute) -> Result<(String, RouteWish), UsageError> {
    Ok((
        typed.app,
        RouteWish::new(typed.domain, typed.host, typed.path)?,
    ))
}

fn scale(typed: args::Scale) -> Result<Plan, UsageError> {
    if typed.instances.is_none() && typed.memory.is_none() && typed.disk.is_none() {
        return Ok(Plan::ShowScale { app: typed.app });
    }
    Ok(Plan::Scale(ScalePlan {
        app: typed.app,
        instances: number("-i", typed.instances.as_deref(), 0, MOST_INSTANCES)?,
        memory: parsed("-m", typed.memory.as_deref())?,
        disk: parsed("-k", typed.disk.as_deref())?,
        ask: !typed.force,
    }))
}

fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cup", &mut script);
    script
}

/// The value of a flag, as the kind of thing that it should be.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    flag: &str,
    text: Option<&str>,
) -> Result<Option<T>, UsageError> {
    text.map(|text| {
        text.parse()
            .map_err(|e: T::Err| UsageError::new(format!("{flag}: {e}")))
    })
    .transpose()
}

fn number(
    flag: &str,
    text: Option<&str>,
    least: u32,
    most: u32,
) -> Result<Option<u32>, UsageError> {
    let Some(text) = text else { return Ok(None) };
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
        _ => Err(UsageError::new(format!(
            "{flag}: {text:?} is not a whole number from {least} to {most}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn typed(instances: Option<&str>, memory: Option<&str>) -> args::Scale {
        args::Scale {
            app: "a".into(),
            instances: instances.map(str::to_owned),
            memory: memory.map(str::to_owned),
            disk: None,
            force: false,
        }
    }

    #[test]
    fn scale_without_flags_shows_and_with_flags_changes() {
        assert!(matches!(
            scale(typed(None, None)).unwrap(),
            Plan::ShowScale { .. }
        ));
        let Plan::Scale(plan) = scale(typed(Some("4"), Some("1G"))).unwrap() else {
            panic!("no scale");
        };
        assert_eq!(
            (plan.instances, plan.memory),
            (Some(4), Some(MemoryMb(1024)))
        );
        assert!(plan.ask);
    }

    #[test]
    fn a_wrong_value_names_its_flag() {
        let words = |typed| scale(typed).unwrap_err().to_string();
        assert!(words(typed(Some("-1"), None)).contains("-i: \"-1\""));
        assert!(words(typed(None, Some("much"))).contains("-m: \"much\" is not a size"));
    }
}
