//! What the operator sets: defaults, then `cupola.toml`, then `CUPOLA_*`, then flags.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context as _, bail};
use cupola_component::nearest;
use cupola_types::Role;
use serde::Deserialize;
use toml::{Table, Value};

use crate::args::{Unusable, UpArgs};
use crate::data_folder::DataFolder;
use crate::sockets::Wanted;

/// First of the uids that roles run as, when the operator names none: above those of people,
/// distributions and containers. Each data folder gets sixteen of its own from here.
const UIDS_FROM: u32 = 4_000_000;
const UID_BLOCKS: u64 = 4_096;
const UIDS_PER_BLOCK: u32 = 16;

/// Settings of the whole platform and, untouched, those of each role.
#[derive(Debug)]
pub(crate) struct Settings {
    http: Option<SocketAddr>,
    api: Option<SocketAddr>,
    uaa: Option<SocketAddr>,
    logs: Option<SocketAddr>,
    bus: Option<SocketAddr>,
    pub(crate) bus_url: Option<String>,
    pub(crate) domain: String,
    pub(crate) external_host: Option<String>,
    pub(crate) unprivileged_roles: bool,
    uid_base: Option<u32>,
    sections: Table,
}

/// Section `[cupola]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Section {
    /// As `--http`.
    http: Option<SocketAddr>,
    /// As `--api`.
    api: Option<SocketAddr>,
    /// As `--uaa`.
    uaa: Option<SocketAddr>,
    /// As `--logs`.
    logs: Option<SocketAddr>,
    /// As `--bus`.
    bus: Option<SocketAddr>,
    /// As `--bus-url`.
    bus_url: Option<String>,
    /// As `--domain`.
    domain: Option<String>,
    /// The host name or address that clients use to reach this machine.
    external_host: Option<String>,
    /// Whether each role runs as a user of its own; default yes.
    unprivileged_roles: Option<bool>,
    /// First of the uids that roles run as.
    uid_base: Option<u32>,
}

impl Settings {
    pub(crate) fn load(args: &UpArgs, folder: &DataFolder) -> anyhow::Result<Self> {
        let default_file = folder.settings_file();
        let file = match &args.config {
            Some(file) => Some(file.as_path()),
            None => default_file.exists().then_some(default_file.as_path()),
        };
        let mut sections = match file {
            Some(file) => read(file)?,
            None => Table::new(),
        };
        for (name, value) in std::env::vars() {
            overlay(&mut sections, &name, &value);
        }
        let named = file.map_or_else(|| "CUPOLA_*".to_owned(), |file| file.display().to_string());
        check_sections(&sections, &named)?;
        let section = sections
            .remove("cupola")
            .unwrap_or_else(|| Value::Table(Table::new()));
        let section: Section = section.try_into().map_err(|error: toml::de::Error| {
            Unusable(format!(
                "{named}, section [cupola]: {}",
                error.message().trim_end()
            ))
        })?;
        let domain = args.domain.clone().or(section.domain);
        let domain = domain
            .unwrap_or_else(|| "cupola.localhost".to_owned())
            .to_lowercase();
        check_domain(&domain)?;
        Ok(Self {
            http: args.http.or(section.http),
            api: args.api.or(section.api),
            uaa: args.uaa.or(section.uaa),
            logs: args.logs.or(section.logs),
            bus: args.bus.or(section.bus),
            bus_url: args.bus_url.clone().or(section.bus_url),
            domain,
            external_host: section.external_host,
            unprivileged_roles: section.unprivileged_roles.unwrap_or(true),
            uid_base: section.uid_base,
            sections,
        })
    }

    /// The roles to run, in starting order.
    pub(crate) fn roles(&self) -> impl Iterator<Item = Role> {
        let own_bus = self.bus_url.is_none();
        Role::ALL
            .into_iter()
            .filter(move |role| own_bus || *role != Role::Bus)
    }

    /// The sockets to hold.
    pub(crate) fn sockets(&self) -> Vec<Wanted> {
        let router = self
            .http
            .unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)));
        let mut sockets = Vec::new();
        for role in self.roles() {
            let own = match role {
                Role::Bus => Some(("nats", self.bus, "--bus")),
                Role::Uaa => Some(("http", self.uaa, "--uaa")),
                Role::Loggregator => Some(("http", self.logs, "--logs")),
                Role::CloudController => Some(("api", self.api, "--api")),
                Role::Router => Some(("http", Some(router), "--http")),
                Role::Stager | Role::Dea | Role::HealthManager => None,
            };
            if let Some((name, fixed, flag)) = own {
                sockets.push(Wanted {
                    role,
                    name,
                    fixed,
                    flag: Some(flag),
                });
            }
            sockets.push(Wanted {
                role,
                name: "status",
                fixed: None,
                flag: None,
            });
        }
        sockets
    }

    /// The operator's settings of a role.
    pub(crate) fn section(&self, role: Role) -> Option<&Table> {
        self.sections.get(role.as_str()).and_then(Value::as_table)
    }

    /// The operator's settings of a section that every role has.
    pub(crate) fn common(&self, name: &str) -> Option<&Table> {
        self.sections.get(name).and_then(Value::as_table)
    }

    /// First of the uids that roles run as.
    pub(crate) fn uid_base(&self, data: &Path) -> u32 {
        self.uid_base.unwrap_or_else(|| {
            let mut hasher = DefaultHasher::new();
            data.hash(&mut hasher);
            let block = u32::try_from(hasher.finish() % UID_BLOCKS).unwrap_or(0);
            UIDS_FROM + block * UIDS_PER_BLOCK
        })
    }
}

fn read(file: &Path) -> anyhow::Result<Table> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    match text.parse() {
        Ok(table) => Ok(table),
        Err(error) => bail!(Unusable(format!(
            "{} is not valid TOML: {error}",
            file.display()
        ))),
    }
}

/// `CUPOLA_HTTP=…` is `http` in `[cupola]`. The sections of roles (`CUPOLA_DEA__…`) are read by the
/// roles themselves.
fn overlay(sections: &mut Table, name: &str, value: &str) {
    const KEYS: [&str; 10] = [
        "http",
        "api",
        "uaa",
        "logs",
        "bus",
        "bus_url",
        "domain",
        "external_host",
        "unprivileged_roles",
        "uid_base",
    ];
    let Some(key) = name.strip_prefix("CUPOLA_").map(str::to_ascii_lowercase) else {
        return;
    };
    if !KEYS.contains(&key.as_str()) {
        return;
    }
    let value = match value.parse::<i64>() {
        Ok(number) => Value::Integer(number),
        Err(_) => match value {
            "true" => Value::Boolean(true),
            "false" => Value::Boolean(false),
            text => Value::String(text.to_owned()),
        },
    };
    let section = sections
        .entry("cupola")
        .or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(section) = section {
        section.insert(key, value);
    }
}

fn check_sections(sections: &Table, file: &str) -> anyhow::Result<()> {
    let known: Vec<&str> = Role::ALL
        .iter()
        .map(|role| role.as_str())
        .chain(["cupola", "log"])
        .collect();
    for (name, value) in sections {
        if !known.contains(&name.as_str()) {
            let near = nearest(name, known.iter().copied());
            let hint = near
                .map(|near| format!(" (did you mean [{near}]?)"))
                .unwrap_or_default();
            bail!(Unusable(format!("{file}: unknown section [{name}]{hint}")));
        }
        if !value.is_table() {
            bail!(Unusable(format!(
                "{file}: {name} must be a section: [{name}]"
            )));
        }
    }
    Ok(())
}

fn check_domain(domain: &str) -> anyhow::Result<()> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if domain.len() > 200 || !domain.split('.').all(label) || !domain.contains('.') {
        bail!(Unusable(format!(
            "{domain:?} is not a domain name: write one such as apps.example.com with --domain"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use clap::Parser as _;

    fn load(file: &str, flags: &[&str]) -> anyhow::Result<Settings> {
        let temporary = tempfile::tempdir().unwrap();
        let folder = DataFolder::create(temporary.path()).unwrap();
        std::fs::write(folder.settings_file(), file).unwrap();
        let args = ["cupola", "up"].into_iter().chain(flags.iter().copied());
        let crate::args::Command::Up(args) = crate::args::Args::parse_from(args).command else {
            panic!("not `up`");
        };
        Settings::load(&args, &folder)
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = "[cupola]\ndomain = \"file.test\"\nhttp = \"127.0.0.1:1111\"\n";
        let settings = load(file, &["--domain", "Flag.Test"]).unwrap();
        assert_eq!(settings.domain, "flag.test");
        assert_eq!(settings.http, Some("127.0.0.1:1111".parse().unwrap()));
    }

    #[test]
    fn mistakes_are_named_with_the_nearest_right_word() {
        let error = load("[routr]\nx = 1\n", &[]).unwrap_err().to_string();
        assert!(
            error.contains("[routr]") && error.contains("[router]"),
            "{error}"
        );
        let error = load("[cupola]\ndomian = \"x\"\n", &[])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("domian") && error.contains("cupola.toml"),
            "{error}"
        );
    }

    #[test]
    fn a_domain_must_be_one() {
        for bad in ["", "nodots", "a..b", "-a.b", "a b.c", "http://a.b"] {
            assert!(
                load("", &[&format!("--domain={bad}")]).is_err(),
                "{bad:?} was accepted"
            );
        }
    }

    #[test]
    fn another_bus_means_no_bus_of_our_own() {
        let settings = load("", &["--bus-url", "nats://127.0.0.1:4222"]).unwrap();
        assert!(settings.roles().all(|role| role != Role::Bus));
        assert!(
            settings
                .sockets()
                .iter()
                .all(|socket| socket.role != Role::Bus)
        );
    }
}
