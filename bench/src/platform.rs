//! A whole platform against the clock.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cupola_testkit::{Options, Platform, example, until};

use crate::figures::{Figure, print};
use crate::memory::pss_mib;

const ROLES: [&str; 8] = [
    "bus",
    "uaa",
    "loggregator",
    "cloud_controller",
    "stager",
    "dea",
    "router",
    "health_manager",
];
/// How long anything may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// The platform is idle when nothing was asked of it for this long.
const IDLE_AFTER: Duration = Duration::from_secs(12);

/// Measures everything `rounds` times and prints the table.
pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    let first_starts: Vec<Duration> = (0..rounds.min(3))
        .map(|_| {
            Platform::start_with(Options {
                logged_out: true,
                ..Options::default()
            })
            .ready_after
        })
        .collect();
    let mut platform = Platform::start();
    let mut warm_starts = Vec::new();
    for _ in 0..rounds {
        platform.stop();
        platform.up();
        warm_starts.push(platform.ready_after);
    }
    let site = example("static-site");
    let site = site
        .to_str()
        .context("the path of the sample is not UTF-8")?;
    let mut pushes = Vec::new();
    for round in 0..rounds {
        let name = format!("site{round}");
        let push = ["push", &name, "-p", site, "-m", "64M"];
        pushes.push(until_served(&platform, &name, &push)?);
        platform.cup(&["delete", &name, "-f", "-r"]).succeeds();
    }
    platform
        .cup(&["push", "site", "-p", site, "-m", "64M"])
        .succeeds();
    let mut starts = Vec::new();
    for _ in 0..rounds {
        platform.cup(&["stop", "site"]).succeeds();
        platform.wait_for("site", "/", 404);
        starts.push(until_served(&platform, "site", &["start", "site"])?);
    }
    platform.cup(&["delete", "site", "-f", "-r"]).succeeds();

    // The first crashes are answered without a pause; each version has three of them.
    let python = example("python-web");
    let python = python
        .to_str()
        .context("the path of the sample is not UTF-8")?;
    platform
        .cup(&["push", "crasher", "-p", python, "-m", "64M"])
        .succeeds();
    let mut restarts = Vec::new();
    for _ in 0..rounds {
        platform.cup(&["restart", "crasher"]).succeeds();
        platform.wait_for("crasher", "/", 200);
        let _ = platform.try_get("crasher", "/crash");
        let ended = Instant::now();
        wait_until_gone(&platform, "crasher")?;
        platform.wait_for("crasher", "/", 200);
        restarts.push(ended.elapsed());
    }
    platform.cup(&["delete", "crasher", "-f", "-r"]).succeeds();

    std::thread::sleep(IDLE_AFTER);
    let mut memory = Vec::new();
    let supervisor = pss_mib(platform.pid().as_raw());
    println!(
        "{:<44} {:>5} {supervisor:>9.1}",
        "memory: supervisor", "MiB"
    );
    let mut total = supervisor;
    for role in ROLES {
        let pss = platform.role(role).pid.map_or(0.0, pss_mib);
        println!("{:<44} {:>5} {pss:>9.1}", format!("memory: {role}"), "MiB");
        total += pss;
    }
    memory.push(total);

    print(&[
        Figure::milliseconds(
            "start on a warm folder, to ready",
            seconds(1.0),
            &warm_starts,
        ),
        Figure::milliseconds("first start, to ready", seconds(3.0), &first_starts),
        Figure::milliseconds(
            "push of the static site, to first 200",
            seconds(2.0),
            &pushes,
        ),
        Figure::milliseconds(
            "stopped app, `cup start` to first 200",
            seconds(0.3),
            &starts,
        ),
        Figure::milliseconds(
            "crash of the only instance, to 200 again",
            seconds(1.0),
            &restarts,
        ),
        Figure::mebibytes("memory of the idle platform (PSS)", 120.0, memory),
    ]);
    Ok(())
}

/// Runs the client and looks at the router at the same time: from the start of the one to the
/// first 200 of the other.
fn until_served(platform: &Platform, app: &str, command: &[&str]) -> anyhow::Result<Duration> {
    let to = platform.address("router", "http");
    let host = platform.host(app);
    let begun = Instant::now();
    let mut client = platform
        .client()
        .command(command)
        .stdout(std::process::Stdio::null())
        .spawn()?;
    let served = until(PATIENCE, || {
        let get = cupola_testkit::HttpRequest {
            method: "GET",
            host: &host,
            path: "/",
            headers: &[],
            body: &[],
        };
        cupola_testkit::request(to, &get)
            .ok()
            .filter(|a| a.status == 200)
            .map(|_| begun.elapsed())
    });
    if !client.wait()?.success() {
        bail!("`cup {}` failed\n{}", command.join(" "), platform.logs());
    }
    served.with_context(|| format!("{app} never answers"))
}

fn wait_until_gone(platform: &Platform, app: &str) -> anyhow::Result<()> {
    let gone = until(PATIENCE, || match platform.try_get(app, "/") {
        Ok(answer) if answer.status == 200 => None,
        _ => Some(()),
    });
    gone.with_context(|| format!("{app} does not crash"))
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}
