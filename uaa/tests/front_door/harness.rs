//! A UAA of one's own.

use std::time::Duration;

use cupola_component::{Bus, BusConfig, Deps, Health, Listeners, Metrics};
use cupola_db::DatabaseConfig;
use cupola_http::client;
use cupola_types::ComponentId;
use cupola_uaa::{Config, FirstAdmin, SeedClient, build};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) const ADMIN_PASSWORD: &str = "correct horse";

/// A running server; stopped when dropped.
pub(crate) struct Uaa {
    pub(crate) base: String,
    pub(crate) http: Client,
    pub(crate) shutdown: CancellationToken,
    pub(crate) running: JoinHandle<anyhow::Result<()>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

impl Drop for Uaa {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// A config whose database lies in `folder`.
pub(crate) fn config(folder: &std::path::Path) -> Config {
    let url = format!("sqlite://{}/uaa.db", folder.display());
    config_at(DatabaseConfig::at(url))
}

pub(crate) fn config_at(database: DatabaseConfig) -> Config {
    let issuer = "http://uaa.test".parse().unwrap();
    let mut config = Config::new(database, issuer, "k".repeat(32).into());
    config.listen = Some("127.0.0.1:0".parse().unwrap());
    config.admin = Some(FirstAdmin {
        user_name: "admin".to_owned(),
        password: ADMIN_PASSWORD.into(),
        email: None,
    });
    config.clients = vec![
        SeedClient::new("ssh-proxy", "ssh secret".into()),
        SeedClient::new("cloud_controller", "cc secret".into()),
        SeedClient::new("doppler", "doppler secret".into()),
        SeedClient::new("admin", "admin client secret".into()),
    ];
    config
}

/// Deps with a bus that nobody answers: the room must do without it.
pub(crate) async fn deps(bus_url: &str) -> Deps {
    let bus = BusConfig {
        urls: vec![bus_url.to_owned()],
        nkey_seed: None,
        user: None,
        password: None,
        inbox_prefix: "_INBOX".to_owned(),
    };
    Deps {
        bus: Bus::connect(&bus, "uaa-test").await.unwrap(),
        listeners: Listeners::none(),
        metrics: Metrics::default(),
        health: Health::default(),
        tasks: TaskTracker::new(),
        id: ComponentId::new("uaa-0"),
        index: 0,
    }
}

pub(crate) async fn start(config: Config) -> Uaa {
    let room = build(config, deps("nats://127.0.0.1:1").await)
        .await
        .unwrap();
    let base = format!("http://{}", room.address().unwrap());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(room.run(shutdown.clone()));
    Uaa {
        base,
        http: client::loopback("test").unwrap(),
        shutdown,
        running,
    }
}

/// A server on a database of its own, in a folder that is gone with the second value.
pub(crate) async fn fresh() -> (Uaa, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (start(config(folder.path())).await, folder)
}

impl Answer {
    pub(crate) async fn of(response: Response) -> Self {
        let status = response.status();
        let text = response.text().await.unwrap();
        Self {
            status,
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        }
    }

    pub(crate) fn text(&self, key: &str) -> &str {
        self.body[key]
            .as_str()
            .unwrap_or_else(|| panic!("no {key} in {self:?}"))
    }

    /// Asserts a refusal.
    pub(crate) fn refused(&self, status: u16, error: &str) {
        assert_eq!(
            (self.status.as_u16(), self.text("error")),
            (status, error),
            "{self:?}"
        );
        assert!(!self.text("error_description").is_empty());
    }

    pub(crate) fn ok(self) -> Self {
        assert!(self.status.is_success(), "{self:?}");
        self
    }
}

impl Uaa {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// `POST /oauth/token` as the `cf` client does it.
    pub(crate) async fn token(&self, form: &[(&str, &str)]) -> Answer {
        self.token_as("cf", "", form).await
    }

    pub(crate) async fn token_as(
        &self,
        client: &str,
        secret: &str,
        form: &[(&str, &str)],
    ) -> Answer {
        let request = self.http.post(self.url("/oauth/token")).form(form);
        let request = request
            .basic_auth(client, Some(secret))
            .timeout(Duration::from_secs(20));
        Answer::of(request.send().await.unwrap()).await
    }

    /// Logs in by password, with the empty scope that cf v6 sends.
    pub(crate) async fn login(&self, user: &str, password: &str) -> Answer {
        let form = [
            ("grant_type", "password"),
            ("username", user),
            ("password", password),
            ("scope", ""),
        ];
        self.token(&form).await
    }

    pub(crate) async fn admin_token(&self) -> String {
        self.login("admin", ADMIN_PASSWORD)
            .await
            .ok()
            .text("access_token")
            .to_owned()
    }

    /// The token of a client for itself.
    pub(crate) async fn client_token(&self, client: &str, secret: &str) -> String {
        let form = [("grant_type", "client_credentials")];
        self.token_as(client, secret, &form)
            .await
            .ok()
            .text("access_token")
            .to_owned()
    }

    /// A request with a bearer token and perhaps a JSON body.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> Answer {
        let method = method.parse().unwrap();
        let mut request = self.http.request(method, self.url(path)).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body).header("If-Match", "*");
        }
        Answer::of(request.send().await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.send("GET", path, token, None).await
    }

    /// Makes a user as `cf create-user` does; answers his id.
    pub(crate) async fn create_user(&self, name: &str, password: &str) -> String {
        let admin = self.admin_token().await;
        let answer = self
            .send("POST", "/Users", &admin, Some(user_body(name, password)))
            .await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.text("id").to_owned()
    }

    pub(crate) async fn check_token(&self, token: &str) -> Answer {
        let request = self
            .http
            .post(self.url("/check_token"))
            .form(&[("token", token)]);
        let request = request.basic_auth("doppler", Some("doppler secret"));
        Answer::of(request.send().await.unwrap()).await
    }
}

pub(crate) fn user_body(name: &str, password: &str) -> Value {
    serde_json::json!({
        "userName": name,
        "password": password,
        "origin": "",
        "name": {"familyName": name, "givenName": name},
        "emails": [{"value": name, "primary": true}],
    })
}
