//! `cupola up`: all roles, each its own process, until told to stop.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cupola_component::{LogConfig, shutdown_on_signals, start_logging};
use cupola_types::Role;
use nix::unistd::Uid;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::args::{Unusable, UpArgs};
use crate::credentials::ADMIN;
use crate::data_folder::DataFolder;
use crate::identity::Identity;
use crate::plan::{Plan, Settings};
use crate::role_process::{Change, What};
use crate::sample;
use crate::sockets;
use crate::status::{Report, RoleHealth, RoleReport};

/// Who stops before whom: first those who would repair what is being taken down, last the bus.
const STOP_ORDER: [&[Role]; 4] = [
    &[Role::HealthManager],
    &[Role::Dea, Role::Stager],
    &[
        Role::CloudController,
        Role::Router,
        Role::Uaa,
        Role::Loggregator,
    ],
    &[Role::Bus],
];

/// How often roles are looked at that are not healthy yet, and after how long that is told.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LATE_AFTER: Duration = Duration::from_secs(15);

/// Changes that wait for the supervisor's attention.
const CHANGES: usize = 256;

/// Runs the platform.
pub(crate) fn up(args: UpArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    if !Uid::effective().is_root() {
        bail!(Unusable(
            "`up` needs root: the dea and the stager make namespaces, mounts and cgroups for apps; \
             run it with sudo (every other role runs as an unprivileged user of its own)"
                .to_owned()
        ));
    }
    start_logging(&LogConfig {
        filter: Some("warn".to_owned()),
        ..LogConfig::default()
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(Platform::start(args, started)?.run())
}

struct Platform {
    folder: DataFolder,
    plan: Plan,
    password: String,
    first_start: bool,
    sample: Option<PathBuf>,
    started: Instant,
    _lock: crate::data_folder::Lock,
}

/// One role under supervision.
struct Supervised {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Platform {
    fn start(args: UpArgs, started: Instant) -> anyhow::Result<Self> {
        let folder = DataFolder::create(&args.data.data_dir)?;
        let lock = folder.lock()?;
        let settings = Settings::load(&args, &folder)?;
        let (mut identity, first_start) = Identity::load_or_create(&folder)?;
        let sockets = {
            // The sockets outlive this runtime: they come out of it as plain ones.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let mut remembered = identity.addresses.clone();
            let sockets = runtime.block_on(sockets::open(&settings.sockets(), &mut remembered))?;
            if remembered != identity.addresses {
                identity.addresses = remembered;
                identity.save(&folder)?;
            }
            sockets
        };
        let plan = Plan::make(&settings, &identity, &folder, sockets)?;
        let password = identity.admin_password.clone();
        Ok(Self {
            folder,
            plan,
            password,
            first_start,
            sample: args.sample,
            started,
            _lock: lock,
        })
    }

    async fn run(self) -> anyhow::Result<()> {
        let shutdown = shutdown_on_signals()?;
        let (changes, mut heard) = mpsc::channel(CHANGES);
        let mut supervised = BTreeMap::new();
        let mut report = self.first_report();
        for process in self.plan.processes() {
            let role = process.role;
            let stop = CancellationToken::new();
            let task = tokio::spawn(process.supervise(changes.clone(), stop.clone()));
            supervised.insert(role, Supervised { task, stop });
        }
        drop(changes);
        report.keep(&self.folder);

        let mut announced = false;
        let mut late = Late::default();
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let change = tokio::select! {
                () = shutdown.cancelled() => break,
                change = heard.recv() => change,
                _ = look.tick() => {
                    late.tell(&report, |role| self.folder.log_file(role));
                    continue;
                }
            };
            let Some(change) = change else { break };
            note(&mut report, &change, announced);
            report.keep(&self.folder);
            if let What::GaveUp { detail } = &change.what
                && !announced
            {
                let role = change.role;
                stop_all(&mut supervised, &mut heard).await;
                report.all_down();
                report.keep(&self.folder);
                bail!(Unusable(format!("{role} {detail}")));
            }
            if !announced && report.roles.iter().all(|r| r.health == RoleHealth::Healthy) {
                announced = true;
                self.announce(&report);
                if let Some(folder) = &self.sample {
                    tokio::spawn(sample::push(
                        folder.clone(),
                        self.folder.clone(),
                        report.api.clone(),
                        self.password.clone(),
                        shutdown.clone(),
                    ));
                }
            }
        }
        say("stopping");
        stop_all(&mut supervised, &mut heard).await;
        report.all_down();
        report.keep(&self.folder);
        say("stopped");
        Ok(())
    }

    fn first_report(&self) -> Report {
        let roles = self.plan.roles().map(|(role, addresses)| RoleReport {
            role,
            pid: None,
            started_at: 0,
            restarts: 0,
            health: RoleHealth::Starting,
            detail: None,
            addresses,
        });
        Report {
            pid: std::process::id(),
            api: self.plan.api_url().to_owned(),
            domain: self.plan.domain().to_owned(),
            roles: roles.collect(),
        }
    }

    /// What a person needs next.
    fn announce(&self, report: &Report) {
        for role in &report.roles {
            say(&role.line());
        }
        let root = self.folder.root().display();
        let login = if self.first_start {
            format!("cup login -u {ADMIN} -p {}", self.password)
        } else {
            format!("cup login -u {ADMIN}  (password: cupola credentials --data-dir {root})")
        };
        say(&format!(
            "ready after {:.2} s on {root}",
            self.started.elapsed().as_secs_f64()
        ));
        say(&format!("  API     cup api {}", report.api));
        say(&format!("  log in  {login}"));
        say(&format!("  apps    {}", self.plan.app_url("<app>")));
    }
}

/// Roles that were told to be late with becoming healthy, by the pid that is.
#[derive(Debug, Default)]
struct Late {
    told: BTreeMap<Role, u32>,
}

impl Late {
    /// Tells, once for each process, which role is not healthy yet, why, and where to look.
    fn tell(&mut self, report: &Report, log: impl Fn(Role) -> PathBuf) {
        for role in &report.roles {
            let Some(pid) = role.pid else { continue };
            let is_late = role.health == RoleHealth::Starting && role.uptime() >= LATE_AFTER;
            if is_late && self.told.insert(role.role, pid) != Some(pid) {
                let why = role.detail.as_deref().unwrap_or("/healthz does not answer");
                say(&format!(
                    "{} is not healthy after {} s: {why}; see {}",
                    role.role,
                    role.uptime().as_secs(),
                    log(role.role).display()
                ));
            }
        }
    }
}

/// Stops group after group and waits for each.
async fn stop_all(supervised: &mut BTreeMap<Role, Supervised>, heard: &mut mpsc::Receiver<Change>) {
    for group in STOP_ORDER {
        let going: Vec<Supervised> = group
            .iter()
            .filter_map(|role| supervised.remove(role))
            .collect();
        for role in &going {
            role.stop.cancel();
        }
        for role in going {
            let mut task = role.task;
            loop {
                tokio::select! {
                    _ = &mut task => break,
                    change = heard.recv() => if change.is_none() { break },
                }
            }
        }
    }
}

/// Brings the report up to date and tells people what they did not ask for.
fn note(report: &mut Report, change: &Change, announced: bool) {
    let Some(role) = report.roles.iter_mut().find(|r| r.role == change.role) else {
        return;
    };
    match &change.what {
        What::Started { pid, at } => {
            if role.started_at != 0 {
                role.restarts += 1;
                say(&format!("{} started again, pid {pid}", role.role));
            }
            role.pid = Some(*pid);
            role.started_at = *at;
            role.health = RoleHealth::Starting;
            role.detail = None;
        }
        What::Health { health, detail } => {
            if announced && *health != role.health {
                let detail = detail
                    .as_ref()
                    .map(|d| format!(": {d}"))
                    .unwrap_or_default();
                say(&format!("{} is {}{detail}", role.role, health.as_str()));
            }
            role.health = *health;
            role.detail.clone_from(detail);
        }
        What::Ended { detail } | What::GaveUp { detail } => {
            say(&format!("{} {detail}", role.role));
            role.pid = None;
            role.health = RoleHealth::Down;
            role.detail = Some(detail.clone());
        }
    }
}

/// Tells the person who started the platform. When nobody reads it any more, the platform runs on.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
