//! Which buildpacks a build uses, and where each comes from.

use cupola_messages::staging::StartStaging;

use crate::builtin::Carried;
use crate::failure::Failure;

/// Where a buildpack comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The stager carries it.
    Carried,
    /// A zip archive to download.
    Zip(String),
    /// A git repository to clone, at a branch, tag or commit if one is named.
    Git {
        url: String,
        revision: Option<String>,
    },
}

/// One buildpack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Buildpack {
    /// What people call it.
    pub(crate) key: String,
    pub(crate) source: Source,
}

/// What a build does about buildpacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The first that wants the app.
    Detect(Vec<Buildpack>),
    /// This one, asked for by name; whether it wants the app does not matter.
    Given(Buildpack),
}

impl Choice {
    /// What `order` says.
    pub(crate) fn of(order: &StartStaging, carried: &Carried) -> Result<Self, Failure> {
        let installed = &order.admin_buildpacks;
        let properties = &order.properties;
        let wished = given(properties.buildpack_git_url.as_deref());
        if let Some(wish) = wished.or_else(|| given(properties.buildpack_key.as_deref())) {
            // What the controller does not know by name it passes on as a URL.
            if wish.contains("://") {
                return Ok(Self::Given(git(wish)?));
            }
            let uploaded = installed
                .iter()
                .find(|pack| pack.key == wish && pack.url.is_some());
            let found = match (
                uploaded.and_then(|pack| pack.url.clone()),
                carried.find(wish),
            ) {
                (Some(url), _) => Buildpack {
                    key: wish.to_owned(),
                    source: Source::Zip(url),
                },
                (None, Some(key)) => carried_one(key),
                (None, None) => return Err(unknown(wish, order, carried)),
            };
            return Ok(Self::Given(found));
        }
        if installed.is_empty() {
            return Ok(Self::Detect(
                carried.keys().iter().map(|key| carried_one(key)).collect(),
            ));
        }
        let choose = |key: &str, url: &Option<String>| match url {
            Some(url) => Ok(Buildpack {
                key: key.to_owned(),
                source: Source::Zip(url.clone()),
            }),
            None => carried
                .find(key)
                .map(carried_one)
                .ok_or_else(|| unknown(key, order, carried)),
        };
        installed
            .iter()
            .map(|pack| choose(&pack.key, &pack.url))
            .collect::<Result<_, _>>()
            .map(Self::Detect)
    }
}

fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

fn carried_one(key: &str) -> Buildpack {
    Buildpack {
        key: key.to_owned(),
        source: Source::Carried,
    }
}

fn git(text: &str) -> Result<Buildpack, Failure> {
    let (url, revision) = match text.split_once('#') {
        Some((url, revision)) => (url, given(Some(revision))),
        None => (text, None),
    };
    let plain = |text: &str| {
        !text.starts_with('-') && !text.contains(char::is_whitespace) && !text.contains('\0')
    };
    let reachable = ["https://", "http://", "git://"]
        .iter()
        .any(|scheme| url.starts_with(scheme));
    if !reachable || !plain(url) || !revision.is_none_or(plain) {
        return Err(Failure::BuildpackUrl {
            url: without_password(url),
        });
    }
    let revision = revision.map(str::to_owned);
    Ok(Buildpack {
        key: without_password(url),
        source: Source::Git {
            url: url.to_owned(),
            revision,
        },
    })
}

/// The URL as it may be shown: people put tokens into it.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

fn unknown(key: &str, order: &StartStaging, carried: &Carried) -> Failure {
    let mut known: Vec<String> = order
        .admin_buildpacks
        .iter()
        .map(|pack| pack.key.clone())
        .collect();
    for key in carried.keys() {
        if !known.contains(key) {
            known.push(key.clone());
        }
    }
    Failure::UnknownBuildpack {
        key: key.to_owned(),
        known: known.join(", "),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use serde_json::{Value, json};

    use super::*;

    fn choose(properties: Value, installed: Value) -> Result<Choice, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let carried = Carried::lay_out(folder.path().join("b")).unwrap();
        let order = json!({
            "app_id": "a", "task_id": "t", "properties": properties, "admin_buildpacks": installed,
            "download_uri": "", "upload_uri": "", "completed_uri": "",
            "memory_limit": 64, "disk_limit": 64, "timeout": 60,
        });
        Choice::of(&serde_json::from_value(order).unwrap(), &carried)
    }

    fn zip(key: &str, url: &str) -> Buildpack {
        Buildpack {
            key: key.to_owned(),
            source: Source::Zip(url.to_owned()),
        }
    }

    #[test]
    fn without_a_wish_the_carried_ones_are_tried_in_order() {
        let Choice::Detect(packs) = choose(json!({}), json!([])).unwrap() else {
            panic!("given")
        };
        let keys: Vec<_> = packs.iter().map(|pack| pack.key.as_str()).collect();
        assert_eq!(
            keys,
            ["staticfile", "python", "nodejs", "procfile", "binary"]
        );
    }

    #[test]
    fn installed_ones_decide_the_order() {
        let installed = json!([{"key": "mine", "url": "http://b/1"}, {"key": "python_buildpack"}]);
        let choice = choose(json!({"buildpack_key": " "}), installed).unwrap();
        assert_eq!(
            choice,
            Choice::Detect(vec![zip("mine", "http://b/1"), carried_one("python")])
        );
    }

    #[test]
    fn a_buildpack_asked_for_by_name_is_taken() {
        let installed = json!([{"key": "mine", "url": "http://b/1"}]);
        let asked = |key: &str| choose(json!({"buildpack_key": key}), installed.clone());
        assert_eq!(
            asked("mine").unwrap(),
            Choice::Given(zip("mine", "http://b/1"))
        );
        assert_eq!(
            asked("binary_buildpack").unwrap(),
            Choice::Given(carried_one("binary"))
        );
        let said = asked("ruby").unwrap_err().to_string();
        assert!(
            said.contains("ruby") && said.contains("mine, staticfile"),
            "{said}"
        );
    }

    #[test]
    fn a_buildpack_may_be_a_git_repository() {
        let asked = |url: &str| choose(json!({"buildpack_git_url": url}), json!([]));
        let Choice::Given(pack) = asked("https://me:token@git.test/x/y.git#v1").unwrap() else {
            panic!("detect")
        };
        assert_eq!(pack.key, "https://git.test/x/y.git");
        let url = "https://me:token@git.test/x/y.git".to_owned();
        assert_eq!(
            pack.source,
            Source::Git {
                url,
                revision: Some("v1".to_owned())
            }
        );
        for url in [
            "file:///etc",
            "ext::sh -c x",
            "--upload-pack=x",
            "https://h/x#--evil",
            "ssh://u:secret@h/x",
        ] {
            let said = asked(url).unwrap_err().to_string();
            assert!(!said.contains("secret"), "{said}");
        }
    }
}
