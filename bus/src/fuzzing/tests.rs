//! What was written by hand and what the fuzzer has kept, once more.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

fn replay(target: &str, run: fn(&[u8])) {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut count = 0;
    for folder in ["seeds", "corpus"] {
        for entry in fs::read_dir(home.join(folder).join(target)).unwrap() {
            let path = entry.unwrap().path();
            let data = fs::read(&path).unwrap();
            assert!(
                catch_unwind(|| run(&data)).is_ok(),
                "it does not hold for {}",
                path.display()
            );
            count += 1;
        }
    }
    assert!(count > 10, "{target} has only {count} inputs");
}

#[test]
fn client_corpus() {
    replay("client", super::client);
}

#[test]
fn config_corpus() {
    replay("config", super::config);
}

#[test]
fn route_corpus() {
    replay("route", super::route);
}

#[test]
fn websocket_corpus() {
    replay("websocket", super::websocket);
}
