//! One app of a manifest: every key given its meaning.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cupola_types::{DiskMb, MemoryMb};

use super::yaml::{Key, Node, Value};
use super::{Complaints, ManifestError};

/// Longest health check timeout that the platform takes, in seconds.
pub(crate) const LONGEST_HEALTH_TIMEOUT: u32 = 180;
/// More instances than this are a slip of the finger.
pub(crate) const MOST_INSTANCES: u32 = 10_000;

const KNOWN: [&str; 26] = [
    "buildpack",
    "buildpacks",
    "command",
    "disk_quota",
    "domain",
    "domains",
    "env",
    "health-check-http-endpoint",
    "health-check-type",
    "host",
    "hosts",
    "instances",
    "memory",
    "name",
    "no-hostname",
    "no-route",
    "path",
    "random-route",
    "routes",
    "services",
    "stack",
    "timeout",
    // Known, and refused or skipped with a reason.
    "docker",
    "inherit",
    "processes",
    "sidecars",
];

/// How the platform finds out whether an instance is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Port,
    Http,
    Process,
}

/// What the manifest says about an app; what it does not say is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AppManifest {
    pub(crate) name: Option<String>,
    /// Relative paths count from the folder of the manifest.
    pub(crate) path: Option<PathBuf>,
    pub(crate) memory: Option<MemoryMb>,
    pub(crate) disk: Option<DiskMb>,
    pub(crate) instances: Option<u32>,
    /// Empty for "detect it again".
    pub(crate) buildpack: Option<String>,
    /// Empty for "what the buildpack says".
    pub(crate) command: Option<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) hosts: Vec<String>,
    pub(crate) domains: Vec<String>,
    pub(crate) routes: Vec<String>,
    pub(crate) no_hostname: bool,
    pub(crate) no_route: bool,
    pub(crate) random_route: bool,
    pub(crate) health_timeout: Option<u32>,
    pub(crate) health: Option<Health>,
    pub(crate) health_endpoint: Option<String>,
    pub(crate) services: Vec<String>,
    pub(crate) stack: Option<String>,
}

// === impl Health ===

impl Health {
    /// The word of the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Port => "port",
            Self::Http => "http",
            Self::Process => "process",
        }
    }
}

impl std::str::FromStr for Health {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "port" => Ok(Self::Port),
            "http" => Ok(Self::Http),
            "process" | "none" => Ok(Self::Process),
            _ => Err(format!(
                "{text:?} is no health check: write port, http or process"
            )),
        }
    }
}

// === impl AppManifest ===

impl AppManifest {
    pub(super) fn read(
        app: &Node,
        folder: &Path,
        complaints: Complaints<'_>,
    ) -> Result<Self, ManifestError> {
        let Value::Map(entries) = &app.value else {
            return Err(complaints.syntax(app.line, "expected a map for the app"));
        };
        let mut manifest = Self::default();
        for (key, node) in entries {
            manifest.set(key, node, folder, complaints)?;
        }
        manifest.check(entries, complaints)?;
        Ok(manifest)
    }

    fn set(
        &mut self,
        key: &Key,
        node: &Node,
        folder: &Path,
        complaints: Complaints<'_>,
    ) -> Result<(), ManifestError> {
        let entry = Entry {
            key,
            node,
            complaints,
        };
        match key.text.as_str() {
            "name" => self.name = Some(entry.filled_text()?),
            "path" => self.path = Some(folder.join(entry.filled_text()?)),
            "memory" => self.memory = Some(entry.parsed()?),
            "disk_quota" => self.disk = Some(entry.parsed()?),
            "instances" => self.instances = Some(entry.number(MOST_INSTANCES)?),
            "buildpack" => self.buildpack = Some(or_default(entry.text()?)),
            "buildpacks" => self.buildpack = Some(entry.only_buildpack()?),
            "command" => self.command = Some(or_default(entry.text()?)),
            "env" => self.env = entry.variables()?,
            "host" => self.hosts.insert(0, entry.filled_text()?),
            "hosts" => self.hosts.extend(entry.texts()?),
            "domain" => self.domains.insert(0, entry.filled_text()?),
            "domains" => self.domains.extend(entry.texts()?),
            "routes" => self.routes = entry.routes()?,
            "no-hostname" => self.no_hostname = entry.switch()?,
            "no-route" => self.no_route = entry.switch()?,
            "random-route" => self.random_route = entry.switch()?,
            "timeout" => self.health_timeout = Some(entry.number(LONGEST_HEALTH_TIMEOUT)?),
            "health-check-type" => self.health = Some(entry.parsed()?),
            "health-check-http-endpoint" => self.health_endpoint = Some(entry.filled_text()?),
            "services" => self.services = entry.services()?,
            "stack" => self.stack = Some(entry.filled_text()?),
            "docker" => return Err(entry.complain("images are not supported; push a folder")),
            "inherit" => {
                return Err(entry.complain("is not supported; use a YAML anchor and '<<: *name'"));
            }
            "processes" | "sidecars" => {
                return Err(entry.complain("is not supported; an app has one process here"));
            }
            _ => return Err(unknown_key(key, &KNOWN, complaints)),
        }
        Ok(())
    }

    /// Keys that contradict each other.
    fn check(
        &self,
        entries: &[(Key, Node)],
        complaints: Complaints<'_>,
    ) -> Result<(), ManifestError> {
        let line_of = |name: &str| {
            entries
                .iter()
                .find(|(key, _)| key.text == name)
                .map_or(0, |(key, _)| key.line)
        };
        let both = |a: &str, b: &str| {
            Err(complaints.key(line_of(b), b, format!("cannot be used together with '{a}'")))
        };
        let old_style = ["host", "hosts", "domain", "domains", "no-hostname"]
            .into_iter()
            .find(|name| line_of(name) > 0);
        match old_style {
            Some(old) if !self.routes.is_empty() => return both(old, "routes"),
            _ => {}
        }
        if self.no_route && self.random_route {
            return both("no-route", "random-route");
        }
        if self.health_endpoint.is_some() && !matches!(self.health, None | Some(Health::Http)) {
            return both("health-check-type", "health-check-http-endpoint");
        }
        Ok(())
    }
}

/// `null` and `default` ask the platform to choose again.
fn or_default(text: String) -> String {
    if text == "default" || text == "null" {
        String::new()
    } else {
        text
    }
}

pub(super) fn is_known(key: &str) -> bool {
    KNOWN.contains(&key)
}

/// The complaint about a key that does not exist, with the nearest that does.
pub(super) fn unknown_key(key: &Key, more: &[&str], complaints: Complaints<'_>) -> ManifestError {
    let nearest = KNOWN
        .iter()
        .chain(more)
        .map(|known| (distance(&key.text, known), known))
        .min()
        .filter(|(distance, known)| *distance <= known.len() / 2);
    let problem = match nearest {
        Some((_, known)) => format!("there is no such key; did you mean '{known}'?"),
        None => "there is no such key".to_owned(),
    };
    complaints.key(key.line, &key.text, problem)
}

/// How many letters must change to turn one word into the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a_letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b_letter) in b.iter().enumerate() {
            let change = diagonal + usize::from(a_letter != *b_letter);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// A key with its value, read as what the key needs.
struct Entry<'a> {
    key: &'a Key,
    node: &'a Node,
    complaints: Complaints<'a>,
}

// === impl Entry ===

impl Entry<'_> {
    fn complain(&self, problem: impl Into<String>) -> ManifestError {
        self.complaints
            .key(self.node.line.max(self.key.line), &self.key.text, problem)
    }

    fn complain_at(&self, node: &Node, problem: impl Into<String>) -> ManifestError {
        self.complaints.key(node.line, &self.key.text, problem)
    }

    fn expected(&self, what: &str) -> ManifestError {
        self.complain(format!("expected {what}, found {}", self.node.kind()))
    }

    fn text(&self) -> Result<String, ManifestError> {
        self.node.scalar().ok_or_else(|| self.expected("text"))
    }

    fn filled_text(&self) -> Result<String, ManifestError> {
        let text = self.text()?;
        if text.trim().is_empty() {
            Err(self.complain("is empty"))
        } else {
            Ok(text)
        }
    }

    fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(&self) -> Result<T, ManifestError> {
        self.filled_text()?
            .parse()
            .map_err(|error: T::Err| self.complain(error.to_string()))
    }

    fn number(&self, most: u32) -> Result<u32, ManifestError> {
        let text = self.filled_text()?;
        text.parse()
            .ok()
            .filter(|number| *number <= most)
            .ok_or_else(|| {
                self.complain(format!("{text:?} is not a whole number from 0 to {most}"))
            })
    }

    fn switch(&self) -> Result<bool, ManifestError> {
        match &self.node.value {
            Value::Bool(value) => Ok(*value),
            Value::Text(text) if text == "true" => Ok(true),
            Value::Text(text) if text == "false" => Ok(false),
            _ => Err(self.expected("true or false")),
        }
    }

    fn items(&self) -> Result<&[Node], ManifestError> {
        match &self.node.value {
            Value::List(items) => Ok(items),
            Value::Null => Ok(&[]),
            _ => Err(self.expected("a list")),
        }
    }

    fn item_text(&self, item: &Node) -> Result<String, ManifestError> {
        item.scalar()
            .filter(|text| !text.is_empty())
            .ok_or_else(|| self.complain_at(item, format!("expected text, found {}", item.kind())))
    }

    fn texts(&self) -> Result<Vec<String>, ManifestError> {
        self.items()?
            .iter()
            .map(|item| self.item_text(item))
            .collect()
    }

    fn only_buildpack(&self) -> Result<String, ManifestError> {
        match self.texts()?.as_slice() {
            [] => Ok(String::new()),
            [one] => Ok(or_default(one.clone())),
            _ => Err(self.complain("an app has one buildpack here")),
        }
    }

    fn variables(&self) -> Result<BTreeMap<String, String>, ManifestError> {
        let entries = match &self.node.value {
            Value::Map(entries) => entries,
            Value::Null => return Ok(BTreeMap::new()),
            _ => return Err(self.expected("a map of names and values")),
        };
        entries
            .iter()
            .map(|(name, value)| {
                let text = value.scalar().ok_or_else(|| {
                    let problem = format!("the value of {} is {}", name.text, value.kind());
                    self.complain_at(value, problem)
                })?;
                Ok((name.text.clone(), text))
            })
            .collect()
    }

    /// `- route: host.domain/path`.
    fn routes(&self) -> Result<Vec<String>, ManifestError> {
        let route = |item: &Node| match &item.value {
            Value::Map(entries) => {
                let found = entries.iter().find(|(key, _)| key.text == "route");
                let wrong = || self.complain_at(item, "expected '- route: host.domain/path'");
                self.item_text(&found.ok_or_else(wrong)?.1)
            }
            _ => self.item_text(item),
        };
        self.items()?.iter().map(route).collect()
    }

    /// Names, or maps with a `name`.
    fn services(&self) -> Result<Vec<String>, ManifestError> {
        let service = |item: &Node| match &item.value {
            Value::Map(entries) => {
                let found = entries.iter().find(|(key, _)| key.text == "name");
                let wrong = || self.complain_at(item, "expected the name of a service instance");
                self.item_text(&found.ok_or_else(wrong)?.1)
            }
            _ => self.item_text(item),
        };
        self.items()?.iter().map(service).collect()
    }
}
