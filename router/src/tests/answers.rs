use std::time::Duration;

use super::harness::{Origin, Router, nowhere, ok};
use crate::config::Config;

#[test]
fn the_router_says_why_it_cannot_answer() {
    let router = Router::start(Config::default());
    router.register("dead.test", nowhere(), "i-1");
    for (request, status, error, cache, text) in [
        (
            "GET / HTTP/1.1\r\nHost: no.test\r\n\r\n",
            404,
            "unknown_route",
            Some("no-cache, no-store"),
            "404 Not Found: Requested route ('no.test') does not exist.\n",
        ),
        (
            "GET / HTTP/1.0\r\n\r\n",
            400,
            "empty_host",
            Some("public,max-age=2"),
            "400 Bad Request: Request had empty Host header\n",
        ),
        (
            "GET / HTTP/1.1\r\nHost: dead.test\r\n\r\n",
            502,
            "endpoint_failure (dial failed)",
            None,
            "502 Bad Gateway: Registered endpoint failed to handle the request.\n",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            400,
            "bad_request (Host header)",
            None,
            "400 Bad Request: Request is malformed (Host header).\n",
        ),
    ] {
        let answer = router.ask(request);
        assert_eq!(answer.status(), status, "{request}");
        assert_eq!(answer.text(), text);
        assert_eq!(answer.header("x-cf-routererror").as_deref(), Some(error));
        assert_eq!(answer.header("cache-control").as_deref(), cache);
        assert_eq!(
            answer.header("content-type").as_deref(),
            Some("text/plain; charset=utf-8")
        );
        assert_eq!(
            answer.header("x-content-type-options").as_deref(),
            Some("nosniff")
        );
        assert_eq!(answer.header("x-vcap-request-id").unwrap().len(), 36);
    }
}

#[test]
fn a_head_request_for_an_unknown_route_gets_no_body() {
    let router = Router::start(Config::default());
    let mut client = router.connect();
    let head = "HEAD / HTTP/1.1\r\nHost: no.test\r\n\r\n";
    client.send(head);
    assert_eq!(client.answer_to(head).unwrap().status(), 404);
    client.send("GET / HTTP/1.1\r\nHost: no.test\r\nConnection: close\r\n\r\n");
    assert!(client.answer_to("GET").unwrap().text().starts_with("404 "));
    assert_eq!(client.read_to_end(), b"");
}

#[test]
fn a_route_whose_endpoints_have_gone_is_remembered_when_configured() {
    let router = Router::start(Config {
        keep_empty: Duration::from_secs(30),
        ..Config::default()
    });
    let origin = Origin::named("x");
    let message = super::harness::registration("a.test", origin.address, "i-1");
    let now = crate::registry::Moment::default();
    router.registry.register(&message, now).unwrap();
    router.registry.unregister(&message, now).unwrap();
    let answer = router.get("a.test", "/");
    assert_eq!(answer.status(), 503);
    assert_eq!(
        answer.header("x-cf-routererror").as_deref(),
        Some("no_endpoints")
    );
    assert!(answer.text().contains("'a.test'"));
}

#[test]
fn a_route_behind_a_service_is_not_reached_around_it() {
    let router = Router::start(Config::default());
    let origin = Origin::named("x");
    let mut message = super::harness::registration("a.test", origin.address, "i-1");
    message.route_service_url = Some("https://guard.test".to_owned());
    router
        .registry
        .register(&message, crate::registry::Moment::default())
        .unwrap();
    let answer = router.get("a.test", "/");
    assert_eq!(answer.status(), 502);
    assert_eq!(
        answer.header("x-cf-routererror").as_deref(),
        Some("route_service_unsupported")
    );
    assert_eq!(origin.connections(), 0);
}

#[test]
fn health_checks_are_answered_whatever_they_ask_for() {
    let router = Router::start(Config::default());
    let probe = "GET /x HTTP/1.0\r\nUser-Agent: HTTP-Monitor/1.1\r\n\r\n";
    let answer = router.ask(probe);
    assert_eq!((answer.status(), answer.text()), (200, "ok\n"));
    assert_eq!(
        answer.header("cache-control").as_deref(),
        Some("private, max-age=0")
    );
    router.set_stage(crate::core::Stage::Draining);
    super::harness::eventually("health fails", || router.ask(probe).status() == 503);
}

#[test]
fn who_knows_the_key_learns_who_answered() {
    let router = Router::start(Config {
        trace_key: Some("22".to_owned()),
        ..Config::default()
    });
    let origin = Origin::named("x");
    router.register("a.test", origin.address, "i-1");
    let ask = |key: &str| {
        router.ask(&format!(
            "GET / HTTP/1.1\r\nHost: a.test\r\nX-Vcap-Trace: {key}\r\n\r\n"
        ))
    };
    let traced = ask("22");
    assert_eq!(
        traced.header("x-vcap-backend"),
        Some(origin.address.to_string())
    );
    assert_eq!(
        traced.header("x-cf-routeendpoint"),
        Some(origin.address.to_string())
    );
    assert_eq!(
        traced.header("x-vcap-router"),
        Some(router.address.to_string())
    );
    assert_eq!(ask("23").header("x-vcap-backend"), None);
}

#[test]
fn an_app_answers_in_its_own_words() {
    let router = Router::start(Config::default());
    let origin = Origin::answering(|request| match request.head.split(' ').nth(1).unwrap() {
        "/204" => b"HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n".to_vec(),
        "/304" => b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n".to_vec(),
        "/empty" => ok(""),
        "/head" => b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n".to_vec(),
        "/reason" => b"HTTP/1.1 299 Fine By Me\r\nContent-Length: 0\r\n\
                       x-lOwEr: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
                       Connection: X-Hop\r\nX-Hop: 1\r\nX-Vcap-Request-Id: mine\r\n\r\n"
            .to_vec(),
        other => ok(other),
    });
    router.register("a.test", origin.address, "i-1");
    let answer = router.get("a.test", "/204");
    assert_eq!(
        (answer.status(), answer.header("content-length")),
        (204, None)
    );
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!(
        router.get("a.test", "/304").header("etag").as_deref(),
        Some("\"x\"")
    );
    assert_eq!(
        router
            .get("a.test", "/empty")
            .header("content-length")
            .as_deref(),
        Some("0")
    );
    let answer = router.ask("HEAD /head HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(answer.header("content-length").as_deref(), Some("12345"));
    let answer = router.get("a.test", "/reason");
    assert!(
        answer.head.starts_with("HTTP/1.1 299 Fine By Me\r\n"),
        "{}",
        answer.head
    );
    assert!(
        answer.head.contains("\r\nx-lOwEr: 1\r\n"),
        "{}",
        answer.head
    );
    assert_eq!(answer.header("set-cookie").as_deref(), Some("a=1|b=2"));
    assert_eq!(answer.header("x-vcap-request-id").as_deref(), Some("mine"));
    for name in ["x-hop", "connection", "date", "server", "content-type"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
}
