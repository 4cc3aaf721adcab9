//! Arrows point down only, and what must not come in has not.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::process::Command;

use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand};

/// Which floor of the house a crate is on. An arrow may only point to a lower floor.
fn floor(package: &str) -> u32 {
    match package {
        "cupola-types" => 0,
        "cupola-messages" => 1,
        "cupola-component" | "cupola-http" | "cupola-blobstore" | "cupola-db" => 2,
        "cupola-bus" | "cupola-warden" => 2,
        "cupola-testkit" => 3,
        "cupola-cloud-controller"
        | "cupola-dea"
        | "cupola-stager"
        | "cupola-router"
        | "cupola-health-manager"
        | "cupola-uaa"
        | "cupola-loggregator" => 3,
        "cupola-staticfile-server" => 3,
        "cupola" | "cup" | "cupola-tests" | "cupola-bench" => 4,
        unknown => panic!("{unknown} has no floor yet: say in tests/layering where it belongs"),
    }
}

/// What this is built for.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Without the crates of other systems: on a machine that has only built this they are not there.
fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .features(CargoOpt::SomeFeatures(vec![]))
        .other_options(["--locked", "--offline", "--filter-platform", PLATFORM].map(str::to_owned))
        .exec()
        .unwrap()
}

#[test]
fn arrows_point_down_only() {
    let metadata = metadata();
    let members: BTreeSet<String> = metadata
        .workspace_packages()
        .iter()
        .map(|p| p.name.to_string())
        .collect();
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        for dependency in &package.dependencies {
            // What only tests use may come from anywhere.
            if dependency.kind == DependencyKind::Development || !members.contains(&dependency.name)
            {
                continue;
            }
            if floor(&dependency.name) >= floor(&package.name) {
                wrong.push(format!("{} -> {}", package.name, dependency.name));
            }
        }
    }
    assert_eq!(
        wrong,
        Vec::<String>::new(),
        "a room never depends on another room"
    );
}

#[test]
fn the_command_line_client_links_no_server_code() {
    let metadata = metadata();
    let cup = metadata
        .workspace_packages()
        .into_iter()
        .find(|p| p.name.as_str() == "cup")
        .unwrap();
    let ours: Vec<&str> = cup
        .dependencies
        .iter()
        .filter(|d| d.kind == DependencyKind::Normal && d.name.starts_with("cupola"))
        .map(|d| d.name.as_str())
        .collect();
    assert!(ours.iter().all(|name| *name == "cupola-types"), "{ours:?}");
}

#[test]
fn one_crypto_provider_and_no_openssl() {
    // What is built, not what the lock file could build: hence `cargo tree`.
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "--workspace",
            "--edges",
            "normal,build",
        ])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tree = String::from_utf8_lossy(&output.stdout);
    let names: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(
        names.contains("aws-lc-rs"),
        "the list is not what it should be: {names:?}"
    );
    for banned in ["ring", "rsa", "openssl-sys", "native-tls"] {
        assert!(
            !names.contains(banned),
            "{banned}: see docs/adr/0003-one-crypto-provider.md"
        );
    }
}
