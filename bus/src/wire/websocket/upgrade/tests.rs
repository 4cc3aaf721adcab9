#![allow(clippy::unwrap_used, reason = "a test may panic")]

use secrecy::ExposeSecret as _;

use super::*;

const USUAL: [(&str, &str); 5] = [
    ("Host", "bus.example:8080"),
    ("Upgrade", "websocket"),
    ("Connection", "keep-alive, Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];

fn upgrader(change: impl FnOnce(&mut Websocket)) -> Upgrader {
    let mut config = Websocket {
        no_tls: true,
        ..Websocket::default()
    };
    change(&mut config);
    Upgrader::new(&config, 1 << 20).unwrap()
}

/// The usual request with some headers replaced, left out (empty value) or added.
fn request(line: &str, changes: &[(&str, &str)]) -> String {
    let mut text = format!("{line}\r\n");
    for (name, value) in USUAL {
        let value = changes
            .iter()
            .find(|(changed, _)| *changed == name)
            .map_or(value, |(_, value)| value);
        if !value.is_empty() {
            let _ = write!(text, "{name}: {value}\r\n");
        }
    }
    let added = changes
        .iter()
        .filter(|(name, _)| USUAL.iter().all(|(known, _)| known != name));
    for (name, value) in added {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text + "\r\n"
}

fn status(upgrader: &Upgrader, line: &str, changes: &[(&str, &str)]) -> u16 {
    let answer = match upgrader.answer(request(line, changes).as_bytes()) {
        Outcome::Upgraded { answer, .. } | Outcome::Refused { answer, .. } => answer,
        Outcome::Incomplete => panic!("incomplete"),
    };
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_request_in_order_is_answered_as_the_rfc_shows() {
    let upgrader = upgrader(|config| {
        config.compression = true;
        config.headers = vec![("X-Served-By".to_owned(), "bus".to_owned())];
    });
    let text = request(
        "GET /any/path?x=1 HTTP/1.1",
        &[(
            "Sec-WebSocket-Extensions",
            "foo, permessage-deflate; client_max_window_bits",
        )],
    );
    for cut in 0..text.len() {
        assert!(matches!(
            upgrader.answer(&text.as_bytes()[..cut]),
            Outcome::Incomplete
        ));
    }
    let Outcome::Upgraded {
        length,
        answer,
        compress,
        ..
    } = upgrader.answer(format!("{text}more").as_bytes())
    else {
        panic!("refused");
    };
    assert_eq!((length, compress), (text.len(), true));
    assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
    assert!(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert!(answer.contains("server_no_context_takeover; client_no_context_takeover\r\n"));
    assert!(answer.ends_with("X-Served-By: bus\r\n\r\n"));
}

#[test]
fn compression_needs_both() {
    let offer = [("Sec-WebSocket-Extensions", "permessage-deflate")];
    let agreed = |upgrader: &Upgrader, changes: &[(&str, &str)]| {
        let text = request("GET / HTTP/1.1", changes);
        matches!(
            upgrader.answer(text.as_bytes()),
            Outcome::Upgraded { compress: true, .. }
        )
    };
    assert!(!agreed(&upgrader(|_| {}), &offer));
    let willing = upgrader(|config| config.compression = true);
    assert!(agreed(&willing, &offer) && !agreed(&willing, &[]));
}

#[test]
fn what_is_not_in_order_is_refused_properly() {
    let upgrader = upgrader(|_| {});
    let get = "GET / HTTP/1.1";
    assert_eq!(status(&upgrader, get, &[]), 101);
    // As some proxies ask.
    assert_eq!(status(&upgrader, "GET / HTTP/1.0", &[]), 101);
    for (line, changes, wanted) in [
        ("POST / HTTP/1.1", &[][..], 405),
        ("GET / HTTP/2.0", &[], 400),
        ("GET /leafnode HTTP/1.1", &[], 404),
        (get, &[("Host", "")], 400),
        (get, &[("Upgrade", "")], 400),
        (get, &[("Connection", "close")], 400),
        (get, &[("Sec-WebSocket-Version", "8")], 400),
        (get, &[("Sec-WebSocket-Key", "")], 400),
        (get, &[("Sec-WebSocket-Key", "c2hvcnQ=")], 400),
    ] {
        assert_eq!(
            status(&upgrader, line, changes),
            wanted,
            "{line} {changes:?}"
        );
    }
    assert!(matches!(
        upgrader.answer(b"CONNECT {}\r\n\r\n"),
        Outcome::Refused { .. }
    ));
    let many = "a: b\r\n".repeat(HEADERS + 1);
    let many = format!("{get}\r\n{many}\r\n");
    assert!(matches!(
        upgrader.answer(many.as_bytes()),
        Outcome::Refused { .. }
    ));
}

#[test]
fn pages_of_other_origins_stay_outside() {
    let get = "GET / HTTP/1.1";
    let from = |origin: &'static str| [("Origin", origin)];
    let same = upgrader(|config| config.same_origin = true);
    assert_eq!(status(&same, get, &from("http://bus.example:8080")), 101);
    assert_eq!(status(&same, get, &from("https://bus.example:8080")), 403);
    assert_eq!(status(&same, get, &from("http://evil.example:8080")), 403);
    assert_eq!(status(&same, get, &from("null")), 403);
    assert_eq!(status(&same, get, &[]), 101);
    let old = [("Sec-WebSocket-Origin", "http://evil.example")];
    assert_eq!(status(&same, get, &old), 403);
    let listed = upgrader(|config| config.allowed_origins = vec!["https://app.example".to_owned()]);
    assert_eq!(status(&listed, get, &from("https://app.example")), 101);
    assert_eq!(status(&listed, get, &from("http://app.example")), 403);
}

#[test]
fn cookies_and_forwarded_addresses_are_handed_on() {
    let upgrader = upgrader(|config| {
        config.jwt_cookie = Some("jwt".to_owned());
        config.user_cookie = Some("who".to_owned());
    });
    let text = request(
        "GET / HTTP/1.1",
        &[
            ("Cookie", "a=b; jwt=\"eyJ.x=\"; who=joe"),
            ("X-Forwarded-For", "192.0.2.7, 10.0.0.1"),
        ],
    );
    let Outcome::Upgraded { greeting, .. } = upgrader.answer(text.as_bytes()) else {
        panic!("refused");
    };
    let jwt = greeting.cookies.jwt.unwrap();
    assert_eq!(jwt.expose_secret(), "eyJ.x=");
    assert_eq!(greeting.cookies.user.as_deref(), Some("joe"));
    assert!(greeting.cookies.pass.is_none() && greeting.cookies.token.is_none());
    assert_eq!(greeting.forwarded_for, Some("192.0.2.7".parse().unwrap()));
}

#[test]
fn sections_that_make_no_sense() {
    let wrong = |change: &dyn Fn(&mut Websocket)| {
        let mut config = Websocket {
            no_tls: true,
            ..Websocket::default()
        };
        change(&mut config);
        Upgrader::new(&config, 1).unwrap_err().to_string()
    };
    assert!(wrong(&|config| config.no_tls = false).contains("requires TLS"));
    assert!(wrong(&|config| config.allowed_origins = vec!["app".to_owned()]).contains("\"app\""));
    for name in ["Upgrade", "Sec-WebSocket-Accept", "a b", ""] {
        let header = (name.to_owned(), "x".to_owned());
        assert!(wrong(&move |config| config.headers = vec![header.clone()]).contains(name));
    }
}
