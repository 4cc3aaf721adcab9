//! Orgs and spaces.

/// Create an org
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cup create-org my-org")]
pub(crate) struct CreateOrg {
    #[arg(value_name = "ORG")]
    pub(crate) name: String,
}

/// Create a space
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cup create-space dev              in the targeted org
  cup create-space dev -o my-org")]
pub(crate) struct CreateSpace {
    #[arg(value_name = "SPACE")]
    pub(crate) name: String,

    /// Org, if not the targeted one
    #[arg(short = 'o', value_name = "ORG")]
    pub(crate) org: Option<String>,
}
