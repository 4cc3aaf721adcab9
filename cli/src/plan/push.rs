//! What to push: the manifest with the flags laid over it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cupola_types::{DiskMb, MemoryMb};

use super::route::route_path;
use super::{UsageError, number, parsed};
use crate::args;
use crate::manifest::{
    AppManifest, Health, LONGEST_HEALTH_TIMEOUT, MOST_INSTANCES, Manifest, Variables,
};
use crate::surroundings::Surroundings;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PushPlan {
    /// In the order of the manifest; never empty.
    pub(crate) apps: Vec<AppPlan>,
    /// The manifest that was used.
    pub(crate) manifest: Option<PathBuf>,
    pub(crate) start: bool,
}

/// One app; what is absent stays as it is, or becomes what the platform chooses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AppPlan {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) memory: Option<MemoryMb>,
    pub(crate) disk: Option<DiskMb>,
    pub(crate) instances: Option<u32>,
    /// Empty for "detect it again".
    pub(crate) buildpack: Option<String>,
    /// Empty for "what the buildpack says".
    pub(crate) command: Option<String>,
    pub(crate) stack: Option<String>,
    pub(crate) health: Option<Health>,
    pub(crate) health_endpoint: Option<String>,
    pub(crate) health_timeout: Option<u32>,
    /// Laid over the variables that the app has.
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) services: Vec<String>,
    pub(crate) routing: Routing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Routing {
    /// No route, and those it has are taken away.
    Nowhere,
    /// A route under a host that nobody has, unless the app has one already.
    Random { domain: Option<String> },
    /// Routes in one piece, `host.domain/path`.
    Exactly(Vec<String>),
    /// Every host with every domain. No host stands for the app's name, no domain for the
    /// platform's first.
    Hosts {
        hosts: Vec<String>,
        domains: Vec<String>,
        path: String,
        no_hostname: bool,
    },
    /// The app's name under the platform's first domain, unless the app has a route already.
    Default,
}

pub(super) fn push(typed: args::Push, around: &Surroundings) -> anyhow::Result<PushPlan> {
    let manifest = read_manifest(&typed, around)?;
    let flags = Flags::read(&typed, &around.working_dir)?;
    let (path, listed) = match manifest {
        Some(manifest) => (Some(manifest.path), manifest.apps),
        None => (None, Vec::new()),
    };
    let chosen = choose(typed.app.as_deref(), listed, &flags)?;
    let apps = chosen
        .into_iter()
        .map(|(name, app)| flags.over(name, app, &around.working_dir))
        .collect::<Result<_, _>>()?;
    Ok(PushPlan {
        apps,
        manifest: path,
        start: !typed.no_start,
    })
}

fn read_manifest(typed: &args::Push, around: &Surroundings) -> anyhow::Result<Option<Manifest>> {
    let path = match &typed.manifest {
        _ if typed.no_manifest => return Ok(None),
        Some(path) => around.working_dir.join(path),
        None => match Manifest::find(&around.working_dir) {
            Some(path) => path,
            None => return Ok(None),
        },
    };
    let single: Vec<(String, String)> = typed
        .vars
        .iter()
        .map(|text| variable(text))
        .collect::<Result<_, _>>()?;
    let files: Vec<PathBuf> = typed
        .vars_files
        .iter()
        .map(|path| around.working_dir.join(path))
        .collect();
    let variables = Variables::read(&files, &single)?;
    Ok(Some(Manifest::read(&path, &variables)?))
}

fn variable(text: &str) -> Result<(String, String), UsageError> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(UsageError::new(format!(
            "--var: {text:?} is not NAME=VALUE"
        ))),
    }
}

/// Which apps of the manifest are meant, each with its name.
fn choose(
    name: Option<&str>,
    mut listed: Vec<AppManifest>,
    flags: &Flags,
) -> Result<Vec<(String, AppManifest)>, UsageError> {
    if let Some(name) = name {
        if name.trim().is_empty() {
            return Err(UsageError::new("the app's name is empty"));
        }
        let place = listed
            .iter()
            .position(|app| app.name.as_deref() == Some(name));
        let app = match (place, listed.len()) {
            (Some(place), _) => listed.swap_remove(place),
            (None, 0) => AppManifest::default(),
            // A manifest for one app is taken for it under whatever name.
            (None, 1) => listed.swap_remove(0),
            (None, _) => {
                let words = format!("the manifest has several apps, and none is named {name}");
                return Err(UsageError::new(words));
            }
        };
        return Ok(vec![(name.to_owned(), app)]);
    }
    if listed.is_empty() {
        return Err(UsageError::new(
            "no app is named, and there is no manifest.yml to name one",
        ));
    }
    if listed.len() > 1 && !flags.are_empty() {
        return Err(UsageError::new(
            "flags (but for -f, --no-start and --var) can only be used for one app; name it",
        ));
    }
    listed
        .into_iter()
        .map(|app| match &app.name {
            Some(name) => Ok((name.clone(), app)),
            None => Err(UsageError::new(
                "an app in the manifest has no name; give one",
            )),
        })
        .collect()
}

/// The flags, parsed: what they say wins over the manifest.
#[derive(Debug, Default, PartialEq, Eq)]
struct Flags {
    app: AppManifest,
    route_path: String,
}

// === impl Flags ===

impl Flags {
    fn read(typed: &args::Push, working_dir: &Path) -> Result<Self, UsageError> {
        let most = LONGEST_HEALTH_TIMEOUT;
        let app = AppManifest {
            name: None,
            path: typed.path.as_ref().map(|path| working_dir.join(path)),
            memory: parsed("-m", typed.memory.as_deref())?,
            disk: parsed("-k", typed.disk.as_deref())?,
            instances: number("-i", typed.instances.as_deref(), 0, MOST_INSTANCES)?,
            buildpack: typed.buildpack.clone().map(or_default),
            command: typed.command.clone().map(or_default),
            env: BTreeMap::new(),
            hosts: typed.host.iter().cloned().collect(),
            domains: typed.domain.iter().cloned().collect(),
            routes: Vec::new(),
            no_hostname: typed.no_hostname,
            no_route: typed.no_route,
            random_route: typed.random_route,
            health_timeout: number("-t", typed.timeout.as_deref(), 1, most)?,
            health: parsed("-u", typed.health.as_deref())?,
            health_endpoint: None,
            services: Vec::new(),
            stack: typed.stack.clone(),
        };
        let route_path = route_path(typed.route_path.as_deref().unwrap_or_default())?;
        Ok(Self { app, route_path })
    }

    fn are_empty(&self) -> bool {
        *self == Self::default()
    }

    fn over(
        &self,
        name: String,
        app: AppManifest,
        working_dir: &Path,
    ) -> Result<AppPlan, UsageError> {
        let flags = &self.app;
        let routing = self.routing(&app);
        let health = flags.health.or(app.health);
        // An endpoint without a type asks for http; another type given by a flag drops it.
        let health = health.or(app.health_endpoint.as_ref().map(|_| Health::Http));
        let plan = AppPlan {
            name,
            path: flags
                .path
                .clone()
                .or(app.path)
                .unwrap_or_else(|| working_dir.to_owned()),
            memory: flags.memory.or(app.memory),
            disk: flags.disk.or(app.disk),
            instances: flags.instances.or(app.instances),
            buildpack: flags.buildpack.clone().or(app.buildpack),
            command: flags.command.clone().or(app.command),
            stack: flags.stack.clone().or(app.stack),
            health,
            health_endpoint: app.health_endpoint.filter(|_| health == Some(Health::Http)),
            health_timeout: flags.health_timeout.or(app.health_timeout),
            env: app.env,
            services: app.services,
            routing,
        };
        if plan.memory == Some(MemoryMb(0)) || plan.disk == Some(DiskMb(0)) {
            return Err(UsageError::new(format!(
                "{}: memory and disk cannot be 0",
                plan.name
            )));
        }
        Ok(plan)
    }

    fn routing(&self, app: &AppManifest) -> Routing {
        let flags = &self.app;
        let by_flags = !flags.hosts.is_empty()
            || !flags.domains.is_empty()
            || flags.no_hostname
            || !self.route_path.is_empty();
        if flags.no_route || (app.no_route && !by_flags && !flags.random_route) {
            return Routing::Nowhere;
        }
        let or = |flag: &[String], manifest: &[String]| {
            if flag.is_empty() {
                manifest.to_vec()
            } else {
                flag.to_vec()
            }
        };
        if flags.random_route || (app.random_route && flags.hosts.is_empty()) {
            let domain = or(&flags.domains, &app.domains).into_iter().next();
            return Routing::Random { domain };
        }
        if !by_flags && !app.routes.is_empty() {
            return Routing::Exactly(app.routes.clone());
        }
        let no_hostname = flags.no_hostname || (app.no_hostname && flags.hosts.is_empty());
        if by_flags || no_hostname || !app.hosts.is_empty() || !app.domains.is_empty() {
            return Routing::Hosts {
                hosts: if no_hostname {
                    Vec::new()
                } else {
                    or(&flags.hosts, &app.hosts)
                },
                domains: or(&flags.domains, &app.domains),
                path: self.route_path.clone(),
                no_hostname,
            };
        }
        Routing::Default
    }
}

fn or_default(text: String) -> String {
    if text == "default" || text == "null" {
        String::new()
    } else {
        text
    }
}

#[cfg(test)]
mod tests;
