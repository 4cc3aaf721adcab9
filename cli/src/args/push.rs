//! `push`, which has more flags than all the others together.

use std::path::PathBuf;

/// Push an app: upload its files, stage and start it
///
/// Takes what the flags do not say from manifest.yml in the working folder, if there is one.
/// Files named in .cfignore stay at home.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cup push                               what manifest.yml says
  cup push my-app -p ./site -m 64M       a folder
  cup push my-app -p app.jar -b java     an archive with a named buildpack
  cup push my-app --random-route         under a host that nobody has
  cup push my-app -n www -d example.com --route-path shop
  cup push worker --no-route -u process
  cup push -f manifests/production.yml --var domain=example.com")]
pub(crate) struct Push {
    /// Name of the app
    #[arg(value_name = "APP_NAME")]
    pub(crate) app: Option<String>,

    /// Folder or archive with the app's files
    #[arg(short = 'p', value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,

    /// Buildpack by name or address; 'default' to detect it again
    #[arg(short = 'b', value_name = "BUILDPACK")]
    pub(crate) buildpack: Option<String>,

    /// Start command; 'default' for the buildpack's own
    #[arg(short = 'c', value_name = "COMMAND", allow_hyphen_values = true)]
    pub(crate) command: Option<String>,

    /// Memory of each instance (256M, 1G)
    #[arg(short = 'm', value_name = "MEMORY")]
    pub(crate) memory: Option<String>,

    /// Disk of each instance (256M, 1G)
    #[arg(short = 'k', value_name = "DISK")]
    pub(crate) disk: Option<String>,

    /// Number of instances
    #[arg(short = 'i', value_name = "INSTANCES")]
    pub(crate) instances: Option<String>,

    /// Host of the route (default: the app's name)
    #[arg(short = 'n', long = "hostname", value_name = "HOST")]
    pub(crate) host: Option<String>,

    /// Domain of the route (default: the platform's first shared domain)
    #[arg(short = 'd', value_name = "DOMAIN")]
    pub(crate) domain: Option<String>,

    /// Path of the route
    #[arg(long, value_name = "PATH")]
    pub(crate) route_path: Option<String>,

    /// Route the domain itself, without a host
    #[arg(long, conflicts_with = "host")]
    pub(crate) no_hostname: bool,

    /// No route, and none of those it has
    #[arg(long, conflicts_with_all = ["host", "domain", "route_path", "no_hostname", "random_route"])]
    pub(crate) no_route: bool,

    /// A host that nobody has
    #[arg(long, conflicts_with_all = ["host", "no_hostname"])]
    pub(crate) random_route: bool,

    /// Upload but do not start
    #[arg(long)]
    pub(crate) no_start: bool,

    /// Manifest to use (default: manifest.yml in the working folder)
    #[arg(short = 'f', value_name = "MANIFEST", conflicts_with = "no_manifest")]
    pub(crate) manifest: Option<PathBuf>,

    /// Use no manifest even if there is one
    #[arg(long)]
    pub(crate) no_manifest: bool,

    /// Value for ((NAME)) in the manifest
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub(crate) vars: Vec<String>,

    /// File with values for the manifest
    #[arg(long = "vars-file", value_name = "FILE")]
    pub(crate) vars_files: Vec<PathBuf>,

    /// Seconds that an instance may take to become healthy (1 to 180)
    #[arg(short = 't', value_name = "SECONDS")]
    pub(crate) timeout: Option<String>,

    /// Health check: port, http or process
    #[arg(short = 'u', long = "health-check-type", value_name = "TYPE")]
    pub(crate) health: Option<String>,

    /// Stack: the root file system that the app sees
    #[arg(short = 's', value_name = "STACK")]
    pub(crate) stack: Option<String>,
}
