#![allow(clippy::unwrap_used, reason = "a test may panic")]

use cupola_bus::options::Options;
use secrecy::ExposeSecret as _;

use super::*;

fn line(text: &str) -> Result<Command, FlagError> {
    parse(text.split_ascii_whitespace().map(OsString::from))
}

fn options(text: &str) -> Options {
    let Ok(Command::Run(flags)) = line(text) else {
        panic!("not understood: {text}");
    };
    let mut options = Options::default();
    flags.apply(&mut options).unwrap();
    options
}

#[test]
fn one_dash_or_two_with_or_without_equals() {
    let options = options("-p -1 --net=127.0.0.1 -m -1 --name x -DV -c=/a.conf --logtime=false");
    assert_eq!((options.host.as_str(), options.port), ("127.0.0.1", 0));
    assert_eq!(options.monitor_port, Some(0));
    assert!(options.log.debug && options.log.trace && !options.log.time);
}

#[test]
fn a_port_of_zero_is_the_default() {
    let options = options("-p 0 -m 0");
    assert_eq!((options.port, options.monitor_port), (4222, None));
}

#[test]
fn a_cluster_by_flags() {
    let read = options(
        "--cluster nats://ruser:pw@127.0.0.1:6222 --routes nats://a:1,nats://b:2 --cluster_name west \
         --no_advertise=true --connect_retries 5 --cluster_advertise x:1",
    );
    assert_eq!(read.cluster.port, Some(6222));
    assert_eq!(read.cluster.host.as_deref(), Some("127.0.0.1"));
    let cluster = read.config.cluster.unwrap();
    assert_eq!(cluster.authorization.user.as_deref(), Some("ruser"));
    assert_eq!(cluster.name.as_deref(), Some("west"));
    assert_eq!((cluster.routes.len(), cluster.connect_retries), (2, 5));
    assert!(cluster.no_advertise);
    let read = options("--cluster_listen nats://127.0.0.1:-1");
    assert_eq!(read.cluster.port, Some(0));
    let mut alone = options("--routes nats://a:1");
    assert!(alone.resolve().is_err());
}

#[test]
fn tls_needs_certificate_and_key() {
    let read = options("--tlsverify --tlscert a.pem --tlskey b.pem --tlscacert c.pem");
    let tls = read.config.tls.unwrap();
    assert!(tls.verify && tls.ca_file.is_some());
    for half in [
        "--tls --tlscert a.pem",
        "--tlscert a.pem",
        "--tlskey a.pem",
        "--tlsverify",
    ] {
        let Ok(Command::Run(flags)) = line(half) else {
            panic!()
        };
        assert!(flags.apply(&mut Options::default()).is_err(), "{half}");
    }
    let read = options("--tlscert a.pem --tlskey b.pem");
    assert!(read.config.tls.is_some_and(|tls| !tls.verify));
    let Ok(Command::Run(flags)) = line("--tls=false --tlscert a.pem") else {
        panic!()
    };
    let mut secured = Options::default();
    secured.config.tls = Some(cupola_bus::config::Tls::default());
    flags.apply(&mut secured).unwrap();
    assert!(secured.config.tls.is_none());
}

#[test]
fn what_has_no_effect_is_noted() {
    let read = options("-js -sd /tmp/x --profile 1");
    assert_eq!(read.ignored, ["jetstream", "store_dir", "profile"]);
}

#[test]
fn mistakes_are_named() {
    assert_eq!(
        line("-nope").unwrap_err(),
        FlagError::Unknown("nope".into())
    );
    assert_eq!(line("-p").unwrap_err(), FlagError::NoValue("p".into()));
    assert!(matches!(line("-p 99999"), Err(FlagError::BadValue { .. })));
    assert_eq!(
        line("-T=maybe").unwrap_err().to_string(),
        "invalid boolean value \"maybe\" for -T: parse error"
    );
    for cluster in [
        "127.0.0.1:5",
        "nats://127.0.0.1",
        "nats://user@127.0.0.1:5",
        "nats://127.0.0.1:x",
    ] {
        let error = line(&format!("--cluster {cluster}")).unwrap_err();
        assert!(matches!(error, FlagError::Combination(_)), "{cluster}");
    }
    assert_eq!(line("x").unwrap_err(), FlagError::Extra("x".into()));
    assert!(matches!(line("---x"), Err(FlagError::Syntax(_))));
    assert!(matches!(line("-t"), Err(FlagError::Combination(_))));
    assert!(matches!(
        line("--routes http://x"),
        Err(FlagError::Route { .. })
    ));
    assert!(matches!(line("-v"), Ok(Command::Version)));
    // All of the line is looked at, up to the first word that is no flag.
    assert!(matches!(line("-h -v"), Ok(Command::Version)));
    assert!(matches!(line("-v -nope"), Err(FlagError::Unknown(_))));
    assert!(matches!(line("-p 1 HELP -nope"), Ok(Command::Help)));
    assert!(matches!(line("-- version"), Ok(Command::Version)));
    assert!(matches!(line("-v=false"), Ok(Command::Run(_))));
    assert!(matches!(line("-"), Err(FlagError::Extra(_))));
    assert!(matches!(line("-sl ldm=1"), Ok(Command::Signal(text)) if text == "ldm=1"));
}

#[test]
fn a_single_user_is_overridden_and_a_list_is_not() {
    let file = |text: &str, flags: &str| {
        let map = cupola_bus::conf::parse(text, "n.conf".as_ref(), &cupola_bus::conf::System);
        let mut options = Options::from_map(&map.unwrap()).unwrap();
        let Ok(Command::Run(flags)) = line(flags) else {
            panic!("not understood: {flags}");
        };
        flags.apply(&mut options)?;
        let authorization = &options.config.authorization;
        let users = authorization.users.iter().map(|user| {
            let password = user.password.as_ref().map(|it| it.expose_secret());
            format!("{}:{}", user.user.as_deref().unwrap(), password.unwrap())
        });
        Ok::<_, FlagError>((
            users.collect::<Vec<_>>().join(","),
            authorization.token.is_some(),
        ))
    };
    let single = "authorization { user: a, password: b }";
    let list = "authorization { users: [{ user: a, password: b }] }";
    for (text, flags, users, token) in [
        (single, "--user x --pass y", "x:y", false),
        (single, "--user x", "x:b", false),
        (single, "--pass y", "a:y", false),
        (single, "--auth t", "", true),
        (list, "--user x --pass y", "a:b", false),
        (list, "--auth t", "a:b", true),
        ("authorization { token: t }", "--user x --pass y", "", true),
        ("authorization { users: [] }", "--user x", "x:", false),
        ("", "--user x", "x:", false),
        ("", "--pass y", "", false),
        ("", "--user x --pass y --auth t", "", true),
    ] {
        let read = file(text, flags).unwrap();
        assert_eq!(read, (users.to_owned(), token), "{text} {flags}");
    }
    let accounts = "accounts { A { users: [{ user: a, password: b }] } }";
    for flags in ["--user x", "--auth t"] {
        assert!(matches!(
            file(accounts, flags),
            Err(FlagError::Combination(_))
        ));
    }
}
