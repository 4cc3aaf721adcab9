//! The platform on PostgreSQL, by one line of settings a database.

use std::time::Duration;

use cupola_db::testkit::PostgresServer;
use cupola_testkit::{Options, Platform, eventually, example};

#[test]
fn a_platform_on_postgresql_pushes_and_survives_its_connections_being_killed() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = {
        let _inside = runtime.enter();
        PostgresServer::start()
    };
    let controller = runtime.block_on(server.empty_database());
    let uaa = runtime.block_on(server.empty_database());
    let platform = Platform::start_with(Options {
        settings: format!(
            "[cloud_controller.database]\nurl = \"{controller}\"\n\n[uaa.database]\nurl = \"{uaa}\"\n"
        ),
        ..Options::default()
    });
    let site = example("static-site");
    let push = ["push", "site", "-p", site.to_str().unwrap(), "-m", "32M"];
    platform.cup(&push).succeeds();
    assert_eq!(platform.get("site", "/").status, 200);

    // As an administrator or a failover would: every connection of every role is cut.
    runtime.block_on(server.kill_clients());
    assert_eq!(platform.get("site", "/").status, 200, "apps do not notice");
    eventually("the API works again", Duration::from_secs(20), || {
        platform.cup(&["scale", "site", "-i", "2"]).ok
    });
    eventually("both instances serve", Duration::from_secs(20), || {
        platform.cup(&["app", "site"]).stdout.contains("2/2")
    });
    let embedded = platform
        .data_dir()
        .join("cloud_controller/cloud_controller.db");
    assert!(!embedded.exists(), "no SQLite beside PostgreSQL");
}
