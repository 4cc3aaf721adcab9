//! Where the programs and samples are.

use std::path::{Path, PathBuf};

/// The folder of the whole project.
#[must_use]
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("the kit lies two folders below the root")
        .to_owned()
}

/// A sample app.
///
/// # Panics
/// When there is none of that name.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    let path = workspace_root().join("examples").join(name);
    assert!(path.is_dir(), "there is no example {name}");
    path
}

/// A program that was built along with this test.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let beside = this
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name));
    beside
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!(
                "{name} is not built beside {}: run `cargo build --workspace --bins`",
                this.display()
            )
        })
}
