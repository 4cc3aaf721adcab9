//! The `Staticfile`: one `key: value` a line.

/// Largest `Staticfile` or `Staticfile.auth` that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 64 * 1024;

/// What a site wants. The default is what an empty `Staticfile` means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Folder to serve, relative to the app; used when the droplet is built.
    pub root: Option<String>,
    /// Folders without an index page are listed.
    pub directory: bool,
    /// Paths that do not exist get the index page, for apps that route in the browser.
    pub pushstate: bool,
    /// Names that begin with a dot are served.
    pub host_dot_files: bool,
    /// Requests that reached the router in the clear are sent to https.
    pub force_https: bool,
    /// Browsers are told to come by https only, from now on.
    pub strict_transport_security: bool,
}

/// A line that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Staticfile, line {line}: {problem}")]
pub struct OptionsError {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// Options, and the keys that mean nothing here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// What was understood.
    pub options: Options,
    /// Keys that were not; a person should hear of them.
    pub unknown: Vec<String>,
}

// === impl Options ===

impl Options {
    /// Reads the text of a `Staticfile`.
    ///
    /// # Errors
    /// Names the first line that is not `key: value` or whose value is not one of the allowed ones.
    pub fn parse(text: &str) -> Result<Parsed, OptionsError> {
        let mut parsed = Parsed::default();
        for (number, raw) in text.lines().enumerate() {
            let line = raw.split(" #").next().unwrap_or(raw).trim();
            if line.is_empty() || line.starts_with('#') || line == "---" {
                continue;
            }
            let wrong = |problem: String| OptionsError {
                line: number + 1,
                problem,
            };
            let (key, value) = line
                .split_once(':')
                .ok_or_else(|| wrong(format!("`{line}` is not `key: value`")))?;
            let (key, value) = (key.trim(), unquote(value.trim()));
            let switch = |on: &str| switch(key, value, on).map_err(&wrong);
            let options = &mut parsed.options;
            match key {
                "root" => options.root = root(value).map_err(wrong)?,
                "directory" => options.directory = switch("visible")?,
                "pushstate" => options.pushstate = switch("enabled")?,
                "host_dot_files" => options.host_dot_files = switch("true")?,
                "force_https" => options.force_https = switch("true")?,
                "http_strict_transport_security" => {
                    options.strict_transport_security = switch("true")?;
                }
                other => parsed.unknown.push(other.to_owned()),
            }
        }
        Ok(parsed)
    }
}

fn unquote(value: &str) -> &str {
    let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    quoted('"').or_else(|| quoted('\'')).unwrap_or(value)
}

/// `on`, `true` and their opposites; anything else is a mistake, not "off".
fn switch(key: &str, value: &str, on: &str) -> Result<bool, String> {
    match value {
        "true" | "enabled" => Ok(true),
        _ if value == on => Ok(true),
        "false" | "disabled" | "" => Ok(false),
        _ => Err(format!("`{key}` is `{value}`; it can be `{on}` or `false`")),
    }
}

fn root(value: &str) -> Result<Option<String>, String> {
    let value = value.trim_end_matches('/');
    let inside = value
        .split('/')
        .all(|part| part != ".." && !part.contains('\0'));
    match value {
        "" | "." => Ok(None),
        _ if value.starts_with('/') || !inside => Err(format!(
            "`root` is `{value}`; it must be a folder of the app"
        )),
        _ => Ok(Some(value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn an_empty_file_means_the_defaults() {
        for text in ["", "\n\n", "---\n# a comment\n", "  # indented\n"] {
            assert_eq!(Options::parse(text).unwrap(), Parsed::default());
        }
    }

    #[test]
    fn every_option_is_understood() {
        let text = "root: 'public/site/'\ndirectory: visible\npushstate: enabled # yes\n\
                    host_dot_files: true\nforce_https: true\nhttp_strict_transport_security: true\n";
        let parsed = Options::parse(text).unwrap();
        assert_eq!(
            parsed.options,
            Options {
                root: Some("public/site".to_owned()),
                directory: true,
                pushstate: true,
                host_dot_files: true,
                force_https: true,
                strict_transport_security: true,
            }
        );
        assert!(parsed.unknown.is_empty());
    }

    #[test]
    fn keys_of_other_servers_are_named_not_refused() {
        let parsed = Options::parse("ssi: enabled\nlocation_include: x.conf\n").unwrap();
        assert_eq!(parsed.unknown, ["ssi", "location_include"]);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, line) in [
            ("directory: visible\nnonsense\n", 2),
            ("directory: maybe\n", 1),
            ("root: ../elsewhere\n", 1),
            ("root: /etc\n", 1),
        ] {
            assert_eq!(Options::parse(text).unwrap_err().line, line, "{text}");
        }
    }
}
