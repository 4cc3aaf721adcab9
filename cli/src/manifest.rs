//! `manifest.yml`: which apps to push and how.
//!
//! The file is read into a tree that knows the line of everything ([`yaml`]), variables are put
//! in ([`variables`]), defaults are merged into each app, and only then is each key given its
//! meaning ([`app`]). So every complaint names file, line and key.

mod app;
mod variables;
mod yaml;

pub(crate) use app::{AppManifest, Health, LONGEST_HEALTH_TIMEOUT, MOST_INSTANCES};
pub(crate) use variables::Variables;

use std::path::{Path, PathBuf};

use yaml::{Node, Value};

/// The keys that may stand beside `applications`, besides those of an app, which are then
/// defaults for all apps.
const TOP_KEYS: [&str; 2] = ["applications", "version"];

#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{}{}: {problem}", path.display(), place(*line))]
    Syntax {
        path: PathBuf,
        line: u64,
        problem: String,
    },
    #[error("{}{}: {key}: {problem}", path.display(), place(*line))]
    Key {
        path: PathBuf,
        line: u64,
        key: String,
        problem: String,
    },
}

fn place(line: u64) -> String {
    if line == 0 {
        String::new()
    } else {
        format!(":{line}")
    }
}

/// Makes the errors of one file.
#[derive(Debug, Clone, Copy)]
struct Complaints<'a> {
    path: &'a Path,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) path: PathBuf,
    pub(crate) apps: Vec<AppManifest>,
}

// === impl Complaints ===

impl Complaints<'_> {
    fn key(self, line: u64, key: &str, problem: impl Into<String>) -> ManifestError {
        ManifestError::Key {
            path: self.path.to_owned(),
            line,
            key: key.to_owned(),
            problem: problem.into(),
        }
    }

    fn syntax(self, line: u64, problem: impl Into<String>) -> ManifestError {
        ManifestError::Syntax {
            path: self.path.to_owned(),
            line,
            problem: problem.into(),
        }
    }
}

// === impl Manifest ===

impl Manifest {
    /// Reads the file, or `manifest.yml` in it when it is a folder.
    pub(crate) fn read(path: &Path, variables: &Variables) -> Result<Self, ManifestError> {
        let path = if path.is_dir() {
            in_folder(path)
        } else {
            path.to_owned()
        };
        let text = yaml::read_text(&path).map_err(|source| ManifestError::Read {
            path: path.clone(),
            source,
        })?;
        Self::parse(&path, &text, variables)
    }

    /// The manifest that is found without being named, if there is one.
    pub(crate) fn find(folder: &Path) -> Option<PathBuf> {
        ["manifest.yml", "manifest.yaml"]
            .map(|name| folder.join(name))
            .into_iter()
            .find(|p| p.is_file())
    }

    fn parse(path: &Path, text: &str, variables: &Variables) -> Result<Self, ManifestError> {
        let complaints = Complaints { path };
        let mut root =
            yaml::parse(text).map_err(|error| complaints.syntax(error.line, error.problem))?;
        variables.fill(&mut root).map_err(|missing| {
            complaints.key(
                missing.line,
                &format!("(({}))", missing.name),
                "no value is given for it; use --var NAME=VALUE or --vars-file FILE",
            )
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let apps = split(root, complaints)?
            .into_iter()
            .map(|app| AppManifest::read(&app, folder, complaints))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            path: path.to_owned(),
            apps,
        })
    }
}

fn in_folder(folder: &Path) -> PathBuf {
    Manifest::find(folder).unwrap_or_else(|| folder.join("manifest.yml"))
}

/// One tree per app, with the defaults merged in. A manifest without `applications` is one app.
fn split(root: Node, complaints: Complaints<'_>) -> Result<Vec<Node>, ManifestError> {
    let line = root.line;
    let Value::Map(entries) = root.value else {
        return Err(complaints.syntax(line, "expected a map with the key 'applications'"));
    };
    let mut defaults = Vec::new();
    let mut listed = None;
    for (key, node) in entries {
        if key.text == "applications" {
            listed = Some(node);
        } else if TOP_KEYS.contains(&key.text.as_str()) {
            // `version` only says which schema was meant; there is one.
        } else if app::is_known(&key.text) {
            defaults.push((key, node));
        } else if !matches!(node.value, Value::Map(_) | Value::List(_)) {
            return Err(app::unknown_key(&key, &TOP_KEYS, complaints));
        }
        // A map under an unknown name only holds anchors for others to merge.
    }
    let defaults = Node {
        value: Value::Map(defaults),
        line,
    };
    let Some(listed) = listed else {
        return Ok(vec![defaults]);
    };
    let Value::List(items) = listed.value else {
        return Err(complaints.key(listed.line, "applications", "expected a list of apps"));
    };
    if items.is_empty() {
        return Err(complaints.key(listed.line, "applications", "the list is empty"));
    }
    items
        .into_iter()
        .map(|app| match app.value {
            Value::Map(_) => Ok(yaml::merge(&defaults, app)),
            _ => Err(complaints.key(app.line, "applications", "expected a map for each app")),
        })
        .collect()
}

#[cfg(test)]
mod tests;
