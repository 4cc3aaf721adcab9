//! Apps, once they are there.

/// The one argument of many commands
#[derive(Debug, clap::Args)]
pub(crate) struct AppOnly {
    /// Name of the app
    #[arg(value_name = "APP_NAME")]
    pub(crate) app: String,
}

/// Show an app and its instances
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cup app my-app
  cup app my-app --guid      print its guid only")]
pub(crate) struct Show {
    /// Name of the app
    #[arg(value_name = "APP_NAME")]
    pub(crate) app: String,

    /// Print the guid only
    #[arg(long)]
    pub(crate) guid: bool,
}

/// Change or show instances, memory and disk of an app
///
/// More or fewer instances come at once; other memory or disk needs a restart.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cup scale my-app                 show
  cup scale my-app -i 4            four instances
  cup scale my-app -m 256M -f      other memory, restart without asking")]
pub(crate) struct Scale {
    /// Name of the app
    #[arg(value_name = "APP_NAME")]
    pub(crate) app: String,

    /// Number of instances
    #[arg(short = 'i', value_name = "INSTANCES")]
    pub(crate) instances: Option<String>,

    /// Memory of each instance (256M, 1G)
    #[arg(short = 'm', value_name = "MEMORY")]
    pub(crate) memory: Option<String>,

    /// Disk of each instance (256M, 1G)
    #[arg(short = 'k', value_name = "DISK")]
    pub(crate) disk: Option<String>,

    /// Restart without asking
    #[arg(short = 'f')]
    pub(crate) force: bool,
}

/// Delete an app
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cup delete my-app           asks first
  cup delete my-app -f -r     with its routes, without asking")]
pub(crate) struct Delete {
    /// Name of the app
    #[arg(value_name = "APP_NAME")]
    pub(crate) app: String,

    /// Delete without asking
    #[arg(short = 'f')]
    pub(crate) force: bool,

    /// Delete its routes too
    #[arg(short = 'r')]
    pub(crate) routes: bool,
}

/// Show the log of an app
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cup logs my-app              as it is written, until Ctrl-C
  cup logs my-app --recent     the latest lines")]
pub(crate) struct Logs {
    /// Name of the app
    #[arg(value_name = "APP_NAME")]
    pub(crate) app: String,

    /// Print the latest lines and end
    #[arg(long)]
    pub(crate) recent: bool,
}

/// Set an environment variable of an app
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cup set-env my-app GREETING hello && cup restage my-app")]
pub(crate) struct SetEnv {
    /// Name of the app
    #[arg(value_name = "APP_NAME")]
    pub(crate) app: String,

    #[arg(value_name = "NAME")]
    pub(crate) name: String,

    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    pub(crate) value: String,
}

/// Remove an environment variable of an app
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cup unset-env my-app GREETING")]
pub(crate) struct UnsetEnv {
    /// Name of the app
    #[arg(value_name = "APP_NAME")]
    pub(crate) app: String,

    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}
