//! A cloud controller with everything it needs, in one process.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use cupola_cloud_controller::{Config, MIGRATIONS, Room, build};
use cupola_component::{
    Bus, BusConfig, Deps, Health, Listeners, LogConfig, Metrics, start_logging,
};
use cupola_db::testkit::PostgresServer;
use cupola_http::TokenVerifier;
use cupola_http::bearer::{Policy, SigningKey};
use cupola_types::ComponentId;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) const DOMAIN: &str = "apps.example.test";
pub(crate) const BULK: (&str, &str) = ("bulk", "bulk-password");

thread_local! {
    static POSTGRES: RefCell<Option<Rc<PostgresServer>>> = const { RefCell::new(None) };
}

/// Runs a test with its database on PostgreSQL instead of in a file.
pub(crate) fn on(server: &Rc<PostgresServer>, test: fn()) {
    POSTGRES.set(Some(Rc::clone(server)));
    test();
    POSTGRES.set(None);
}

/// A running controller and the means to talk to it.
pub(crate) struct Cloud {
    pub(crate) base: String,
    /// The bus as the tests' own peers use it.
    pub(crate) bus: Bus,
    pub(crate) admin: String,
    key: SigningKey,
    http: reqwest::Client,
    bus_config: BusConfig,
    folder: TempDir,
    config: Value,
    running: Option<Running>,
    broker: CancellationToken,
}

struct Running {
    shutdown: CancellationToken,
    room: JoinHandle<anyhow::Result<()>>,
    tasks: TaskTracker,
}

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl Answer {
    /// The body of an answer with this status.
    pub(crate) fn is(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.body
    }

    /// An error with this status and name.
    pub(crate) fn refused(self, status: u16, name: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(
            self.body["error_code"],
            format!("CF-{name}"),
            "{}",
            self.text
        );
        assert!(self.body["code"].is_u64() && self.body["description"].is_string());
    }
}

/// The guid of a resource.
pub(crate) fn guid(resource: &Value) -> String {
    resource["metadata"]["guid"]
        .as_str()
        .expect("a resource")
        .to_owned()
}

impl Cloud {
    /// A controller on an empty folder.
    pub(crate) async fn start() -> Self {
        Self::start_with(json!({})).await
    }

    /// A controller on an empty folder, with these sections on top of the usual configuration.
    pub(crate) async fn start_with(sections: Value) -> Self {
        // Shown when the test fails.
        start_logging(&LogConfig {
            filter: Some("info,cupola_cloud_controller=debug".into()),
            ..LogConfig::default()
        });
        let broker_config = cupola_bus::Config {
            workers: Some(1),
            ..cupola_bus::Config::default()
        };
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let broker = cupola_bus::build(broker_config, socket).await.unwrap();
        let address = broker.client_address().unwrap();
        let stop_broker = CancellationToken::new();
        tokio::spawn(broker.run(stop_broker.clone()));
        let bus_config: BusConfig =
            serde_json::from_value(json!({"urls": [format!("nats://{address}")]})).unwrap();
        let bus = Bus::connect(&bus_config, "peers").await.unwrap();
        bus.wait_connected(Duration::from_secs(5)).await.unwrap();

        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path(), sections);
        if let Some(server) = POSTGRES.with_borrow(Clone::clone) {
            config["database"]["url"] = json!(server.fresh(MIGRATIONS).await.url);
        }
        let key = SigningKey::generate().unwrap();
        let mut cloud = Self {
            base: String::new(),
            bus,
            admin: String::new(),
            key,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            bus_config,
            folder,
            config,
            running: None,
            broker: stop_broker,
        };
        cloud.admin = cloud.token("admin-guid", "admin", &["cloud_controller.admin"]);
        cloud.boot().await;
        cloud
    }

    /// Stops the controller and starts it again on the same folder.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.boot().await;
    }

    /// Stops the controller.
    pub(crate) async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown.cancel();
            running.room.await.unwrap().unwrap();
            running.tasks.close();
            tokio::time::timeout(Duration::from_secs(5), running.tasks.wait())
                .await
                .expect("the room's tasks end");
        }
    }

    async fn boot(&mut self) {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        self.base = format!("http://{}", socket.local_addr().unwrap());
        let mut listeners = Listeners::none();
        listeners.insert("api", socket);
        let bus = Bus::connect(&self.bus_config, "cc").await.unwrap();
        bus.wait_connected(Duration::from_secs(5)).await.unwrap();
        let tasks = TaskTracker::new();
        let deps = Deps {
            bus,
            listeners,
            metrics: Metrics::default(),
            health: Health::default(),
            tasks: tasks.clone(),
            id: ComponentId::new("cc-0"),
            index: 0,
        };
        let mut config = self.config.clone();
        config["external_url"] = json!(self.base);
        let config: Config = serde_json::from_value(config).unwrap();
        let policy = Policy::for_audience("cloud_controller");
        let verifier = TokenVerifier::fixed(policy, &self.key.jwks()).unwrap();
        let room: Room = build(config, deps).await.unwrap().with_verifier(verifier);
        let shutdown = CancellationToken::new();
        let room = tokio::spawn(room.run(shutdown.clone()));
        self.running = Some(Running {
            shutdown,
            room,
            tasks,
        });
        let deadline = Instant::now() + Duration::from_secs(5);
        while self
            .http
            .get(format!("{}/healthz", self.base))
            .send()
            .await
            .is_err()
        {
            assert!(Instant::now() < deadline, "the API does not answer");
            tokio::task::yield_now().await;
        }
    }

    /// The folder with the database and the blobs.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A token for a user.
    pub(crate) fn token(&self, guid: &str, name: &str, scopes: &[&str]) -> String {
        let now = chrono::Utc::now().timestamp();
        let claims = json!({
            "jti": "t1", "sub": guid, "user_id": guid, "user_name": name, "client_id": "cf",
            "scope": scopes, "aud": ["cloud_controller"], "iss": "test", "iat": now, "exp": now + 600,
        });
        format!("bearer {}", self.key.sign(&claims, None).unwrap())
    }

    /// A token for an ordinary user.
    pub(crate) fn user(&self, name: &str) -> String {
        let scopes = ["cloud_controller.read", "cloud_controller.write"];
        self.token(&format!("{name}-guid"), name, &scopes)
    }

    /// A token that ended a while ago.
    pub(crate) fn expired_token(&self) -> String {
        let claims = json!({
            "jti": "t1", "user_id": "u", "user_name": "u", "client_id": "cf",
            "scope": ["cloud_controller.admin"], "aud": ["cloud_controller"], "exp": 1_000,
        });
        format!("bearer {}", self.key.sign(&claims, None).unwrap())
    }

    /// A request as whoever has the token.
    pub(crate) fn request(&self, method: &str, path: &str, token: &str) -> reqwest::RequestBuilder {
        let method: Method = method.parse().unwrap();
        let request = self.http.request(method, format!("{}{path}", self.base));
        if token.is_empty() {
            request
        } else {
            request.header("Authorization", token)
        }
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request
            .timeout(Duration::from_secs(20))
            .send()
            .await
            .unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer {
            status,
            headers,
            body,
            text,
        }
    }

    pub(crate) async fn call(&self, method: &str, path: &str, token: &str, body: Value) -> Answer {
        let request = self.request(method, path, token);
        let request = if body.is_null() {
            request
        } else {
            request.body(body.to_string())
        };
        self.send(request).await
    }

    /// GET as admin.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &self.admin, Value::Null).await
    }

    /// POST as admin.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, &self.admin, body).await
    }

    /// PUT as admin.
    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.call("PUT", path, &self.admin, body).await
    }

    /// DELETE as admin.
    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, &self.admin, Value::Null).await
    }

    /// The first resource of a collection.
    pub(crate) async fn first(&self, path: &str) -> Value {
        self.get(path).await.is(200)["resources"][0].clone()
    }

    /// The guid of the seeded space.
    pub(crate) async fn space(&self) -> String {
        guid(&self.first("/v2/spaces?q=name:dev").await)
    }

    /// Makes an app in the seeded space.
    pub(crate) async fn app(&self, name: &str) -> String {
        let space = self.space().await;
        let body = json!({"name": name, "space_guid": space, "memory": 64, "disk_quota": 128});
        guid(&self.post("/v2/apps", body).await.is(201))
    }

    /// Makes a route in the seeded space and ties it to an app.
    pub(crate) async fn route(&self, host: &str, app: &str) -> String {
        let space = self.space().await;
        let domain = guid(&self.first("/v2/shared_domains").await);
        let body = json!({"host": host, "domain_guid": domain, "space_guid": space, "port": null});
        let route = guid(&self.post("/v2/routes", body).await.is(201));
        self.put(&format!("/v2/routes/{route}/apps/{app}"), Value::Null)
            .await
            .is(201);
        route
    }

    /// Sends bits for an app; the job's status at the end of the call.
    pub(crate) async fn upload(
        &self,
        app: &str,
        resources: &Value,
        zip: Option<Vec<u8>>,
    ) -> Answer {
        let mut form = reqwest::multipart::Form::new().text("resources", resources.to_string());
        if let Some(zip) = zip {
            let part = reqwest::multipart::Part::bytes(zip)
                .file_name("application.zip")
                .mime_str("application/zip")
                .unwrap();
            form = form.part("application", part);
        }
        let path = format!("/v2/apps/{app}/bits?async=true");
        self.send(self.request("PUT", &path, &self.admin).multipart(form))
            .await
    }

    /// Waits until an attribute of an app has this value.
    pub(crate) async fn app_becomes(&self, app: &str, key: &str, value: &str) -> Value {
        let path = format!("/v2/apps/{app}");
        let mut seen = Value::Null;
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            seen = self.get(&path).await.is(200);
            if seen["entity"][key] == value {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{key} never became {value}: {}", seen["entity"]);
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.shutdown.cancel();
        }
        self.broker.cancel();
    }
}

fn config(folder: &Path, sections: Value) -> Value {
    let folder = folder.display();
    let mut config = json!({
        "external_url": "http://127.0.0.1:1",
        "domain": DOMAIN,
        "database": {"url": format!("sqlite://{folder}/cc.db")},
        "blobstore": {"local": {"folder": format!("{folder}/blobs")}},
        "work_folder": format!("{folder}/work"),
        "uaa": {"external_url": "http://127.0.0.1:2"},
        "logs": {"doppler_url": "ws://127.0.0.1:3", "log_cache_url": "http://127.0.0.1:3"},
        "secrets": {
            "url_signing_key": "ab".repeat(32),
            "row_key": "k1",
            "row_keys": {"k1": "cd".repeat(32)},
            "bulk_user": BULK.0,
            "bulk_password": BULK.1,
        },
        "info": {"apps_url_port": 8000},
        "seed": {"admin_guid": "admin-guid", "admin_name": "admin"},
        "uploads": {"pool_minimum_bytes": 8},
    });
    if let (Some(config), Some(sections)) = (config.as_object_mut(), sections.as_object()) {
        config.extend(sections.clone());
    }
    config
}

/// A zip of these files.
pub(crate) fn zip_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    use std::io::Write as _;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, contents) in files {
        let options = zip::write::SimpleFileOptions::default().unix_permissions(0o644);
        writer.start_file(*name, options).unwrap();
        writer.write_all(contents).unwrap();
    }
    writer.finish().unwrap().into_inner()
}
