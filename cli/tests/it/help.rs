//! What `--help` says, word by word.

use crate::cup::Cup;

const COMMANDS: [&str; 38] = [
    "api",
    "login",
    "auth",
    "logout",
    "passwd",
    "oauth-token",
    "target",
    "orgs",
    "create-org",
    "spaces",
    "create-space",
    "push",
    "apps",
    "app",
    "start",
    "stop",
    "restart",
    "restage",
    "scale",
    "delete",
    "logs",
    "events",
    "env",
    "set-env",
    "unset-env",
    "routes",
    "create-route",
    "map-route",
    "unmap-route",
    "delete-route",
    "domains",
    "curl",
    "completions",
    "version",
    "help",
    "p",
    "l",
    "t",
];

#[test]
fn the_front_page_lists_every_command() {
    let run = Cup::new().run(["--help"]).succeeded();
    insta::assert_snapshot!("cup", run.stdout);
    for command in COMMANDS.iter().filter(|command| command.len() > 1) {
        assert!(
            run.stdout.contains(&format!("  {command} ")),
            "{command} is not listed"
        );
    }
}

#[test]
fn every_command_explains_itself() {
    let cup = Cup::new();
    let mut all = String::new();
    for command in COMMANDS
        .iter()
        .filter(|command| command.len() > 1 && **command != "help")
    {
        let run = cup.run([command, "--help"]).succeeded();
        assert!(run.stdout.contains("Usage: cup "), "{run}");
        all.push_str(&format!("$ cup {command} --help\n{}\n", run.stdout));
    }
    insta::assert_snapshot!("commands", all);
}

#[test]
fn help_is_reached_in_every_usual_way() {
    let cup = Cup::new();
    let help = cup.run(["push", "--help"]).succeeded().stdout;
    assert_eq!(cup.run(["help", "push"]).succeeded().stdout, help);
    assert_eq!(cup.run(["p", "--help"]).succeeded().stdout, help);
    cup.run(["push", "-h"]).succeeded().says("Push an app");
}

#[test]
fn the_version_is_told_in_every_usual_way() {
    let cup = Cup::new();
    for arguments in [["version"], ["-V"], ["--version"], ["-v"]] {
        cup.run(arguments)
            .succeeded()
            .says(concat!("cup ", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn completions_are_written_for_the_shells() {
    for shell in ["bash", "zsh", "fish"] {
        Cup::new()
            .run(["completions", shell])
            .succeeded()
            .says("create-space");
    }
}
