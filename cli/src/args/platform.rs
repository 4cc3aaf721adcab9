//! Talking to the API by hand, and to the shell.

use std::path::PathBuf;

/// Send a request to the API with your token
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cup curl /v2/info
  cup curl '/v2/apps?q=name:my-app'
  cup curl /v2/apps/GUID -X PUT -d '{\"instances\": 2}'
  cup curl /v2/organizations -X POST -d @org.json

The exit code is 0 whatever the API answers, as with curl; -i shows the status.")]
pub(crate) struct Curl {
    /// Path of the API
    #[arg(value_name = "PATH")]
    pub(crate) path: String,

    /// Method (default: GET, or POST with -d)
    #[arg(short = 'X', value_name = "METHOD")]
    pub(crate) method: Option<String>,

    /// Header, as 'Name: value'; may be repeated
    #[arg(short = 'H', value_name = "HEADER")]
    pub(crate) headers: Vec<String>,

    /// Body, or @FILE
    #[arg(short = 'd', value_name = "DATA", allow_hyphen_values = true)]
    pub(crate) data: Option<String>,

    /// Print status and headers too
    #[arg(short = 'i')]
    pub(crate) include: bool,

    /// Write to a file instead of stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cup completions bash > /etc/bash_completion.d/cup
  cup completions zsh > ~/.zfunc/_cup
  cup completions fish > ~/.config/fish/completions/cup.fish")]
pub(crate) struct Completions {
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}
