//! From the row to the DEAs: starting, stopping, scaling, and who is believed.

use std::time::{Duration, Instant};

use cupola_messages::dea::{self, ExitReason, Exited, Refusal};
use cupola_messages::health::{self, StartProposal, StopProposal};
use cupola_types::{AppGuid, AppVersion, InstanceGuid, InstanceIndex};
use serde_json::{Value, json};

use crate::harness::Cloud;
use crate::peers::{Build, Dea, Stager, until};
use crate::push::push;

/// A staged app that runs one instance on `dea`.
async fn running(cloud: &Cloud, dea: &Dea, name: &str) -> String {
    let _stager = Stager::start(&cloud.bus, &format!("s-{name}"), Build::Droplet(b"droplet")).await;
    let app = push(cloud, name).await;
    cloud.app_becomes(&app, "package_state", "STAGED").await;
    dea.runs(&[0]).await;
    app
}

async fn version(cloud: &Cloud, app: &str) -> String {
    let app = cloud.get(&format!("/v2/apps/{app}")).await.is(200);
    app["entity"]["version"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn stop_start_and_scale_reach_the_dea_at_once() {
    let cloud = Cloud::start().await;
    let dea = Dea::start(&cloud.bus, "d1", 2048).await;
    let app = running(&cloud, &dea, "shop").await;
    let path = format!("/v2/apps/{app}");
    let first = version(&cloud, &app).await;

    cloud.put(&path, json!({"instances": 4})).await.is(201);
    dea.runs(&[0, 1, 2, 3]).await;
    cloud.put(&path, json!({"instances": 2})).await.is(201);
    dea.runs(&[0, 1]).await;
    let stop = dea.stops().pop().unwrap();
    assert_eq!(stop.indices, Some(vec![InstanceIndex(2), InstanceIndex(3)]));
    assert_eq!(stop.version, Some(AppVersion::new(&*first)));
    assert_eq!(
        version(&cloud, &app).await,
        first,
        "scaling keeps the version"
    );

    cloud.put(&path, json!({"state": "STOPPED"})).await.is(201);
    dea.runs(&[]).await;
    let began = Instant::now();
    cloud.put(&path, json!({"state": "STARTED"})).await.is(201);
    dea.runs(&[0, 1]).await;
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    assert_ne!(
        version(&cloud, &app).await,
        first,
        "a start draws a new version"
    );

    cloud.delete(&path).await.is(204);
    dea.runs(&[]).await;
    cloud.get(&path).await.refused(404, "AppNotFound");
}

/// An order that is just being finished when the next one comes must not be carried out again.
#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn no_instance_is_started_twice_however_fast_orders_come() {
    let cloud = Cloud::start().await;
    let dea = Dea::start(&cloud.bus, "d1", 64_000).await;
    let app = running(&cloud, &dea, "shop").await;
    let path = format!("/v2/apps/{app}");
    for instances in 2..=40 {
        cloud
            .put(&path, json!({"instances": instances}))
            .await
            .is(201);
    }
    let all: Vec<u32> = (0..40).collect();
    until("all instances", || dea.running().len() >= 40).await;
    cloud.put(&path, json!({"instances": 39})).await.is(201);
    dea.runs(&all[..39]).await;
    assert_eq!(dea.orders().len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn the_next_dea_is_asked_when_one_refuses_or_is_silent() {
    let cloud = Cloud::start().await;
    let full = Dea::start(&cloud.bus, "full", 4096).await;
    full.refuse(Refusal::NoMemory);
    // This one advertises and does not answer: nobody listens on its subject.
    let silent = dea::Advertise {
        id: cupola_types::DeaId::new("silent"),
        stacks: vec!["cupola-host".into()],
        available_memory: cupola_types::MemoryMb(8192),
        available_disk: None,
        app_id_to_count: Default::default(),
        placement_properties: Default::default(),
    };
    cloud.bus.publish(&dea::ADVERTISE, &silent).await.unwrap();
    let good = Dea::start(&cloud.bus, "good", 512).await;
    running(&cloud, &good, "shop").await;
    assert_eq!(good.indices(), [0]);
    assert!(full.running().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn an_order_waits_for_a_dea_that_comes_later() {
    let cloud = Cloud::start().await;
    let _stager = Stager::start(&cloud.bus, "s1", Build::Droplet(b"droplet")).await;
    let app = push(&cloud, "early").await;
    cloud.app_becomes(&app, "package_state", "STAGED").await;
    let dea = Dea::start(&cloud.bus, "d1", 512).await;
    dea.runs(&[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn an_order_that_was_not_carried_out_survives_the_controller() {
    let mut cloud = Cloud::start().await;
    let _stager = Stager::start(&cloud.bus, "s1", Build::Droplet(b"droplet")).await;
    let app = push(&cloud, "later").await;
    cloud.app_becomes(&app, "package_state", "STAGED").await;
    // Nobody can take it: the start is still open when the controller stops.
    cloud.restart().await;
    let dea = Dea::start(&cloud.bus, "d1", 512).await;
    dea.runs(&[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn what_was_done_of_an_order_is_not_done_again() {
    let mut cloud = Cloud::start().await;
    // Room for two instances of 64 MB.
    let dea = Dea::start(&cloud.bus, "d1", 150).await;
    let app = running(&cloud, &dea, "shop").await;
    cloud
        .put(&format!("/v2/apps/{app}"), json!({"instances": 3}))
        .await
        .is(201);
    until("the room to be used up", || dea.indices().len() == 2).await;
    cloud.restart().await;
    let other = Dea::start(&cloud.bus, "d2", 1024).await;
    until("the last instance", || !other.running().is_empty()).await;
    let mut all = [dea.indices(), other.indices()].concat();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn routes_reach_running_instances() {
    let cloud = Cloud::start().await;
    let dea = Dea::start(&cloud.bus, "d1", 512).await;
    let app = running(&cloud, &dea, "shop").await;
    let before = version(&cloud, &app).await;
    let route = cloud.route("store", &app).await;
    until("an update", || {
        dea.updates().iter().any(|update| update.uris.len() == 2)
    })
    .await;
    let update = dea.updates().pop().unwrap();
    assert_eq!(update.version, Some(AppVersion::new(&*before)));
    assert_eq!(
        version(&cloud, &app).await,
        before,
        "a route changes no version"
    );
    cloud.delete(&format!("/v2/routes/{route}")).await.is(204);
    until("the route to go", || {
        dea.updates().last().is_some_and(|u| u.uris.len() == 1)
    })
    .await;
    assert_eq!(dea.running().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn one_instance_is_restarted_and_the_others_are_left_alone() {
    let cloud = Cloud::start().await;
    let dea = Dea::start(&cloud.bus, "d1", 2048).await;
    let app = running(&cloud, &dea, "shop").await;
    cloud
        .put(&format!("/v2/apps/{app}"), json!({"instances": 2}))
        .await
        .is(201);
    dea.runs(&[0, 1]).await;
    let before: Vec<InstanceGuid> = dea.running().into_iter().map(|(guid, _)| guid).collect();
    cloud
        .delete(&format!("/v2/apps/{app}/instances/1"))
        .await
        .is(204);
    until("another instance 1", || {
        let now = dea.running();
        now.len() == 2 && now.iter().any(|(guid, _)| !before.contains(guid))
    })
    .await;
    let kept = dea
        .running()
        .iter()
        .filter(|(guid, _)| before.contains(guid))
        .count();
    assert_eq!((kept, dea.indices()), (1, vec![0, 1]));
    cloud
        .delete(&format!("/v2/apps/{app}/instances/7"))
        .await
        .refused(400, "InstancesError");
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn proposals_are_checked_against_the_row() {
    let cloud = Cloud::start().await;
    let dea = Dea::start(&cloud.bus, "d1", 2048).await;
    let app = running(&cloud, &dea, "shop").await;
    let version = version(&cloud, &app).await;
    let start = |index: u32, version: &str| StartProposal {
        message_id: "m".into(),
        droplet: AppGuid::new(&*app),
        version: AppVersion::new(version),
        instance_index: InstanceIndex(index),
    };
    // Neither another version nor an index beyond the wanted ones is started.
    cloud
        .bus
        .publish(&health::START, &start(0, "other"))
        .await
        .unwrap();
    cloud
        .bus
        .publish(&health::START, &start(1, &version))
        .await
        .unwrap();
    let stop = |instance: &InstanceGuid, version: &str, is_duplicate| StopProposal {
        message_id: "m".into(),
        droplet: AppGuid::new(&*app),
        version: AppVersion::new(version),
        instance_guid: instance.clone(),
        instance_index: InstanceIndex(0),
        is_duplicate,
    };
    let wanted = dea.running()[0].0.clone();
    cloud
        .bus
        .publish(&health::STOP, &stop(&wanted, &version, false))
        .await
        .unwrap();
    // What follows is heard after what came before: it proves that the others were refused.
    dea.lose(0);
    cloud
        .bus
        .publish(&health::START, &start(0, &version))
        .await
        .unwrap();
    dea.runs(&[0]).await;
    assert_eq!(dea.orders().len(), 2);
    assert!(dea.stops().is_empty());
    let now = dea.running()[0].0.clone();
    cloud
        .bus
        .publish(&health::STOP, &stop(&now, &version, true))
        .await
        .unwrap();
    dea.runs(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn instances_of_apps_that_do_not_exist_are_stopped() {
    let cloud = Cloud::start().await;
    let dea = Dea::start(&cloud.bus, "d1", 2048).await;
    let proposal = StopProposal {
        message_id: "m".into(),
        droplet: AppGuid::new("gone"),
        version: AppVersion::new("v"),
        instance_guid: InstanceGuid::new("i1"),
        instance_index: InstanceIndex(0),
        is_duplicate: false,
    };
    cloud.bus.publish(&health::STOP, &proposal).await.unwrap();
    until("a stop", || !dea.stops().is_empty()).await;
    assert_eq!(
        dea.stops()[0].instances,
        Some(vec![InstanceGuid::new("i1")])
    );
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn a_crash_is_in_the_events() {
    let cloud = Cloud::start().await;
    let app = cloud.app("fragile").await;
    let exited = |reason| Exited {
        cc_partition: String::new(),
        droplet: AppGuid::new(&*app),
        version: AppVersion::new("v"),
        instance: InstanceGuid::new("i1"),
        index: InstanceIndex(3),
        reason,
        crash_timestamp: Some(1),
        exit_status: 137,
        exit_description: "out of memory".into(),
        dea: None,
    };
    cloud
        .bus
        .publish(&dea::EXITED, &exited(ExitReason::Stopped))
        .await
        .unwrap();
    cloud
        .bus
        .publish(&dea::EXITED, &exited(ExitReason::Crashed))
        .await
        .unwrap();
    let path = format!("/v2/events?q=type:app.crash&q=actee:{app}");
    let deadline = Instant::now() + Duration::from_secs(10);
    let events = loop {
        let events = cloud.get(&path).await.is(200);
        if events["total_results"] != 0 {
            break events;
        }
        assert!(Instant::now() < deadline, "no crash was recorded");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(events["total_results"], 1);
    let event = &events["resources"][0]["entity"];
    assert_eq!(event["metadata"]["exit_description"], "out of memory");
    assert_eq!(event["metadata"]["index"], 3);
    assert_eq!(event["actor_type"], "app");
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn missing_instances_are_down_and_the_api_is_known_to_the_routers() {
    let cloud = Cloud::start().await;
    let mut registrations = cloud
        .bus
        .subscribe(&cupola_messages::router::REGISTER)
        .await
        .unwrap();
    let dea = Dea::start(&cloud.bus, "d1", 2048).await;
    let app = running(&cloud, &dea, "shop").await;
    dea.lose(0);
    let instances = cloud
        .get(&format!("/v2/apps/{app}/instances"))
        .await
        .is(200);
    assert_eq!(instances["0"]["state"], "DOWN");
    assert_eq!(instances["0"]["uptime"], 0);
    let start = cupola_messages::router::RouterStart {
        id: "r".into(),
        hosts: Vec::new(),
        minimum_register_interval_in_seconds: 20,
        prune_threshold_in_seconds: None,
    };
    cloud
        .bus
        .publish(&cupola_messages::router::START, &start)
        .await
        .unwrap();
    let registered = tokio::time::timeout(Duration::from_secs(5), registrations.next())
        .await
        .expect("a registration")
        .unwrap();
    assert_eq!(registered.uris, [format!("api.{}", crate::harness::DOMAIN)]);
}

#[tokio::test(flavor = "multi_thread")]
pub(crate) async fn the_bulk_api_tells_what_shall_run_to_whoever_may_know() {
    let cloud = Cloud::start().await;
    let (one, two) = (cloud.app("one").await, cloud.app("two").await);
    let path = "/bulk/apps?batch_size=1&bulk_token={}";
    cloud
        .call("GET", path, "", Value::Null)
        .await
        .refused(401, "NotAuthenticated");
    cloud.get(path).await.refused(401, "NotAuthenticated");
    let (user, password) = crate::harness::BULK;
    let fetch = async |path: &str| {
        cloud
            .send(
                cloud
                    .request("GET", path, "")
                    .basic_auth(user, Some(password)),
            )
            .await
    };
    let wrong = cloud
        .request("GET", path, "")
        .basic_auth(user, Some("wrong"));
    cloud.send(wrong).await.refused(401, "NotAuthenticated");
    let first = fetch(path).await.is(200);
    assert_eq!(first["results"][&one]["state"], "STOPPED");
    assert_eq!(first["results"][&one]["package_state"], "PENDING");
    let token = first["bulk_token"].to_string();
    let second = fetch(&format!("/bulk/apps?batch_size=1&bulk_token={token}"))
        .await
        .is(200);
    assert!(second["results"][&two].is_object());
    let token = second["bulk_token"].to_string();
    let last = fetch(&format!("/bulk/apps?batch_size=1&bulk_token={token}"))
        .await
        .is(200);
    assert_eq!(last, json!({"results": {}, "bulk_token": {"id": null}}));
    fetch("/bulk/apps?bulk_token={}")
        .await
        .refused(400, "BadQueryParameter");
    fetch("/bulk/apps?batch_size=5")
        .await
        .refused(400, "BadQueryParameter");
}
