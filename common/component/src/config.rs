//! A role's config file: `[component]`, `[bus]`, `[log]` and the section of the role itself.
//!
//! Defaults in code, then the file, then `CUPOLA_<SECTION>__<KEY>` from the environment. An
//! unknown key is an error that names the file or the variable, the key and the nearest key there
//! is. Variables for the sections of other roles are none of this role's business.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use cupola_types::{ComponentId, Role};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tracing_subscriber::EnvFilter;

use crate::bus::BusConfig;

/// Largest config file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A config that cannot be used. The process ends with status 64.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("config file {path} cannot be read")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than any config is.
    #[error("config file {path} has {bytes} bytes, more than the {MAX_FILE_BYTES} allowed")]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The file is not TOML.
    #[error("config file {path} is not valid TOML: {detail}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        detail: String,
    },
    /// A value is missing, unknown or out of range.
    #[error("config file {path}, section [{section}]: {detail}")]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Which section.
        section: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A variable of the environment sets what cannot be set, or to what it cannot be.
    #[error("environment variable {variable}: {detail}")]
    Variable {
        /// Which one; several when it cannot be told which of them it is.
        variable: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A section that no role has.
    #[error(
        "config file {path}: unknown section [{section}]; {role} reads [component], [bus], [log] and [{role}]"
    )]
    UnknownSection {
        /// Which file.
        path: PathBuf,
        /// The section.
        section: String,
        /// The role that reads the file.
        role: Role,
    },
}

/// Who this process is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComponentConfig {
    /// Which of its kind, from 0.
    #[serde(default)]
    pub index: u32,
    /// Its id on the bus, stable over restarts.
    pub id: ComponentId,
    /// Where `/healthz`, `/varz` and `/metrics` are served when no supervisor holds the socket.
    #[serde(default)]
    pub status_address: Option<SocketAddr>,
}

/// What is logged and how.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// A filter such as `info` or `info,cupola_dea=debug`; default `info`.
    pub filter: Option<String>,
    /// Text for people, or JSON for machines.
    pub format: LogFormat,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Everything a role's process reads at its start.
#[derive(Debug, Clone)]
pub struct RoleConfig<C> {
    /// Who this process is.
    pub component: ComponentConfig,
    /// How to reach the bus; absent only for the bus itself.
    pub bus: Option<BusConfig>,
    /// What is logged and how.
    pub log: LogConfig,
    /// The role's own section.
    pub role: C,
}

impl<C: DeserializeOwned> RoleConfig<C> {
    /// Reads `path` for `role`, with `environment` on top of it.
    ///
    /// # Errors
    /// A [`ConfigError`] that names the file, the section and the key, or the variable.
    pub fn load(
        path: &Path,
        role: Role,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let (config, _) = Self::of(read_toml(path)?, path, role, environment)?;
        Ok(config)
    }

    /// As [`load`](Self::load), from the contents of the file. Gives also what was read once the
    /// environment lies on top.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn of(
        from_file: toml::Table,
        path: &Path,
        role: Role,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<(Self, toml::Table), ConfigError> {
        let mut merged = from_file.clone();
        let variables = overlay_environment(&mut merged, role, environment)?;
        let known = ["component", "bus", "log", role.as_str()];
        if let Some(section) = merged.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(ConfigError::UnknownSection {
                path: path.to_owned(),
                section: section.clone(),
                role,
            });
        }
        let sources = Sources {
            path,
            from_file: &from_file,
            merged: &merged,
            variables: &variables,
        };
        let bus = match merged.contains_key("bus") && role != Role::Bus {
            true => Some(sources.section("bus")?),
            false => None,
        };
        let log: LogConfig = sources.section("log")?;
        log.check().map_err(|detail| sources.blame("log", detail))?;
        let config = Self {
            component: sources.section("component")?,
            bus,
            log,
            role: sources.section(role.as_str())?,
        };
        Ok((config, merged))
    }
}

impl LogConfig {
    /// What is wrong with the filter, when something is.
    fn check(&self) -> Result<(), String> {
        match self.filter.as_deref().map(EnvFilter::try_new) {
            Some(Err(error)) => Err(format!("`filter` is none: {error}")),
            Some(Ok(_)) | None => Ok(()),
        }
    }
}

/// Where settings come from: the file, and the environment on top of it.
struct Sources<'a> {
    path: &'a Path,
    from_file: &'a toml::Table,
    merged: &'a toml::Table,
    /// The variables that have a say, each with its section and key.
    variables: &'a [Variable],
}

/// `CUPOLA_<SECTION>__<KEY>`.
struct Variable {
    name: String,
    section: String,
    key: String,
}

impl Sources<'_> {
    fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, ConfigError> {
        let read = |table: &toml::Table| -> Result<T, String> {
            let value = table.get(name).cloned();
            let value = value.unwrap_or_else(|| toml::Value::Table(toml::Table::new()));
            value
                .try_into()
                .map_err(|error: toml::de::Error| error.message().trim_end().to_owned())
        };
        read(self.merged).map_err(|message| {
            let detail = with_suggestion(&message);
            match read(self.from_file).err() == Some(message) {
                true => self.blame_file(name, detail),
                false => self.blame(name, detail),
            }
        })
    }

    /// An error of a section for which a variable is to blame, if one touches the section.
    fn blame(&self, section: &str, detail: String) -> ConfigError {
        let touching = self.variables.iter().filter(|v| v.section == section);
        let culprit = detail.split('`').nth(1).unwrap_or_default();
        let named: Vec<&str> = touching
            .clone()
            .filter(|v| v.key == culprit)
            .map(|v| v.name.as_str())
            .collect();
        let all: Vec<&str> = touching.map(|v| v.name.as_str()).collect();
        match (&*named, &*all) {
            ([], []) => self.blame_file(section, detail),
            ([], variables) | (variables, _) => ConfigError::Variable {
                variable: variables.join(" or "),
                detail,
            },
        }
    }

    fn blame_file(&self, section: &str, detail: String) -> ConfigError {
        ConfigError::Invalid {
            path: self.path.to_owned(),
            section: section.to_owned(),
            detail,
        }
    }
}

fn read_toml(path: &Path) -> Result<toml::Table, ConfigError> {
    let read = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::metadata(path).map_err(read)?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(ConfigError::TooLarge {
            path: path.to_owned(),
            bytes,
        });
    }
    let text = std::fs::read_to_string(path).map_err(read)?;
    text.parse()
        .map_err(|error: toml::de::Error| ConfigError::Syntax {
            path: path.to_owned(),
            detail: error.to_string(),
        })
}

/// `CUPOLA_DEA__MEMORY_MB=2048` sets `memory_mb` in `[dea]`. The value is read as TOML when it is
/// some, else as text.
fn overlay_environment(
    table: &mut toml::Table,
    role: Role,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Vec<Variable>, ConfigError> {
    let own = ["component", "bus", "log", role.as_str()];
    let mut variables = Vec::new();
    for (name, value) in environment {
        let Some(path) = name.strip_prefix("CUPOLA_") else {
            continue;
        };
        let keys: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
        let [section, rest @ ..] = keys.as_slice() else {
            continue;
        };
        let [tables @ .., key] = rest else {
            continue; // `CUPOLA_X` without a section is no setting of a role
        };
        let of_others = section == "cupola" || section.parse::<Role>().is_ok();
        if !own.contains(&section.as_str()) {
            if of_others {
                continue;
            }
            let roles = Role::ALL.iter().map(|role| role.as_str());
            let near = nearest(section, roles.chain(own));
            let hint = near.map(|near| format!(" (did you mean [{near}]?)"));
            return Err(ConfigError::Variable {
                variable: name,
                detail: format!(
                    "there is no section [{section}]{}",
                    hint.unwrap_or_default()
                ),
            });
        }
        let mut at = &mut *table;
        for table in std::iter::once(section).chain(tables) {
            let entry = at
                .entry(table.clone())
                .or_insert_with(|| toml::Value::Table(toml::Table::new()));
            let toml::Value::Table(inner) = entry else {
                return Err(ConfigError::Variable {
                    variable: name,
                    detail: format!("`{table}` is a value and no section"),
                });
            };
            at = inner;
        }
        let parsed = format!("v = {value}")
            .parse::<toml::Table>()
            .ok()
            .and_then(|mut parsed| parsed.remove("v"))
            .unwrap_or(toml::Value::String(value));
        at.insert(key.clone(), parsed);
        variables.push(Variable {
            section: section.clone(),
            key: key.clone(),
            name,
        });
    }
    Ok(variables)
}

/// Adds "did you mean" to serde's sentence about an unknown field.
fn with_suggestion(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let suggestion =
        if message.starts_with("unknown field") || message.starts_with("unknown variant") {
            quoted.next().and_then(|unknown| nearest(unknown, quoted))
        } else {
            None
        };
    match suggestion {
        Some(known) => format!("{} (did you mean `{known}`?)", message.trim_end()),
        None => message.trim_end().to_owned(),
    }
}

/// The candidate that is most like `word`, when one is like it at all.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (edit_distance(word, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 3)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Section {
        memory_mb: u32,
        #[serde(default)]
        zone: String,
    }

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<RoleConfig<Section>, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let environment = environment
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        RoleConfig::load(file.path(), Role::Dea, environment)
    }

    const GOOD: &str = "[component]\nid = \"d1\"\n[dea]\nmemory_mb = 512\n";

    #[test]
    fn the_environment_wins_over_the_file() {
        let config = load(
            GOOD,
            &[
                ("CUPOLA_DEA__MEMORY_MB", "1024"),
                ("CUPOLA_DEA__ZONE", "z1"),
            ],
        );
        let role = config.unwrap().role;
        assert_eq!((role.memory_mb, role.zone.as_str()), (1024, "z1"));
    }

    #[test]
    fn a_mistyped_key_in_the_environment_names_its_variable() {
        let text = |variables: &[(&str, &str)]| load(GOOD, variables).unwrap_err().to_string();
        let said = text(&[("CUPOLA_DEA__ZONE", "z"), ("CUPOLA_DEA__MEMROY_MB", "1")]);
        assert!(said.contains("CUPOLA_DEA__MEMROY_MB:"), "{said}");
        assert!(said.contains("did you mean `memory_mb`?"), "{said}");
        assert!(!said.contains("DEA__ZONE"), "{said}");
        let said = text(&[("CUPOLA_DEA__MEMORY_MB", "much")]);
        assert!(said.contains("CUPOLA_DEA__MEMORY_MB:"), "{said}");
        let said = text(&[("CUPOLA_DAE__ZONE", "z")]);
        assert!(
            said.contains("CUPOLA_DAE__ZONE:") && said.contains("[dea]"),
            "{said}"
        );
        let said = text(&[("CUPOLA_DEA__MEMORY_MB__X", "1")]);
        assert!(said.contains("CUPOLA_DEA__MEMORY_MB__X:"), "{said}");
    }

    #[test]
    fn a_mistake_in_the_file_is_not_blamed_on_the_environment() {
        let file = "[component]\nid = \"d1\"\n[dea]\nmemory_md = 512\n";
        let error = load(file, &[("CUPOLA_DEA__ZONE", "z1")]).unwrap_err();
        assert!(matches!(error, ConfigError::Invalid { .. }), "{error}");
    }

    #[test]
    fn variables_for_other_roles_do_no_harm() {
        let variables = [
            ("CUPOLA_ROUTER__X", "1"),
            ("CUPOLA_HEALTH_MANAGER__TIMING__SETTLE", "1s"),
            ("CUPOLA_CUPOLA__DOMAIN", "x"),
            ("CUPOLA_DATA_DIR", "/x"),
        ];
        assert!(load(GOOD, &variables).is_ok());
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        let file = format!("{GOOD}[log]\nfilter = \"cupola=loud\"\n");
        let said = load(&file, &[]).unwrap_err().to_string();
        assert!(
            said.contains("[log]") && said.contains("`filter`"),
            "{said}"
        );
    }

    #[test]
    fn an_unknown_key_is_named_with_its_nearest() {
        let error = load("[component]\nid = \"d1\"\n[dea]\nmemory_md = 512\n", &[]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("[dea]") && text.contains("did you mean `memory_mb`?"),
            "{text}"
        );
    }

    #[test]
    fn a_section_of_another_role_is_refused() {
        let error = load(&format!("{GOOD}[router]\nx = 1\n"), &[]).unwrap_err();
        assert!(error.to_string().contains("[router]"), "{error}");
    }

    #[test]
    fn a_missing_value_and_a_missing_file_name_themselves() {
        let text = load("[component]\nid = \"d1\"\n", &[])
            .unwrap_err()
            .to_string();
        assert!(text.contains("memory_mb"), "{text}");
        let missing = Path::new("/nonexistent/dea.toml");
        let error = RoleConfig::<Section>::load(missing, Role::Dea, std::iter::empty());
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("/nonexistent/dea.toml")
        );
    }

    #[test]
    fn nothing_is_suggested_when_nothing_is_near() {
        assert_eq!(nearest("xyzzy", ["memory", "disk"].into_iter()), None);
        assert_eq!(
            nearest("memroy", ["memory", "disk"].into_iter()),
            Some("memory")
        );
    }
}
