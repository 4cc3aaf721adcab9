//! DEAs and stagers, played on the bus as the real ones speak.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cupola_component::Bus;
use cupola_messages::dea::{
    self, Advertise, FoundInstance, InstanceFilter, InstanceStats, Refusal, StartAnswer,
    StartInstance, UpdateRoutes, Usage,
};
use cupola_messages::staging::{self, Completed, StagingFailure, StagingFailureKind, StartStaging};
use cupola_types::{DeaId, DiskMb, InstanceGuid, InstanceState, MemoryMb, StagerId, StagingTaskId};
use sha1::{Digest, Sha1};

/// A DEA that takes whatever its memory has room for and runs it at once.
pub(crate) struct Dea {
    pub(crate) id: DeaId,
    bus: Bus,
    state: Arc<Mutex<DeaState>>,
}

#[derive(Default)]
struct DeaState {
    memory: u32,
    refuses: Option<Refusal>,
    running: BTreeMap<InstanceGuid, StartInstance>,
    orders: Vec<StartInstance>,
    stops: Vec<InstanceFilter>,
    updates: Vec<UpdateRoutes>,
}

impl Dea {
    pub(crate) async fn start(bus: &Bus, id: &str, memory: u32) -> Self {
        let id = DeaId::new(id);
        let state = Arc::new(Mutex::new(DeaState {
            memory,
            ..DeaState::default()
        }));
        let mut starts = bus.serve(&dea::start(&id)).await.unwrap();
        let mut finds = bus.serve(&dea::FIND).await.unwrap();
        let mut stops = bus.subscribe(&dea::STOP).await.unwrap();
        let mut updates = bus.subscribe(&dea::UPDATE).await.unwrap();
        let mut locates = bus.subscribe(&dea::LOCATE).await.unwrap();
        let this = Self {
            id: id.clone(),
            bus: bus.clone(),
            state: state.clone(),
        };
        let own = Self {
            id,
            bus: bus.clone(),
            state,
        };
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(asked) = starts.next() => {
                        let order = asked.question.clone();
                        let answer = own.judge(&order);
                        let _ = asked.answer(&answer).await;
                        // It runs once the controller has been told that it will.
                        if let StartAnswer::Accepted { instance } = answer {
                            own.state.lock().unwrap().running.insert(instance, order);
                        }
                    }
                    Some(asked) = finds.next() => {
                        for found in own.find(&asked.question) {
                            let _ = asked.answer(&found).await;
                        }
                    }
                    Some(filter) = stops.next() => own.stop(filter),
                    Some(update) = updates.next() => own.state.lock().unwrap().updates.push(update),
                    Some(_) = locates.next() => own.advertise().await,
                    else => return,
                }
            }
        });
        bus.flush(Duration::from_secs(5)).await.unwrap();
        this.advertise().await;
        this
    }

    pub(crate) async fn advertise(&self) {
        let said = {
            let state = self.state.lock().unwrap();
            let mut counts = BTreeMap::new();
            for order in state.running.values() {
                *counts.entry(order.droplet.clone()).or_insert(0) += 1;
            }
            let used: u32 = state.running.values().map(|order| order.limits.mem.0).sum();
            Advertise {
                id: self.id.clone(),
                stacks: vec!["cupola-host".into()],
                available_memory: MemoryMb(state.memory.saturating_sub(used)),
                available_disk: Some(DiskMb(100_000)),
                app_id_to_count: counts,
                placement_properties: Default::default(),
            }
        };
        self.bus.publish(&dea::ADVERTISE, &said).await.unwrap();
    }

    /// Refuses everything from now on.
    pub(crate) fn refuse(&self, why: Refusal) {
        self.state.lock().unwrap().refuses = Some(why);
    }

    fn judge(&self, order: &StartInstance) -> StartAnswer {
        let mut state = self.state.lock().unwrap();
        state.orders.push(order.clone());
        if let Some(reason) = state.refuses {
            return StartAnswer::Refused {
                reason,
                detail: "as told".into(),
            };
        }
        let used: u32 = state.running.values().map(|order| order.limits.mem.0).sum();
        if used + order.limits.mem.0 > state.memory {
            let (reason, detail) = (Refusal::NoMemory, "full".into());
            return StartAnswer::Refused { reason, detail };
        }
        StartAnswer::Accepted {
            instance: InstanceGuid::generate(),
        }
    }

    fn stop(&self, filter: InstanceFilter) {
        let mut state = self.state.lock().unwrap();
        state.running.retain(|guid, order| {
            let (app, version) = (&order.droplet, &order.version);
            !filter.selects(app, version, guid, order.index, InstanceState::Running)
        });
        state.stops.push(filter);
    }

    fn find(&self, question: &dea::FindInstances) -> Vec<FoundInstance> {
        let state = self.state.lock().unwrap();
        let found = state.running.iter().filter(|(guid, order)| {
            let (app, version) = (&order.droplet, &order.version);
            question
                .filter
                .selects(app, version, guid, order.index, InstanceState::Running)
        });
        found
            .map(|(guid, order)| FoundInstance {
                dea: self.id.clone(),
                droplet: order.droplet.clone(),
                version: order.version.clone(),
                instance: guid.clone(),
                index: order.index,
                state: InstanceState::Running,
                state_timestamp: 1_700_000_000.5,
                stats: question.include_stats.then(|| InstanceStats {
                    name: order.name.clone(),
                    uris: order.uris.clone(),
                    host: "10.0.0.2".into(),
                    port: 8080,
                    uptime: 7,
                    mem_quota: order.limits.mem.bytes(),
                    disk_quota: order.limits.disk.bytes(),
                    fds_quota: order.limits.fds,
                    usage: Usage {
                        time: "now".into(),
                        cpu: 0.25,
                        mem: 1024,
                        disk: 2048,
                    },
                }),
                file_uri_v2: None,
            })
            .collect()
    }

    /// Forgets an instance, as if it had died.
    pub(crate) fn lose(&self, index: u32) {
        self.state
            .lock()
            .unwrap()
            .running
            .retain(|_, order| order.index.0 != index);
    }

    /// The orders that came so far.
    pub(crate) fn orders(&self) -> Vec<StartInstance> {
        self.state.lock().unwrap().orders.clone()
    }

    /// The stops that came so far.
    pub(crate) fn stops(&self) -> Vec<InstanceFilter> {
        self.state.lock().unwrap().stops.clone()
    }

    /// The route updates that came so far.
    pub(crate) fn updates(&self) -> Vec<UpdateRoutes> {
        self.state.lock().unwrap().updates.clone()
    }

    /// What runs here.
    pub(crate) fn running(&self) -> Vec<(InstanceGuid, StartInstance)> {
        let state = self.state.lock().unwrap();
        state
            .running
            .iter()
            .map(|(guid, order)| (guid.clone(), order.clone()))
            .collect()
    }

    /// The indices that run here, sorted.
    pub(crate) fn indices(&self) -> Vec<u32> {
        let mut indices: Vec<u32> = self
            .running()
            .iter()
            .map(|(_, order)| order.index.0)
            .collect();
        indices.sort_unstable();
        indices
    }

    /// Waits until exactly these indices run here.
    pub(crate) async fn runs(&self, indices: &[u32]) {
        until(&format!("{:?} to run on {}", indices, self.id), || {
            self.indices() == indices
        })
        .await;
    }
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a stager does with what it is given.
#[derive(Clone)]
pub(crate) enum Build {
    /// Makes a droplet of these bytes.
    Droplet(&'static [u8]),
    /// Fails.
    Fails(StagingFailureKind, &'static str),
    /// Says that it sent a droplet that it did not send.
    Lies,
    /// Takes it and is never heard of again.
    Forgets,
}

/// A stager.
pub(crate) struct Stager {
    pub(crate) id: StagerId,
    bus: Bus,
    orders: Arc<Mutex<Vec<StartStaging>>>,
    stops: Arc<Mutex<usize>>,
}

impl Stager {
    pub(crate) async fn start(bus: &Bus, id: &str, build: Build) -> Self {
        let id = StagerId::new(id);
        let orders = Arc::new(Mutex::new(Vec::new()));
        let stops = Arc::new(Mutex::new(0));
        let mut starts = bus.serve(&staging::start(&id)).await.unwrap();
        let mut stopped = bus.subscribe(&staging::STOP).await.unwrap();
        let mut locates = bus.subscribe(&staging::LOCATE).await.unwrap();
        let this = Self {
            id: id.clone(),
            bus: bus.clone(),
            orders: orders.clone(),
            stops: stops.clone(),
        };
        let own = Self {
            id,
            bus: bus.clone(),
            orders,
            stops,
        };
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(asked) = starts.next() => {
                        let order = asked.question.clone();
                        own.orders.lock().unwrap().push(order.clone());
                        let task_id = order.task_id.clone();
                        asked.answer(&staging::StartAnswer::Accepted { task_id }).await.unwrap();
                        tokio::spawn(work(own.id.clone(), order, build.clone()));
                    }
                    Some(_) = stopped.next() => *own.stops.lock().unwrap() += 1,
                    Some(_) = locates.next() => own.advertise(&[]).await,
                    else => return,
                }
            }
        });
        bus.flush(Duration::from_secs(5)).await.unwrap();
        this.advertise(&[]).await;
        this
    }

    pub(crate) async fn advertise(&self, tasks: &[StagingTaskId]) {
        let said = staging::Advertise {
            id: self.id.clone(),
            stacks: vec!["cupola-host".into()],
            available_memory: MemoryMb(8192),
            available_disk: Some(DiskMb(100_000)),
            tasks: tasks.to_vec(),
        };
        self.bus.publish(&staging::ADVERTISE, &said).await.unwrap();
    }

    pub(crate) fn orders(&self) -> Vec<StartStaging> {
        self.orders.lock().unwrap().clone()
    }

    /// How often it was told to give up an app.
    pub(crate) fn stops(&self) -> usize {
        *self.stops.lock().unwrap()
    }
}

async fn work(stager: StagerId, order: StartStaging, build: Build) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let package = http.get(&order.download_uri).send().await.unwrap();
    assert_eq!(package.status(), 200);
    assert!(!package.bytes().await.unwrap().is_empty());
    let mut result = Completed {
        task_id: order.task_id,
        app_id: order.app_id,
        stager_id: Some(stager),
        detected_buildpack: Some("Static file".into()),
        buildpack_key: Some("staticfile".into()),
        droplet_sha1: None,
        detected_start_command: Some("serve".into()),
        error_info: None,
    };
    match build {
        Build::Droplet(bytes) => {
            let sent = http
                .post(&order.upload_uri)
                .body(bytes)
                .send()
                .await
                .unwrap();
            assert_eq!(sent.status(), 201, "{}", sent.text().await.unwrap());
            result.droplet_sha1 = Some(hex::encode(Sha1::digest(bytes)));
        }
        Build::Fails(kind, message) => {
            result.error_info = Some(StagingFailure {
                kind,
                message: message.into(),
            });
        }
        Build::Lies => result.droplet_sha1 = Some("0".repeat(40)),
        Build::Forgets => return,
    }
    // A result that comes twice is taken twice and acted upon once.
    for _ in 0..2 {
        let sent = http
            .post(&order.completed_uri)
            .json(&result)
            .send()
            .await
            .unwrap();
        assert_eq!(sent.status(), 200, "{}", sent.text().await.unwrap());
    }
}
