use std::collections::BTreeSet;
use std::time::Duration;

use super::harness::{Origin, Router, ok};
use crate::config::Config;
use crate::core::Stage;

#[test]
fn a_request_arrives_as_it_was_sent_with_what_the_platform_adds() {
    let (router, origin) = (Router::start(Config::default()), Origin::mirror());
    router.register("a.test", origin.address, "i-1");
    let target = "//x/%2e%2E/y;p=1?q=%00&r";
    let answer = router.ask(&format!(
        "GET {target} HTTP/1.1\r\nHost: A.test:8080\r\nSOAPAction: x\r\nx-lower: 1\r\n\
         X-Forwarded-For: 10.9.8.7\r\nX-CF-ApplicationID: forged\r\nX-Vcap-Request-Id: forged\r\n\r\n"
    ));
    assert_eq!(answer.status(), 200);
    let head = answer.text();
    assert!(
        head.starts_with(&format!("GET {target} HTTP/1.1\r\n")),
        "{head}"
    );
    assert!(
        head.contains("\r\nSOAPAction: x\r\n") && head.contains("\r\nx-lower: 1\r\n"),
        "{head}"
    );
    for (name, value) in [
        ("Host", "A.test:8080"),
        ("X-Forwarded-For", "10.9.8.7, 127.0.0.1"),
        ("X-Forwarded-Proto", "http"),
        ("X-CF-ApplicationID", "app-1"),
        ("X-CF-InstanceID", "i-1"),
        ("X-CF-InstanceIndex", "0"),
    ] {
        assert_eq!(answer.mirrored(name).as_deref(), Some(value), "{name}");
    }
    assert!(answer.mirrored("X-Request-Start").is_some());
    let id = answer.mirrored("X-Vcap-Request-Id").unwrap();
    assert_eq!(id.len(), 36);
    assert_eq!(answer.header("X-Vcap-Request-Id"), Some(id));
}

#[test]
fn the_absolute_form_is_understood() {
    let (router, origin) = (Router::start(Config::default()), Origin::mirror());
    router.register("a.test", origin.address, "i-1");
    let answer = router.ask("GET http://a.test:99/p?q HTTP/1.1\r\nHost: other.test\r\n\r\n");
    assert!(answer.text().starts_with("GET /p?q HTTP/1.1\r\n"));
    assert_eq!(answer.mirrored("host").as_deref(), Some("a.test:99"));
}

#[test]
fn paths_lead_to_their_own_endpoints() {
    let router = Router::start(Config::default());
    let (root, api) = (Origin::named("root"), Origin::named("api"));
    router.register("a.test", root.address, "i-1");
    router.register("a.test/api", api.address, "i-2");
    assert_eq!(router.get("a.test", "/api/v1").text(), "api");
    assert_eq!(router.get("a.test", "/apiary").text(), "root");
}

#[test]
fn a_few_requests_reach_every_instance() {
    let router = Router::start(Config::default());
    let origins: Vec<_> = (0..4).map(|_| Origin::mirror()).collect();
    for (number, origin) in origins.iter().enumerate() {
        router.register("a.test", origin.address, &format!("i-{number}"));
    }
    let seen: BTreeSet<_> = (0..4)
        .map(|_| router.get("a.test", "/").mirrored("X-CF-InstanceID"))
        .collect();
    assert_eq!(seen.len(), 4);
}

#[test]
fn connections_to_endpoints_are_kept_and_requests_on_one_connection_answered_in_order() {
    let router = Router::start(Config {
        cores: 1,
        ..Config::default()
    });
    let origin = Origin::answering(|request| ok(request.head.lines().next().unwrap()));
    router.register("a.test", origin.address, "i-1");
    let mut client = router.connect();
    let requests: String = (0..10)
        .map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a.test\r\n\r\n"))
        .collect();
    client.send(&requests);
    for n in 0..10 {
        assert_eq!(
            client.answer_to("GET").unwrap().text(),
            format!("GET /{n} HTTP/1.1")
        );
    }
    assert_eq!(router.get("a.test", "/x").status(), 200);
    assert_eq!(origin.connections(), 1);
}

#[test]
fn a_connection_is_never_used_for_the_next_owner_of_an_address() {
    let router = Router::start(Config {
        cores: 1,
        ..Config::default()
    });
    let origin = Origin::start(|peer, connection| {
        while peer.request().is_some() {
            peer.send_bytes(&ok(&connection.to_string()));
        }
    });
    router.register("a.test", origin.address, "i-1");
    assert_eq!(router.get("a.test", "/").text(), "0");
    assert_eq!(router.get("a.test", "/").text(), "0");
    router.register("b.test", origin.address, "i-2");
    assert_eq!(router.get("a.test", "/").status(), 404);
    assert_eq!(router.get("b.test", "/").text(), "1");
}

#[test]
fn a_session_stays_with_its_instance_while_that_lasts() {
    let router = Router::start(Config::default());
    let origin = || {
        Origin::answering(|request| {
            let id = request.header("x-cf-instanceid").unwrap();
            let session = if request.head.contains("/login") {
                "Set-Cookie: JSESSIONID=s; Secure; SameSite=Lax\r\n"
            } else {
                ""
            };
            format!(
                "HTTP/1.1 200 OK\r\n{session}Content-Length: {}\r\n\r\n{id}",
                id.len()
            )
            .into()
        })
    };
    let (one, two, three) = (origin(), origin(), origin());
    for (number, origin) in [&one, &two, &three].into_iter().enumerate() {
        router.register("a.test/App", origin.address, &format!("i-{number}"));
    }
    let login = router.get("a.test", "/app/login");
    let instance = login.text().to_owned();
    let cookies = login.header("set-cookie").unwrap();
    assert!(
        cookies.contains(&format!(
            "__VCAP_ID__={instance}; Path=/App; SameSite=Lax; HttpOnly; Secure"
        )),
        "{cookies}"
    );
    let with_session = |id: &str| {
        router.ask(&format!(
            "GET /app HTTP/1.1\r\nHost: a.test\r\nCookie: JSESSIONID=s; __VCAP_ID__={id}\r\n\r\n"
        ))
    };
    for _ in 0..5 {
        let answer = with_session(&instance);
        assert_eq!(answer.text(), instance);
        assert_eq!(answer.header("set-cookie"), None);
    }
    let moved = with_session("i-gone");
    assert!(
        moved
            .header("set-cookie")
            .unwrap()
            .contains(&format!("__VCAP_ID__={};", moved.text()))
    );
}

#[test]
fn one_instance_can_be_asked_for() {
    let router = Router::start(Config::default());
    let guid = "01234567-89ab-cdef-0123-456789abcdef";
    let origins: Vec<_> = (0..3).map(|_| Origin::mirror()).collect();
    for (number, origin) in origins.iter().enumerate() {
        let mut message = super::harness::registration("a.test", origin.address, "x");
        message.app = Some(guid.to_owned());
        message.private_instance_id = Some(format!("i-{number}"));
        message.private_instance_index = Some(number.to_string());
        router
            .registry
            .register(&message, crate::registry::Moment::default())
            .unwrap();
    }
    let asked = |value: &str| {
        let line = format!("X-CF-App-Instance: {value}");
        router.ask(&format!("GET / HTTP/1.1\r\nHost: a.test\r\n{line}\r\n\r\n"))
    };
    for _ in 0..3 {
        let answer = asked(&format!("{guid}:1"));
        assert_eq!(answer.mirrored("x-cf-instanceindex").as_deref(), Some("1"));
        assert_eq!(answer.mirrored("x-cf-app-instance"), None);
    }
    let answer = asked(&format!("{guid}:7"));
    assert_eq!(answer.status(), 400);
    assert_eq!(
        answer.header("x-cf-routererror").as_deref(),
        Some("unknown_route")
    );
    let answer = asked("nonsense");
    assert_eq!(answer.status(), 400);
    let error = answer.header("x-cf-routererror");
    assert_eq!(error.as_deref(), Some("invalid_cf_app_instance_header"));
}

#[test]
fn just_after_the_start_an_unknown_route_is_waited_for() {
    let router = Router::start_at(Stage::Settling, Config::default());
    let origin = Origin::named("here");
    let mut client = router.connect();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    std::thread::sleep(Duration::from_millis(50));
    router.register("a.test", origin.address, "i-1");
    assert_eq!(client.answer_to("GET").unwrap().text(), "here");
    let mut client = router.connect();
    client.send("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n");
    router.set_stage(Stage::Serving);
    assert_eq!(client.answer_to("GET").unwrap().status(), 404);
}

#[test]
fn before_the_table_is_warm_clients_wait_and_are_not_refused() {
    let router = Router::start_at(Stage::Warming, Config::default());
    let origin = Origin::named("here");
    let mut client = router.connect();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    std::thread::sleep(Duration::from_millis(50));
    router.register("a.test", origin.address, "i-1");
    router.set_stage(Stage::Serving);
    assert_eq!(client.answer_to("GET").unwrap().text(), "here");
}
