//! `logs`.

use std::io::{BufRead, BufReader};

use crate::cup::{Cup, ended};
use crate::platform::Platform;

fn with_app() -> (Platform, Cup) {
    let platform = Platform::start();
    platform.model().add_app("hello");
    let cup = Cup::logged_in(&platform);
    (platform, cup)
}

#[test]
fn recent_lines_are_printed_in_their_order() {
    let (platform, cup) = with_app();
    platform.model().kept = vec![
        ("STG".into(), "one".into()),
        ("APP/PROC/WEB".into(), "two \x1b[2Jx".into()),
    ];
    cup.run(["logs", "hello", "--recent"]).succeeded().says(
        "Retrieving logs for app hello in org cupola / space dev as admin...\n\n   \
             2026-11-20T16:20:11.00+0000 [STG/0] OUT one\n   \
             2026-11-20T16:20:11.00+0000 [APP/PROC/WEB/0] OUT two \u{fffd}[2Jx\n",
    );
}

#[test]
fn lines_are_followed_as_they_come_also_with_an_ended_token() {
    let (platform, cup) = with_app();
    // The upgrade is refused at first, for the log server checks the token too.
    platform.model().end_token();
    let mut child = cup.command(["logs", "hello"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(
        lines
            .next()
            .unwrap()
            .unwrap()
            .starts_with("Retrieving logs")
    );
    let start = std::time::Instant::now();
    while platform.followers() == 0 {
        assert!(start.elapsed().as_secs() < 20, "nobody follows the log");
        std::thread::yield_now();
    }
    platform.log("APP/PROC/WEB", "live");
    assert_eq!(lines.next().unwrap().unwrap(), "");
    assert!(
        lines
            .next()
            .unwrap()
            .unwrap()
            .ends_with("[APP/PROC/WEB/0] OUT live")
    );
    child.kill().unwrap();
    ended(&mut child);
}
