//! The platform and who you are.

/// Set or show the API endpoint
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cup api                                     show the endpoint
  cup api http://127.0.0.1:8080               set it
  cup api https://api.example.com --skip-ssl-validation")]
pub(crate) struct Api {
    /// Address of the API; without it the endpoint is shown
    #[arg(value_name = "URL", conflicts_with = "unset")]
    pub(crate) url: Option<String>,

    /// Take the server's certificate unseen
    #[arg(long)]
    pub(crate) skip_ssl_validation: bool,

    /// Forget the endpoint and the login
    #[arg(long)]
    pub(crate) unset: bool,
}

/// Log in
///
/// Asks for what is not given, if there is a terminal to ask at.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cup login                                   asks for everything
  cup login -a http://127.0.0.1:8080 -u admin -p secret
  cup login -u me@example.com -o my-org -s my-space

A password on the command line can be seen by others on the same machine;
'cup auth' takes it from CUP_PASSWORD.")]
pub(crate) struct Login {
    /// Address of the API
    #[arg(short = 'a', value_name = "URL")]
    pub(crate) api: Option<String>,

    /// User name
    #[arg(short = 'u', value_name = "USERNAME")]
    pub(crate) username: Option<String>,

    /// Password
    #[arg(short = 'p', value_name = "PASSWORD")]
    pub(crate) password: Option<String>,

    /// Org to target
    #[arg(short = 'o', value_name = "ORG")]
    pub(crate) org: Option<String>,

    /// Space to target
    #[arg(short = 's', value_name = "SPACE")]
    pub(crate) space: Option<String>,

    /// Identity provider that knows the user
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Option<String>,

    /// Take the server's certificate unseen
    #[arg(long)]
    pub(crate) skip_ssl_validation: bool,
}

/// Log in without questions
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  CUP_USERNAME=me CUP_PASSWORD=secret cup auth
  cup auth me@example.com secret
  cup auth my-client its-secret --client-credentials")]
pub(crate) struct Auth {
    /// User name or client id; CUP_USERNAME when left out
    #[arg(value_name = "USERNAME")]
    pub(crate) username: Option<String>,

    /// Password or client secret; CUP_PASSWORD when left out
    #[arg(value_name = "PASSWORD")]
    pub(crate) password: Option<String>,

    /// Log in as a client rather than as a person
    #[arg(long)]
    pub(crate) client_credentials: bool,

    /// Identity provider that knows the user
    #[arg(long, value_name = "ORIGIN", conflicts_with = "client_credentials")]
    pub(crate) origin: Option<String>,
}

/// Set or show the org and space to work in
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cup target                      show it
  cup target -o my-org            choose the org, and its space if it has only one
  cup target -o my-org -s dev")]
pub(crate) struct Target {
    /// Org
    #[arg(short = 'o', value_name = "ORG")]
    pub(crate) org: Option<String>,

    /// Space
    #[arg(short = 's', value_name = "SPACE")]
    pub(crate) space: Option<String>,
}
