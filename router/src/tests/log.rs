use super::harness::{Origin, Router, nowhere, ok};
use crate::config::Config;

fn line(router: &mut Router) -> String {
    router.lines.blocking_recv().unwrap().remove(0).text
}

/// The value behind `name:`, without quotes.
fn field(line: &str, name: &str) -> String {
    let rest = line
        .split(&format!(" {name}:"))
        .nth(1)
        .unwrap_or_else(|| panic!("{name}: {line}"));
    rest.split(' ').next().unwrap().trim_matches('"').to_owned()
}

#[test]
fn a_request_leaves_one_line_with_everything_in_its_place() {
    let mut router = Router::start(Config::default());
    let origin = Origin::answering(|_| ok("hello"));
    router.register("a.test", origin.address, "i-1");
    let answer = router.ask(
        "POST /x?y=1 HTTP/1.1\r\nHost: A.test:80\r\nReferer: http://r/\r\nUser-Agent: a \"b\"\\\t\x01\r\n\
         X-Forwarded-For: 10.0.0.1\r\nContent-Length: 2\r\n\r\nhi",
    );
    // A control byte other than a tab is refused by the parser, before there is anything to log.
    assert_eq!(answer.status(), 400);
    let answer = router.ask(
        "POST /x?y=1 HTTP/1.1\r\nHost: A.test:80\r\nReferer: http://r/\r\nUser-Agent: a \"b\"\\\tc\r\n\
         X-Forwarded-For: 10.0.0.1\r\nContent-Length: 2\r\n\r\nhi",
    );
    assert_eq!(answer.status(), 200);
    let line = line(&mut router);
    assert!(line.starts_with("A.test - [20"), "{line}");
    assert!(
        line.contains(
            "Z] \"POST /x?y=1 HTTP/1.1\" 200 2 5 \"http://r/\" \"a \\\"b\\\"\\\\\\x09c\" \"127.0.0.1:"
        ),
        "{line}"
    );
    assert!(line.contains(&format!(
        "\" \"{}\" x_forwarded_for:\"10.0.0.1, 127.0.0.1\"",
        origin.address
    )));
    assert_eq!(field(&line, "x_forwarded_proto"), "http");
    assert_eq!(
        Some(field(&line, "vcap_request_id")),
        answer.header("x-vcap-request-id")
    );
    assert_eq!(field(&line, "app_id"), "app-1");
    assert_eq!(field(&line, "app_index"), "0");
    assert_eq!(field(&line, "instance_id"), "i-1");
    assert_eq!(field(&line, "x_cf_routererror"), "-");
    let took = field(&line, "response_time").parse::<f64>().unwrap();
    let router_took = field(&line, "gorouter_time").parse::<f64>().unwrap();
    assert!(
        0.0 < router_took && router_took <= took && took < 5.0,
        "{line}"
    );
}

#[test]
fn failures_of_an_endpoint_are_in_its_apps_log() {
    let mut router = Router::start(Config::default());
    router.register("a.test", nowhere(), "i-1");
    assert_eq!(router.get("a.test", "/").status(), 502);
    let line = line(&mut router);
    assert!(line.contains("\"GET / HTTP/1.1\" 502 0 "), "{line}");
    assert!(
        line.ends_with("x_cf_routererror:\"endpoint_failure (dial failed)\""),
        "{line}"
    );
}

#[test]
fn requests_for_no_app_are_in_no_apps_log() {
    let mut router = Router::start(Config::default());
    let origin = Origin::named("api");
    let mut message = super::harness::registration("api.test", origin.address, "cc");
    message.app = None;
    router
        .registry
        .register(&message, crate::registry::Moment::default())
        .unwrap();
    assert_eq!(router.get("api.test", "/").status(), 200);
    assert_eq!(router.get("no.test", "/").status(), 404);
    router.close();
    assert!(router.lines.blocking_recv().is_none());
}

#[test]
fn an_upgrade_is_logged_when_it_ends() {
    let mut router = Router::start(Config::default());
    let origin = Origin::start(|peer, _| {
        peer.head();
        peer.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhi",
        );
    });
    router.register("a.test", origin.address, "i-1");
    let mut client = router.connect();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nyou");
    client.wait_closed();
    drop(client);
    let line = line(&mut router);
    assert!(line.contains("\"GET / HTTP/1.1\" 101 "), "{line}");
}
