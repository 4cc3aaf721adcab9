//! What starts the app: the `Procfile` of its author, or what the buildpack's release says.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Process types with their commands; `web` is the one that is run.
pub(crate) type Commands = BTreeMap<String, String>;

/// Largest `Procfile` or release document that is read, in bytes.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// A `Procfile` that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("the Procfile cannot be understood: {0}; it wants lines such as `web: ./start`")]
pub(crate) struct ProcfileError(String);

/// A release document that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("bin/release printed something else than a map with `default_process_types`: {0}")]
pub(crate) struct ReleaseError(String);

#[derive(Debug, Default, Deserialize)]
struct Release {
    #[serde(default)]
    default_process_types: Option<BTreeMap<String, Option<String>>>,
}

/// Reads a `Procfile`.
///
/// It is a YAML map by contract. Authors know it as lines of `type: command`, and some commands
/// (with a `: ` in them, or beginning with a quote that ends early) are fine lines but not YAML; so
/// lines are the second try.
pub(crate) fn procfile(text: &str) -> Result<Commands, ProcfileError> {
    let yaml: Result<BTreeMap<String, String>, _> = serde_saphyr::from_str(text);
    match yaml {
        Ok(commands) => Ok(commands),
        Err(error) => lines(text).ok_or_else(|| ProcfileError(first_line(&error.to_string()))),
    }
}

/// Reads what `bin/release` printed; empty output is an empty map.
pub(crate) fn release(text: &str) -> Result<Commands, ReleaseError> {
    if text.trim().is_empty() {
        return Ok(Commands::new());
    }
    let release: Release = serde_saphyr::from_str(text)
        .map_err(|error| ReleaseError(first_line(&error.to_string())))?;
    let types = release.default_process_types.unwrap_or_default();
    Ok(types
        .into_iter()
        .filter_map(|(name, command)| Some((name, command?)))
        .collect())
}

/// The command for `web`, if it says anything.
pub(crate) fn web(commands: &Commands) -> Option<&str> {
    commands
        .get("web")
        .map(|command| command.trim())
        .filter(|command| !command.is_empty())
}

fn lines(text: &str) -> Option<Commands> {
    let mut commands = Commands::new();
    for line in text.lines() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, command) = line.split_once(':')?;
        let (name, command) = (name.trim_end(), command.trim());
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(plain) || command.is_empty() {
            return None;
        }
        commands.insert(name.to_owned(), command.to_owned());
    }
    Some(commands)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn web_of(text: &str) -> Option<String> {
        web(&procfile(text).unwrap()).map(str::to_owned)
    }

    #[test]
    fn a_procfile_is_yaml_and_plain_lines_are_fine_too() {
        for (text, command) in [
            ("web: python3 server.py\n", "python3 server.py"),
            (
                "---\nworker: w\nweb:   ./start -p $PORT  # comment\n",
                "./start -p $PORT",
            ),
            ("web: \"node server.js\"\r\n", "node server.js"),
            (
                "# a comment\nweb: java -jar app.jar --note a: b\n",
                "java -jar app.jar --note a: b",
            ),
            ("web: \"$HOME/bin/run\" now\n", "\"$HOME/bin/run\" now"),
            ("web: 010", "010"),
        ] {
            assert_eq!(web_of(text).as_deref(), Some(command), "{text:?}");
        }
        assert_eq!(web_of("worker: w\n"), None);
        assert_eq!(web_of("web: ' '\n"), None);
    }

    #[test]
    fn other_things_are_no_procfile() {
        for text in [
            "just words\n",
            "- web\n- worker\n",
            "web:\n  command: x\n  y\n",
            "web\n",
            "{",
        ] {
            assert!(procfile(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_release_may_say_nothing_but_not_nonsense() {
        let types =
            release("---\ndefault_process_types:\n  web: ./x\n  console:\nother: [1]\n").unwrap();
        assert_eq!(
            types,
            Commands::from([("web".to_owned(), "./x".to_owned())])
        );
        for text in [
            "",
            "  \n",
            "---\ndefault_process_types: {}\n",
            "addons: []\n",
            "default_process_types:\n",
        ] {
            assert!(release(text).unwrap().is_empty(), "{text:?}");
        }
        for text in [
            "hello\n",
            "default_process_types: yes please\n",
            "- a\n",
            "{",
            "a: b: c\n",
        ] {
            assert!(release(text).is_err(), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in "(web|[a-z:#\"'{}\\[\\]&* \n-]){0,40}") {
            let _ = procfile(&text);
            let _ = release(&text);
        }
    }
}
