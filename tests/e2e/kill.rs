//! Any role may be killed at any moment, and apps do not notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cupola_testkit::{HttpRequest, Leftovers, Platform, eventually, example, request};

/// Pause between two requests of the steady load.
const PACE: Duration = Duration::from_millis(10);

/// A client that asks at a steady rate until it is told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    client: std::thread::JoinHandle<Vec<String>>,
}

impl Load {
    fn on(platform: &Platform, app: &str) -> Self {
        let (to, host) = (platform.address("router", "http"), platform.host(app));
        let (stop, asked) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let client = {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            std::thread::spawn(move || {
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let get = HttpRequest {
                        method: "GET",
                        host: &host,
                        path: "/",
                        headers: &[],
                        body: &[],
                    };
                    asked.fetch_add(1, Ordering::Relaxed);
                    match request(to, &get) {
                        Ok(answer) if answer.status == 200 => {}
                        Ok(answer) => failures.push(format!("status {}", answer.status)),
                        Err(error) => failures.push(error.to_string()),
                    }
                    std::thread::sleep(PACE);
                }
                failures
            })
        };
        Self {
            stop,
            asked,
            client,
        }
    }

    fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failures = self.client.join().unwrap();
        (self.asked.load(Ordering::Relaxed), failures)
    }
}

#[test]
fn apps_do_not_notice_when_roles_are_killed() {
    let mut platform = Platform::start();
    // Both depots have been used once, so that what they keep for good is there.
    let folder = example("static-site");
    let warm_up = [
        "push",
        "warm-up",
        "-p",
        folder.to_str().unwrap(),
        "-m",
        "32M",
    ];
    platform.cup(&warm_up).succeeds();
    platform.cup(&["delete", "warm-up", "-f", "-r"]).succeeds();
    eventually("the warm-up is gone", Duration::from_secs(20), || {
        Leftovers::of(&platform.data_dir()).supervisors.is_empty()
    });
    let mut clean = Leftovers::of(&platform.data_dir());
    eventually("its files are gone", Duration::from_secs(20), || {
        let before = std::mem::replace(&mut clean, Leftovers::of(&platform.data_dir()));
        before == clean && clean.cgroups.is_empty() && clean.interfaces.is_empty()
    });
    let folder = example("python-web");
    let push = [
        "push",
        "web",
        "-p",
        folder.to_str().unwrap(),
        "-m",
        "64M",
        "-i",
        "2",
    ];
    platform.cup(&push).succeeds();
    eventually("both instances serve", Duration::from_secs(20), || {
        platform.cup(&["app", "web"]).stdout.contains("2/2")
    });

    let roles = [
        "bus",
        "uaa",
        "loggregator",
        "cloud_controller",
        "stager",
        "dea",
        "router",
        "health_manager",
    ];
    for role in roles {
        let load = Load::on(&platform, "web");
        std::thread::sleep(Duration::from_millis(300));
        platform.kill_role(role);
        std::thread::sleep(Duration::from_millis(1_500));
        let (asked, failures) = load.end();
        println!(
            "{role}: {asked} requests, {} failed {failures:?}",
            failures.len()
        );
        // One client asks one request at a time, so one at most is in flight in a killed router.
        let allowed = usize::from(role == "router");
        assert!(failures.len() <= allowed, "{role}: {failures:?}");
    }

    // The killed platform still does what it is told.
    let begun = Instant::now();
    platform.cup(&["scale", "web", "-i", "3"]).succeeds();
    eventually("three serve", Duration::from_secs(40), || {
        platform.cup(&["app", "web"]).stdout.contains("3/3")
    });
    println!("scaled up after {:?}", begun.elapsed());
    platform.cup(&["delete", "web", "-f", "-r"]).succeeds();
    let mut left = Leftovers::of(&platform.data_dir());
    let cleared = cupola_testkit::until(Duration::from_secs(60), || {
        left = Leftovers::of(&platform.data_dir());
        (left == clean).then_some(())
    });
    println!("before: {clean:#?}\nafter: {left:#?}");
    assert!(cleared.is_some(), "something is left behind");
}

#[test]
fn a_killed_platform_s_apps_serve_on_and_are_adopted() {
    let mut platform = Platform::start();
    let folder = example("python-web");
    platform
        .cup(&["push", "web", "-p", folder.to_str().unwrap(), "-m", "64M"])
        .succeeds();
    let before = platform.get("web", "/instance").json();
    platform.kill();
    platform.up();
    platform.wait_for("web", "/instance", 200);
    let after = platform.get("web", "/instance").json();
    assert_eq!(
        before["guid"], after["guid"],
        "the same instance still runs"
    );
    platform.cup(&["stop", "web"]).succeeds();
    platform.wait_for("web", "/", 404);
}
