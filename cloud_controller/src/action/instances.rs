//! What runs of an app, as the DEAs and the health manager tell it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cupola_component::BusError;
use cupola_db::{now, since_epoch};
use cupola_http::{ApiError, api_error};
use cupola_messages::dea::{self, FindInstances, FoundInstance, InstanceFilter};
use cupola_messages::health::{self, AppActual, AppQuery, BulkQuery, MAX_BULK_APPS};
use cupola_types::{AppGuid, AppVersion, InstanceGuid, InstanceIndex, InstanceState};
use serde_json::{Map, Value, json};

use super::{app as apps, app_life};
use crate::access::SpaceRight;
use crate::actor::Actor;
use crate::controller::Controller;
use crate::error::Fail;
use crate::model::app::App;
use crate::model::order::Order;

/// How long DEAs may take to say what they run.
const FIND_WITHIN: Duration = Duration::from_secs(2);
/// How long the health manager may take; it answers from memory or not at all.
const STATE_WITHIN: Duration = Duration::from_millis(500);
/// Crashes after which an index counts as flapping.
const FLAPPING_AFTER: u32 = 3;
/// Apps whose running counts are asked for one answer of ours.
const MOST_COUNTED: usize = 1_000;

/// What one index looks like to a client.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    state: &'static str,
    since: f64,
    found: Option<FoundInstance>,
}

/// The app, if the actor may look at its instances.
pub(crate) async fn readable(
    controller: &Controller,
    actor: &Actor,
    guid: &str,
) -> Result<App, Fail> {
    let (actor, guid) = (actor.clone(), guid.to_owned());
    controller
        .read(move |c| Ok(apps::find(c, &actor, &guid, SpaceRight::Read)?.0))
        .await
}

/// `GET /v2/apps/:guid/instances`.
pub(crate) async fn list(
    controller: &Controller,
    actor: &Actor,
    guid: &str,
) -> Result<Value, ApiError> {
    let app = readable(controller, actor, guid).await?;
    if app.has_failed() {
        return Err(staging_error(&app));
    }
    if !app.is_staged() {
        return Err(api_error::NOT_STAGED.bare());
    }
    if !app.is_started() {
        let what = format!(
            "Request failed for app: {} as the app is in stopped state.",
            app.name
        );
        return Err(api_error::INSTANCES_ERROR.with(what));
    }
    let written = look(controller, &app, false)
        .await
        .into_iter()
        .map(|(index, seen)| {
            let uptime = uptime(seen.since);
            let value = json!({
                "state": seen.state,
                "uptime": if seen.state == "DOWN" { 0 } else { uptime },
                "since": seen.since,
                "debug_ip": null, "debug_port": null, "console_ip": null, "console_port": null,
            });
            (index.to_string(), value)
        });
    Ok(Value::Object(written.collect()))
}

/// `GET /v2/apps/:guid/stats`.
pub(crate) async fn stats(
    controller: &Controller,
    actor: &Actor,
    guid: &str,
) -> Result<Value, ApiError> {
    let app = readable(controller, actor, guid).await?;
    if !app.is_started() {
        return Err(api_error::APP_STOPPED_STATS_ERROR.with(&app.name));
    }
    let mut written = Map::new();
    for (index, seen) in look(controller, &app, true).await {
        written.insert(index.to_string(), stat(&seen));
    }
    Ok(Value::Object(written))
}

fn stat(seen: &Seen) -> Value {
    let Some(stats) = seen.found.as_ref().and_then(|found| found.stats.as_ref()) else {
        let uptime = if seen.found.is_some() {
            uptime(seen.since)
        } else {
            0
        };
        return json!({"state": seen.state, "isolation_segment": null, "stats": {"uptime": uptime}});
    };
    json!({
        "state": seen.state,
        "isolation_segment": null,
        "stats": {
            "name": stats.name,
            "uris": stats.uris,
            "host": stats.host,
            "port": stats.port,
            "uptime": stats.uptime,
            "mem_quota": stats.mem_quota,
            "disk_quota": stats.disk_quota,
            "fds_quota": stats.fds_quota,
            "usage": {
                "time": stats.usage.time,
                "cpu": stats.usage.cpu,
                "mem": stats.usage.mem,
                "disk": stats.usage.disk,
            },
        },
    })
}

/// The same in the shape of v3: every wanted instance, none of a stopped app.
pub(crate) async fn process_stats(controller: &Controller, app: &App) -> Vec<Value> {
    if !app.is_started() {
        return Vec::new();
    }
    let seen = look(controller, app, true).await;
    let written = seen.into_iter().map(|(index, seen)| {
        let stats = seen.found.as_ref().and_then(|found| found.stats.as_ref());
        // v3 knows no flapping: an instance that crashes again and again has crashed.
        let state = if seen.state == "FLAPPING" {
            "CRASHED"
        } else {
            seen.state
        };
        let mut written = json!({
            "type": "web", "index": index, "state": state, "isolation_segment": null,
            "details": null, "uptime": if stats.is_some() { uptime(seen.since) } else { 0 },
        });
        if let Some(stats) = stats {
            written["host"] = json!(stats.host);
            written["uptime"] = json!(stats.uptime);
            written["mem_quota"] = json!(stats.mem_quota);
            written["disk_quota"] = json!(stats.disk_quota);
            written["fds_quota"] = json!(stats.fds_quota);
            written["usage"] = json!({
                "time": stats.usage.time, "cpu": stats.usage.cpu,
                "mem": stats.usage.mem, "disk": stats.usage.disk,
            });
        }
        written
    });
    written.collect()
}

/// `GET /v2/apps/:guid/crashes`.
pub(crate) async fn crashes(
    controller: &Controller,
    actor: &Actor,
    guid: &str,
) -> Result<Value, ApiError> {
    let app = readable(controller, actor, guid).await?;
    let known = actual(controller, &app).await.unwrap_or_default();
    let crashed = known
        .instance_heartbeats
        .iter()
        .filter(|b| b.state == InstanceState::Crashed);
    let written = crashed.map(|beat| {
        json!({
            "instance": beat.instance,
            "uptime": uptime(beat.state_timestamp),
            "since": beat.state_timestamp,
        })
    });
    Ok(Value::Array(written.collect()))
}

/// Every wanted index with what is known of it.
async fn look(controller: &Controller, app: &App, include_stats: bool) -> BTreeMap<u32, Seen> {
    let known = actual(controller, app).await.unwrap_or_default();
    let mut seen = crashed(&known, app.wanted());
    // The DEAs are asked for the rest alone: nobody answers for what has crashed.
    let expected = (0..app.wanted())
        .filter(|index| !seen.contains_key(index))
        .count();
    let found = find(controller, app, include_stats, expected).await;
    for instance in found {
        let index = instance.index.0;
        if index >= app.wanted() {
            continue;
        }
        let state = match instance.state {
            InstanceState::Running | InstanceState::Evacuating => "RUNNING",
            _ => "STARTING",
        };
        let is_better = seen.get(&index).is_none_or(|other| {
            other.found.is_none() || (state == "RUNNING" && other.state != "RUNNING")
        });
        if is_better {
            let since = instance.state_timestamp;
            seen.insert(
                index,
                Seen {
                    state,
                    since,
                    found: Some(instance),
                },
            );
        }
    }
    let at = since_epoch(now());
    for index in 0..app.wanted() {
        seen.entry(index).or_insert(Seen {
            state: "DOWN",
            since: at,
            found: None,
        });
    }
    seen
}

/// Indices of which the health manager knows no instance that is up, but a crash.
fn crashed(known: &AppActual, wanted: u32) -> BTreeMap<u32, Seen> {
    let is_up = |state| {
        matches!(
            state,
            InstanceState::Starting | InstanceState::Running | InstanceState::Evacuating
        )
    };
    let up: BTreeSet<u32> = known
        .instance_heartbeats
        .iter()
        .filter(|beat| is_up(beat.state))
        .map(|beat| beat.index.0)
        .collect();
    let mut seen = BTreeMap::new();
    for beat in &known.instance_heartbeats {
        let index = beat.index.0;
        if beat.state == InstanceState::Crashed && index < wanted && !up.contains(&index) {
            let since = beat.state_timestamp;
            seen.insert(
                index,
                Seen {
                    state: "CRASHED",
                    since,
                    found: None,
                },
            );
        }
    }
    for count in &known.crash_counts {
        let index = count.instance_index.0;
        if count.crash_count >= FLAPPING_AFTER && index < wanted && !up.contains(&index) {
            #[expect(
                clippy::cast_precision_loss,
                reason = "seconds of this century fit 53 bits"
            )]
            let since = count.created_at as f64;
            seen.insert(
                index,
                Seen {
                    state: "FLAPPING",
                    since,
                    found: None,
                },
            );
        }
    }
    seen
}

/// What the DEAs run of an app's version; stops waiting when `expected` indices have answered.
async fn find(
    controller: &Controller,
    app: &App,
    include_stats: bool,
    expected: usize,
) -> Vec<FoundInstance> {
    if expected == 0 {
        return Vec::new();
    }
    let states = vec![
        InstanceState::Starting,
        InstanceState::Running,
        InstanceState::Evacuating,
    ];
    let question = FindInstances {
        filter: InstanceFilter {
            version: Some(AppVersion::new(&*app.version)),
            states: Some(states),
            ..InstanceFilter::app(AppGuid::new(&*app.guid))
        },
        include_stats,
        path: None,
    };
    let enough = |answers: &[FoundInstance]| {
        answers
            .iter()
            .map(|answer| answer.index)
            .collect::<BTreeSet<_>>()
            .len()
            >= expected
    };
    match controller
        .bus
        .request_many(&dea::FIND, &question, FIND_WITHIN, enough)
        .await
    {
        Ok(found) => found,
        Err(BusError::NoResponders { .. }) => Vec::new(),
        Err(error) => {
            tracing::warn!("cannot ask the DEAs for instances: {error}");
            Vec::new()
        }
    }
}

/// What the health manager knows of an app; `None` when it knows nothing fresh or is away.
async fn actual(controller: &Controller, app: &App) -> Option<AppActual> {
    let question = query(app);
    match controller
        .bus
        .request(&health::APP_STATE, &question, STATE_WITHIN)
        .await
    {
        Ok(known) => Some(known),
        Err(error) => {
            tracing::debug!("the health manager says nothing of an app: {error}");
            None
        }
    }
}

fn query(app: &App) -> AppQuery {
    AppQuery {
        droplet: AppGuid::new(&*app.guid),
        version: AppVersion::new(&*app.version),
    }
}

/// How many instances of each app are up: 0 for stopped ones, -1 when nobody knows.
pub(crate) async fn running_counts(controller: &Controller, apps: &[App]) -> BTreeMap<String, i64> {
    let mut counts: BTreeMap<String, i64> = apps
        .iter()
        .map(|app| (app.guid.clone(), if app.is_started() { -1 } else { 0 }))
        .collect();
    let started: Vec<&App> = apps
        .iter()
        .filter(|app| app.is_started())
        .take(MOST_COUNTED)
        .collect();
    for some in started.chunks(MAX_BULK_APPS) {
        let question = BulkQuery(some.iter().map(|app| query(app)).collect());
        let answer = controller
            .bus
            .request(&health::APP_STATE_BULK, &question, STATE_WITHIN)
            .await;
        let Ok(answer) = answer else { return counts };
        for app in some {
            let known = answer.0.get(&AppGuid::new(&*app.guid));
            let Some(known) = known.filter(|known| known.droplet.is_some()) else {
                continue;
            };
            let up: BTreeSet<u32> = known
                .instance_heartbeats
                .iter()
                .filter(|b| matches!(b.state, InstanceState::Starting | InstanceState::Running))
                .map(|beat| beat.index.0)
                .filter(|index| *index < app.wanted())
                .collect();
            counts.insert(
                app.guid.clone(),
                i64::try_from(up.len()).unwrap_or(i64::MAX),
            );
        }
    }
    counts
}

/// `DELETE /v2/apps/:guid/instances/:index`: another instance takes its place.
pub(crate) async fn restart(
    controller: &Controller,
    actor: &Actor,
    guid: &str,
    index: u32,
) -> Result<(), ApiError> {
    let (who, wanted) = (actor.clone(), guid.to_owned());
    let app = controller
        .read(move |c| Ok(apps::find(c, &who, &wanted, SpaceRight::Develop)?.0))
        .await?;
    if !app.is_started() || index >= app.wanted() {
        let what = format!("there is no instance {index} of {}", app.name);
        return Err(api_error::INSTANCES_ERROR.with(what));
    }
    let found = find(
        controller,
        &app,
        false,
        app.instances.try_into().unwrap_or(1),
    )
    .await;
    let here: Vec<InstanceGuid> = found
        .into_iter()
        .filter(|instance| instance.index == InstanceIndex(index))
        .map(|instance| instance.instance)
        .collect();
    let (who, wanted) = (actor.clone(), guid.to_owned());
    controller
        .decide(move |c, orders| {
            let (app, space) = apps::find(c, &who, &wanted, SpaceRight::Develop)?;
            let metadata = json!({"index": index});
            apps::audit(
                c,
                "audit.app.process.terminate_instance",
                &who,
                &app,
                &space,
                &metadata,
            )?;
            if !app.is_started() || !app.is_staged() {
                return Ok(());
            }
            let stop = Order::Stop {
                version: Some(AppVersion::new(&*app.version)),
                indices: None,
                instances: Some(here.clone()),
            };
            orders.give(&app.guid, stop);
            app_life::run_indices(orders, &app, index..index + 1);
            Ok(())
        })
        .await?;
    Ok(())
}

/// Why the last build of an app failed, as an error of its own kind.
fn staging_error(app: &App) -> ApiError {
    let description = app.staging_failed_description.clone().unwrap_or_default();
    let code = match app.staging_failed_reason.as_deref() {
        Some("NoAppDetectedError") => &api_error::NO_APP_DETECTED_ERROR,
        Some("BuildpackCompileFailed") => &api_error::BUILDPACK_COMPILE_FAILED,
        Some("BuildpackReleaseFailed") => &api_error::BUILDPACK_RELEASE_FAILED,
        Some("StagingTimeExpired") => &api_error::STAGING_TIME_EXPIRED,
        Some("StagerError") => &api_error::STAGER_ERROR,
        Some("InsufficientResources") => &api_error::INSUFFICIENT_RESOURCES,
        _ => &api_error::STAGING_ERROR,
    };
    // Whatever the failure, a client that polls must see a client's error.
    let status = actix_web::http::StatusCode::BAD_REQUEST;
    let error = code.with(&description).with_status(status);
    if description.is_empty() {
        error
    } else {
        error.with_description(description)
    }
}

fn uptime(since: f64) -> i64 {
    let seconds = (since_epoch(now()) - since).max(0.0);
    #[expect(clippy::cast_possible_truncation, reason = "seconds of an uptime")]
    let whole = seconds as i64;
    whole
}

#[cfg(test)]
mod tests {
    use cupola_messages::health::{ActualInstance, CrashCount};

    use super::*;

    fn beat(index: u32, state: InstanceState) -> ActualInstance {
        ActualInstance {
            droplet: AppGuid::new("app"),
            version: AppVersion::new("v"),
            instance: InstanceGuid::generate(),
            index: InstanceIndex(index),
            state,
            state_timestamp: 7.0,
            dea_guid: "d".into(),
        }
    }

    fn crashes(index: u32, crash_count: u32) -> CrashCount {
        CrashCount {
            droplet: AppGuid::new("app"),
            version: AppVersion::new("v"),
            instance_index: InstanceIndex(index),
            crash_count,
            created_at: 9,
        }
    }

    #[test]
    fn a_crash_counts_only_while_nothing_is_up() {
        let known = AppActual {
            instance_heartbeats: vec![
                beat(0, InstanceState::Crashed),
                beat(0, InstanceState::Starting),
                beat(1, InstanceState::Crashed),
                beat(2, InstanceState::Crashed),
                beat(9, InstanceState::Crashed),
            ],
            crash_counts: vec![crashes(0, 5), crashes(1, 2), crashes(2, 3)],
            ..AppActual::default()
        };
        let seen = crashed(&known, 4);
        let states: Vec<(u32, &str)> = seen.iter().map(|(i, s)| (*i, s.state)).collect();
        assert_eq!(states, [(1, "CRASHED"), (2, "FLAPPING")]);
    }
}
