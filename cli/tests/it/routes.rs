//! Routes and domains.

use serde_json::json;

use crate::cup::Cup;
use crate::platform::Platform;

fn with_app() -> (Platform, Cup) {
    let platform = Platform::start();
    platform.model().add_app("hello");
    let cup = Cup::logged_in(&platform);
    (platform, cup)
}

#[test]
fn domains_are_listed() {
    let (_platform, cup) = with_app();
    cup.run(["domains"]).succeeded().says(
        "name               status   type   details\n\
         apps.localhost     shared\n\
         mine.example.com   owned\n",
    );
}

#[test]
fn a_route_is_created_mapped_listed_unmapped_and_deleted() {
    let (platform, cup) = with_app();
    cup.run([
        "create-route",
        "dev",
        "apps.localhost",
        "-n",
        "WWW",
        "--path",
        "shop",
    ])
    .succeeded();
    assert_eq!(
        platform.only_request("POST /v2/routes").json(),
        json!({"host": "www", "path": "/shop", "domain_guid": "domain-1", "space_guid": "space-dev", "port": null})
    );
    cup.run(["routes"])
        .succeeded()
        .says("space   host   domain           port   path   type   apps   service");
    cup.run(["map-route", "hello", "apps.localhost", "-n", "www"])
        .succeeded();
    cup.run(["routes"])
        .succeeded()
        .says("dev     www    apps.localhost");
    assert_eq!(platform.model().routes["route-www"].1, ["app-1"]);
    cup.run(["unmap-route", "hello", "apps.localhost", "-n", "www"])
        .succeeded();
    assert!(platform.model().routes["route-www"].1.is_empty());
    cup.run(["unmap-route", "hello", "apps.localhost", "-n", "www"])
        .succeeded()
        .complains("was not bound");
    cup.run(["delete-route", "apps.localhost", "-n", "www"])
        .failed(1)
        .complains("use -f");
    cup.run(["delete-route", "apps.localhost", "-n", "www", "-f"])
        .succeeded();
    cup.run(["delete-route", "apps.localhost", "-n", "www", "-f"])
        .succeeded()
        .complains("does not exist");
    cup.run(["routes"]).succeeded().says("No routes found.");
}

#[test]
fn map_route_creates_what_is_missing() {
    let (platform, cup) = with_app();
    cup.run(["map-route", "hello", "apps.localhost", "-n", "new"])
        .succeeded();
    assert_eq!(platform.model().routes["route-new"].1, ["app-1"]);
}

#[test]
fn what_cannot_be_routed_is_told() {
    let (_platform, cup) = with_app();
    cup.run(["map-route", "hello", "nowhere.com"])
        .failed(1)
        .complains("domain nowhere.com not found");
    cup.run(["map-route", "hello", "apps.localhost"])
        .failed(1)
        .complains("shared domain, so a route of it needs a host");
    cup.run(["map-route", "hello", "apps.localhost", "-n", "taken"])
        .failed(1)
        .complains("already in use");
    cup.run(["map-route", "hello", "apps.localhost", "--path", "a?b"])
        .failed(64);
}
