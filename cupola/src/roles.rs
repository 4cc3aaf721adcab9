//! `cupola <role>`: one role alone.

mod bus;

use std::path::Path;
use std::process::ExitCode;

use cupola_component::{ConfigError, RoleConfig};
use cupola_types::Role;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::getppid;
use serde::de::DeserializeOwned;
use toml::Table;

use crate::args::RoleCommand;
use crate::role_process::inherited_environment;

/// Runs the role until it is told to stop.
pub(crate) fn run(command: RoleCommand) -> ExitCode {
    if !dies_with_supervisor() {
        return ExitCode::FAILURE;
    }
    match command {
        RoleCommand::Bus(args) => bus::run(&args.config),
        RoleCommand::Uaa(args) => {
            cupola_component::run(Role::Uaa, &args.config, async |config, deps, shutdown| {
                cupola_uaa::build(config, deps).await?.run(shutdown).await
            })
        }
        RoleCommand::Loggregator(args) => cupola_component::run(
            Role::Loggregator,
            &args.config,
            async |config, deps, shutdown| {
                cupola_loggregator::build(config, deps)
                    .await?
                    .run(shutdown)
                    .await
            },
        ),
        RoleCommand::CloudController(args) => cupola_component::run(
            Role::CloudController,
            &args.config,
            async |config, deps, shutdown| {
                cupola_cloud_controller::build(config, deps)
                    .await?
                    .run(shutdown)
                    .await
            },
        ),
        RoleCommand::Stager(args) => cupola_component::run(
            Role::Stager,
            &args.config,
            async |config, deps, shutdown| {
                cupola_stager::build(config, deps)
                    .await?
                    .run(shutdown)
                    .await
            },
        ),
        RoleCommand::Dea(args) => {
            cupola_component::run(Role::Dea, &args.config, async |config, deps, shutdown| {
                cupola_dea::build(config, deps).await?.run(shutdown).await
            })
        }
        RoleCommand::Router(args) => cupola_component::run(
            Role::Router,
            &args.config,
            async |config, deps, shutdown| {
                cupola_router::build(config, deps)
                    .await?
                    .run(shutdown)
                    .await
            },
        ),
        RoleCommand::HealthManager(args) => cupola_component::run(
            Role::HealthManager,
            &args.config,
            async |config, deps, shutdown| {
                cupola_health_manager::build(config, deps)
                    .await?
                    .run(shutdown)
                    .await
            },
        ),
    }
}

/// What `role` reads when `table` is its config file, with the environment on top.
///
/// # Errors
/// What the role would complain of at its start.
pub(crate) fn read_config(role: Role, table: Table, named: &Path) -> Result<Table, ConfigError> {
    fn of<C: DeserializeOwned>(
        role: Role,
        table: Table,
        named: &Path,
    ) -> Result<Table, ConfigError> {
        let environment = inherited_environment(role);
        RoleConfig::<C>::of(table, named, role, environment).map(|(_, merged)| merged)
    }
    match role {
        Role::Bus => of::<cupola_bus::Config>(role, table, named),
        Role::Uaa => of::<cupola_uaa::Config>(role, table, named),
        Role::Loggregator => of::<cupola_loggregator::Config>(role, table, named),
        Role::CloudController => of::<cupola_cloud_controller::Config>(role, table, named),
        Role::Stager => of::<cupola_stager::Config>(role, table, named),
        Role::Dea => of::<cupola_dea::Config>(role, table, named),
        Role::Router => of::<cupola_router::Config>(role, table, named),
        Role::HealthManager => of::<cupola_health_manager::Config>(role, table, named),
    }
}

/// A role of a supervisor that was killed must not go on and hold its sockets: the kernel kills it
/// too. Returns whether the supervisor lives, or there is none.
fn dies_with_supervisor() -> bool {
    let Ok(supervisor) = std::env::var("CUPOLA_SUPERVISOR_PID") else {
        return true;
    };
    if set_pdeathsig(Signal::SIGKILL).is_err() {
        return false;
    }
    // It may have died before the line above.
    supervisor == getppid().to_string()
}
