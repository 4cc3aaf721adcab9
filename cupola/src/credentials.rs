//! `cupola credentials`: what scripts and people need to log in.

use std::io::Write as _;

use anyhow::bail;

use crate::args::{DataArgs, Unusable};
use crate::data_folder::DataFolder;
use crate::identity::Identity;
use crate::status::Report;

/// The administrator that the first start makes.
pub(crate) const ADMIN: &str = "admin";

/// Prints `api=`, `user=`, `password=` and `domain=` lines.
pub(crate) fn show(args: &DataArgs) -> anyhow::Result<()> {
    let folder = DataFolder::open(&args.data_dir)?;
    let identity = Identity::load(&folder)?;
    let Some(report) = Report::read(&folder)? else {
        bail!(Unusable(format!(
            "{} was never started: run `cupola up --data-dir {}` first",
            folder.root().display(),
            folder.root().display()
        )));
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "api={}", report.api)?;
    writeln!(out, "user={ADMIN}")?;
    writeln!(out, "password={}", identity.admin_password)?;
    writeln!(out, "domain={}", report.domain)?;
    Ok(())
}
