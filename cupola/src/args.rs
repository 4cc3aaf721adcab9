//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// What was asked for cannot be done as it was asked; the process ends with status 64.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unusable(pub(crate) String);

/// Cupola: a Cloud Foundry v2 style platform in one binary.
#[derive(Debug, Parser)]
#[command(name = "cupola", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the whole platform on this machine and stay in the foreground
    Up(Box<UpArgs>),
    /// Show each role: pid, uptime, restarts, health, addresses
    Status(StatusArgs),
    /// Print api=, user=, password= and domain= for scripts
    Credentials(DataArgs),
    /// Check the settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a nats-server configuration with this platform's identities and permissions
    BusConfig(BusConfigArgs),
    #[command(flatten)]
    Role(RoleCommand),
}

/// One role alone, from a config file such as `cupola up` writes for it.
#[derive(Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// Run the message broker alone
    Bus(RoleArgs),
    /// Run the user and token service alone
    Uaa(RoleArgs),
    /// Run the log service alone
    Loggregator(RoleArgs),
    /// Run the API alone
    #[command(name = "cloud_controller", alias = "cloud-controller")]
    CloudController(RoleArgs),
    /// Run a stager alone
    Stager(RoleArgs),
    /// Run a DEA alone
    Dea(RoleArgs),
    /// Run a router alone
    Router(RoleArgs),
    /// Run the health manager alone
    #[command(name = "health_manager", alias = "health-manager")]
    HealthManager(RoleArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct RoleArgs {
    /// The role's config file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DataArgs {
    /// The platform's data folder
    #[arg(
        long,
        value_name = "DIR",
        default_value = "data",
        env = "CUPOLA_DATA_DIR"
    )]
    pub(crate) data_dir: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print what each role would read, secrets masked; ends with status 64 when something is wrong
    Check(ConfigCheckArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ConfigCheckArgs {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Settings of the platform and of its roles [default: cupola.toml in the data folder, if any]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BusConfigArgs {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Where the nats-server shall listen
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4222")]
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Settings of the platform and of its roles [default: cupola.toml in the data folder, if any]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where the router listens for apps' visitors [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) http: Option<SocketAddr>,
    /// Where the API listens [default: a free port of 127.0.0.1, kept from then on]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) api: Option<SocketAddr>,
    /// Where the user and token service listens [default: as --api]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) uaa: Option<SocketAddr>,
    /// Where the log service listens [default: as --api]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) logs: Option<SocketAddr>,
    /// Where the bus listens [default: as --api]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) bus: Option<SocketAddr>,
    /// Use this nats-server instead of a bus of our own (see `cupola bus-config`)
    #[arg(long, value_name = "URL", conflicts_with = "bus")]
    pub(crate) bus_url: Option<String>,
    /// Domain under which apps get their host names [default: cupola.localhost]
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) domain: Option<String>,
    /// Once everything runs, push the app in this folder unless it is there already
    #[arg(long, value_name = "DIR")]
    pub(crate) sample: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
