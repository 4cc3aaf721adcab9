//! Routes.

/// Create a route without an app behind it
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cup create-route dev example.com -n www
  cup create-route dev example.com -n www --path shop")]
pub(crate) struct CreateRoute {
    /// Space that owns the route
    #[arg(value_name = "SPACE")]
    pub(crate) space: String,

    #[arg(value_name = "DOMAIN")]
    pub(crate) domain: String,

    /// Host; without it the route is the domain itself
    #[arg(short = 'n', long = "hostname", value_name = "HOST")]
    pub(crate) host: Option<String>,

    /// Path below the host
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
}

/// An app and a route
#[derive(Debug, clap::Args)]
pub(crate) struct AppRoute {
    /// Name of the app
    #[arg(value_name = "APP_NAME")]
    pub(crate) app: String,

    #[arg(value_name = "DOMAIN")]
    pub(crate) domain: String,

    /// Host; without it the route is the domain itself
    #[arg(short = 'n', long = "hostname", value_name = "HOST")]
    pub(crate) host: Option<String>,

    /// Path below the host
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
}

/// Delete a route
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cup delete-route example.com -n www -f")]
pub(crate) struct DeleteRoute {
    #[arg(value_name = "DOMAIN")]
    pub(crate) domain: String,

    /// Host; without it the route is the domain itself
    #[arg(short = 'n', long = "hostname", value_name = "HOST")]
    pub(crate) host: Option<String>,

    /// Path below the host
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,

    /// Delete without asking
    #[arg(short = 'f')]
    pub(crate) force: bool,
}
