//! How routers learn where UAA is.

use std::time::Duration;

use cupola_messages::router::{REGISTER, RouterStart, START, UNREGISTER};
use cupola_testkit::room::Broker;
use cupola_uaa::build;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::harness::{config, deps};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn the_routers_get_the_names_at_start_on_request_and_their_end() {
    let mut broker = Broker::start().await;
    let router = broker.connect().await;
    let mut registered = router.subscribe(&REGISTER).await.unwrap();
    let mut unregistered = router.subscribe(&UNREGISTER).await.unwrap();
    router.flush(SOON).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.domain = Some("house.test".to_owned());
    let deps = deps(&broker.url()).await;
    let (tasks, bus) = (deps.tasks.clone(), deps.bus.clone());
    let room = build(config, deps).await.unwrap();
    let address = room.address().unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(room.run(shutdown.clone()));

    let first = timeout(SOON, registered.next()).await.unwrap().unwrap();
    assert_eq!(
        (first.host.as_str(), first.port),
        ("127.0.0.1", address.port())
    );
    assert_eq!(first.uris, ["uaa.house.test", "login.house.test"]);
    assert_eq!(first.private_instance_id.as_deref(), Some("uaa-0"));

    let start = RouterStart {
        id: "r".to_owned(),
        hosts: vec![],
        minimum_register_interval_in_seconds: 20,
        prune_threshold_in_seconds: None,
    };
    router.publish(&START, &start).await.unwrap();
    timeout(SOON, registered.next()).await.unwrap().unwrap();

    shutdown.cancel();
    timeout(SOON, running).await.unwrap().unwrap().unwrap();
    tasks.close();
    timeout(SOON, tasks.wait()).await.unwrap();
    bus.flush(SOON).await.unwrap();
    timeout(SOON, unregistered.next()).await.unwrap().unwrap();
    broker.down().await;
}
