//! `cupola up --sample DIR`: pushes an app once everything runs, the way a person would.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::credentials::ADMIN;
use crate::data_folder::DataFolder;
use crate::supervisor::say;

/// Pushes the app in `app` unless it is there already; says how it went.
pub(crate) async fn push(
    app: PathBuf,
    folder: DataFolder,
    api: String,
    password: String,
    shutdown: CancellationToken,
) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        pushed = push_unless_there(&app, &folder, &api, &password) => if let Err(error) = pushed {
            say(&format!("the sample app was not pushed: {error:#}"));
        }
    }
}

async fn push_unless_there(
    app: &Path,
    folder: &DataFolder,
    api: &str,
    password: &str,
) -> anyhow::Result<()> {
    let name = app
        .file_name()
        .and_then(|name| name.to_str())
        .context("the folder has no name")?;
    let cup = Cup::beside_this_program(app, folder)?;
    cup.run(&["api", api]).await?;
    cup.log_in(password).await?;
    cup.run(&["target", "-o", "cupola", "-s", "dev"]).await?;
    if cup.run(&["app", name, "--guid"]).await.is_err() {
        say(&format!("pushing the sample app from {}", app.display()));
        // From its own folder, so that its manifest counts.
        cup.run(&["push", name]).await?;
    }
    say(&cup.run(&["app", name]).await?);
    Ok(())
}

/// The command-line client, run from the app's folder with a home of its own in the data folder.
struct Cup {
    program: PathBuf,
    app: PathBuf,
    home: PathBuf,
}

impl Cup {
    fn beside_this_program(app: &Path, folder: &DataFolder) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?.with_file_name("cup");
        if !program.exists() {
            bail!(
                "{} is not there: build it with `make build`",
                program.display()
            );
        }
        Ok(Self {
            program,
            app: app.to_owned(),
            home: folder.root().join("run/sample"),
        })
    }

    /// Runs a command; gives what it printed, or fails with it.
    async fn run(&self, args: &[&str]) -> anyhow::Result<String> {
        self.run_with(args, &[]).await
    }

    /// Every user of the machine can read a process's arguments; not so its environment.
    async fn log_in(&self, password: &str) -> anyhow::Result<String> {
        let who = [("CUP_USERNAME", ADMIN), ("CUP_PASSWORD", password)];
        self.run_with(&["auth"], &who).await
    }

    async fn run_with(
        &self,
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> anyhow::Result<String> {
        let output = Command::new(&self.program)
            .args(args)
            .envs(environment.iter().copied())
            .current_dir(&self.app)
            .env("CUP_HOME", &self.home)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        let printed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            bail!(
                "cup {}: {printed}\n{complaint}",
                args.first().copied().unwrap_or_default()
            );
        }
        Ok(printed)
    }
}
