//! How the platform of the tests behaves: a few apps and routes, and staging that takes two looks.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::platform::Seen;

/// A misbehaviour to show: the answer to requests that start like this, so many times.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) start: String,
    pub(crate) times: usize,
    pub(crate) status: u16,
    pub(crate) body: Value,
}

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) url: String,
    pub(crate) doppler: String,
    /// The access token that is taken.
    pub(crate) token: String,
    /// The refresh token that is taken; each works once.
    pub(crate) refresh: String,
    pub(crate) renewals: u32,
    pub(crate) apps: BTreeMap<String, Value>,
    /// Route guid to (host, apps).
    pub(crate) routes: BTreeMap<String, (String, Vec<String>)>,
    /// SHA-1 of the files that the platform has.
    pub(crate) pool: Vec<String>,
    /// Reason and description when staging is to fail.
    pub(crate) staging_fails: Option<(String, String)>,
    /// What instances do after their first look; `RUNNING` unless told otherwise.
    pub(crate) outcome: String,
    /// Lines to stream now.
    pub(crate) spoken: Vec<(String, String)>,
    /// Lines of `recentlogs`.
    pub(crate) kept: Vec<(String, String)>,
    pub(crate) troubles: Vec<Trouble>,
    pub(crate) orgs: Vec<&'static str>,
    /// What every answer carries as `X-Cf-Warnings`.
    pub(crate) warnings: Option<&'static str>,
    looks: u32,
    made: u32,
}

// === impl Model ===

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            url: String::new(),
            doppler: String::new(),
            token: token(0),
            refresh: "refresh-0".into(),
            renewals: 0,
            apps: BTreeMap::new(),
            routes: BTreeMap::new(),
            pool: Vec::new(),
            staging_fails: None,
            outcome: "RUNNING".into(),
            spoken: Vec::new(),
            kept: Vec::new(),
            troubles: Vec::new(),
            orgs: vec!["cupola"],
            warnings: None,
            looks: 0,
            made: 0,
        }
    }

    /// From now on the old access token is refused.
    pub(crate) fn end_token(&mut self) {
        self.token = token(1000 + self.renewals);
    }

    pub(crate) fn trouble(&mut self, start: &str, times: usize, status: u16, body: Value) {
        self.troubles.push(Trouble {
            start: start.into(),
            times,
            status,
            body,
        });
    }

    /// An app that runs.
    pub(crate) fn add_app(&mut self, name: &str) {
        let app = self.create_app(&json!({"name": name}));
        let guid = app["metadata"]["guid"].as_str().unwrap().to_owned();
        let entity = &mut self.apps.get_mut(&guid).unwrap()["entity"];
        entity["state"] = json!("STARTED");
        entity["package_state"] = json!("STAGED");
        entity["package_updated_at"] = json!("2026-11-20T16:20:11Z");
        entity["detected_buildpack"] = json!("staticfile");
        self.looks = 10;
    }

    pub(crate) fn app(&self, name: &str) -> Option<&Value> {
        self.apps.values().find(|app| app["entity"]["name"] == name)
    }

    pub(crate) fn answer(&mut self, seen: &Seen) -> ResponseTemplate {
        let answer = self.bare_answer(seen);
        match self.warnings {
            Some(warnings) => answer.insert_header("X-Cf-Warnings", warnings),
            None => answer,
        }
    }

    fn bare_answer(&mut self, seen: &Seen) -> ResponseTemplate {
        if let Some(trouble) = self
            .troubles
            .iter_mut()
            .find(|t| t.times > 0 && seen.line.starts_with(&t.start))
        {
            trouble.times -= 1;
            return reply(trouble.status, trouble.body.clone());
        }
        let (method, rest) = seen.line.split_once(' ').unwrap();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (method, parts.as_slice()) {
            ("GET", ["v2", "info"]) => reply(200, self.info()),
            ("GET", ["login"]) => reply(
                200,
                json!({"prompts": {"username": ["text", "Email"], "password": ["password", "Password"]}}),
            ),
            ("POST", ["oauth", "token"]) => self.tokens(&String::from_utf8_lossy(&seen.body)),
            _ if seen.headers.get("authorization") != Some(&format!("bearer {}", self.token)) => {
                refuse(401, 1000, "CF-InvalidAuthToken", "Invalid Auth Token")
            }
            (_, ["v2", rest @ ..]) => self.api(method, rest, query, seen),
            _ => refuse(404, 10000, "CF-NotFound", "Unknown request"),
        }
    }

    fn info(&self) -> Value {
        let port: u16 = 8090;
        json!({
            "api_version": "2.142.0",
            "authorization_endpoint": self.url,
            "token_endpoint": self.url,
            "doppler_logging_endpoint": self.doppler,
            "cupola": {"apps_url_port": port, "apps_url_scheme": "http"},
        })
    }

    fn tokens(&mut self, form: &str) -> ResponseTemplate {
        let fields: BTreeMap<String, String> = url::form_urlencoded::parse(form.as_bytes())
            .into_owned()
            .collect();
        let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
        let granted = match field("grant_type") {
            "password" => field("username") == "admin" && field("password") == "secret",
            "client_credentials" => field("client_secret") == "client-secret",
            "refresh_token" => field("refresh_token") == self.refresh,
            _ => false,
        };
        if !granted {
            let error = if field("grant_type") == "password" {
                "unauthorized"
            } else {
                "invalid_token"
            };
            return reply(
                401,
                json!({"error": error, "error_description": "Bad credentials"}),
            );
        }
        self.renewals += 1;
        self.token = token(self.renewals);
        self.refresh = format!("refresh-{}", self.renewals);
        let mut body =
            json!({"access_token": self.token, "token_type": "bearer", "expires_in": 599});
        if field("grant_type") != "client_credentials" {
            body["refresh_token"] = json!(self.refresh);
        }
        reply(200, body)
    }

    fn api(&mut self, method: &str, path: &[&str], query: &str, seen: &Seen) -> ResponseTemplate {
        let body = seen.json();
        match (method, path) {
            ("GET", ["organizations"]) => {
                let wanted = filtered(query, "name");
                let orgs = self
                    .orgs
                    .iter()
                    .filter(|org| wanted.is_none_or(|w| w == **org));
                page(orgs.map(|org| named(&format!("org-{org}"), org)).collect())
            }
            ("POST", ["organizations"]) if body["name"] == "cupola" => refuse(
                400,
                30002,
                "CF-OrganizationNameTaken",
                "The organization name is taken: cupola",
            ),
            ("POST", ["organizations"]) => {
                reply(201, named("org-new", body["name"].as_str().unwrap()))
            }
            ("GET", ["spaces"]) => match filtered(query, "name") {
                None | Some("dev") => page(vec![named("space-dev", "dev")]),
                Some(_) => page(vec![]),
            },
            ("POST", ["spaces"]) => reply(201, named("space-new", body["name"].as_str().unwrap())),
            (
                "PUT",
                [
                    "organizations" | "spaces",
                    _,
                    "users" | "managers" | "developers",
                    _,
                ],
            ) => reply(201, json!({})),
            ("GET", ["shared_domains"]) => page(vec![named("domain-1", "apps.localhost")]),
            ("GET", ["organizations", _, "private_domains"]) => {
                page(vec![named("domain-2", "mine.example.com")])
            }
            ("GET", ["stacks"]) if filtered(query, "name") == Some("cupola") => {
                page(vec![named("stack-1", "cupola")])
            }
            ("GET", ["stacks"]) => page(vec![]),
            ("GET", ["stacks", _]) => reply(200, named("stack-1", "cupola")),
            ("PUT", ["resource_match"]) => reply(200, self.matched(&body)),
            ("GET", ["jobs", _]) => reply(200, job("finished")),
            ("GET", ["events"]) => page(vec![json!({
                "metadata": {"guid": "event-1"},
                "entity": {"type": "app.crash", "timestamp": "2026-11-20T16:20:11Z",
                    "actor_name": "hello", "metadata": {"index": 0, "exit_description": "out of memory"}},
            })]),
            ("GET", ["spaces", _, "summary"]) => self.space_summary(),
            ("GET", ["spaces", _, "routes"]) => {
                page(self.routes.keys().map(|guid| self.route(guid)).collect())
            }
            ("GET" | "POST", ["routes"]) => self.routes(method, query, &body),
            ("PUT", ["routes", route, "apps", app]) => {
                self.routes
                    .get_mut(*route)
                    .unwrap()
                    .1
                    .push((*app).to_owned());
                reply(201, json!({}))
            }
            ("DELETE", ["routes", route]) => {
                self.routes.remove(*route);
                reply(204, Value::Null)
            }
            ("GET", ["apps"]) => {
                let name = filtered(query, "name").unwrap();
                page(self.app(name).into_iter().cloned().collect())
            }
            ("POST", ["apps"]) => reply(201, self.create_app(&body)),
            (_, ["apps", guid, rest @ ..]) if self.apps.contains_key(*guid) => {
                self.one_app(method, guid, rest, &body)
            }
            _ => refuse(404, 10000, "CF-NotFound", "Unknown request"),
        }
    }

    fn one_app(
        &mut self,
        method: &str,
        guid: &str,
        path: &[&str],
        body: &Value,
    ) -> ResponseTemplate {
        match (method, path) {
            ("GET", []) => {
                self.look_at_staging(guid);
                reply(200, self.apps[guid].clone())
            }
            ("PUT", []) => {
                for (key, value) in body.as_object().unwrap() {
                    self.apps.get_mut(guid).unwrap()["entity"][key] = value.clone();
                }
                if body["state"] == "STARTED" {
                    self.start_staging(guid);
                }
                reply(201, self.apps[guid].clone())
            }
            ("POST", ["restage"]) => {
                self.apps.get_mut(guid).unwrap()["entity"]["package_state"] = json!("PENDING");
                self.apps.get_mut(guid).unwrap()["entity"]["state"] = json!("STARTED");
                self.start_staging(guid);
                reply(201, self.apps[guid].clone())
            }
            ("DELETE", []) => {
                self.apps.remove(guid);
                reply(202, job("queued"))
            }
            ("PUT", ["bits"]) => {
                let entity = &mut self.apps.get_mut(guid).unwrap()["entity"];
                entity["package_state"] = json!("PENDING");
                entity["package_updated_at"] = json!("2026-11-20T16:20:11Z");
                reply(201, job("queued"))
            }
            ("GET", ["instances"]) => {
                self.looks += 1;
                let state = if self.looks > 1 {
                    self.outcome.as_str()
                } else {
                    "STARTING"
                };
                let count = self.apps[guid]["entity"]["instances"].as_u64().unwrap();
                let instances: serde_json::Map<String, Value> = (0..count)
                    .map(|i| {
                        (
                            i.to_string(),
                            json!({"state": state, "since": 1_795_191_611.5}),
                        )
                    })
                    .collect();
                reply(200, instances.into())
            }
            ("GET", ["stats"]) => reply(
                200,
                json!({"0": {"state": "RUNNING", "stats": {"mem_quota": 67_108_864,
                    "disk_quota": 1_073_741_824, "usage": {"cpu": 0.012, "mem": 4_299_161, "disk": 1_258_291}}}}),
            ),
            ("GET", ["summary"]) => reply(200, self.app_summary(guid)),
            ("GET", ["env"]) => reply(
                200,
                json!({"environment_json": self.apps[guid]["entity"]["environment_json"],
                    "system_env_json": {"VCAP_SERVICES": {}},
                    "application_env_json": {"VCAP_APPLICATION": {"name": "hello"}},
                    "running_env_json": {}, "staging_env_json": {}}),
            ),
            ("GET", ["routes"]) => {
                let mine = self
                    .routes
                    .iter()
                    .filter(|(_, route)| route.1.iter().any(|a| a == guid));
                page(mine.map(|(route, _)| self.route(route)).collect())
            }
            ("DELETE", ["routes", route]) => {
                self.routes
                    .get_mut(*route)
                    .unwrap()
                    .1
                    .retain(|app| app != guid);
                reply(204, Value::Null)
            }
            _ => refuse(404, 10000, "CF-NotFound", "Unknown request"),
        }
    }

    fn create_app(&mut self, body: &Value) -> Value {
        self.made += 1;
        let guid = format!("app-{}", self.made);
        let mut app = json!({
            "metadata": {"guid": guid},
            "entity": {"name": "", "state": "STOPPED", "memory": 64, "disk_quota": 1024, "instances": 1,
                "package_state": "PENDING", "environment_json": {}, "stack_guid": "stack-1"},
        });
        for (key, value) in body.as_object().unwrap() {
            app["entity"][key] = value.clone();
        }
        self.apps.insert(guid, app.clone());
        app
    }

    fn start_staging(&mut self, guid: &str) {
        self.looks = 0;
        if self.apps[guid]["entity"]["package_state"] == "PENDING" {
            self.spoken.push(("STG".into(), "Staging...".into()));
            self.spoken.push(("STG".into(), "Staging complete".into()));
        }
    }

    fn look_at_staging(&mut self, guid: &str) {
        let entity = &mut self.apps.get_mut(guid).unwrap()["entity"];
        if entity["state"] != "STARTED" || entity["package_state"] != "PENDING" {
            return;
        }
        self.looks += 1;
        if self.looks < 2 {
            return;
        }
        self.looks = 0;
        match &self.staging_fails {
            None => {
                entity["package_state"] = json!("STAGED");
                entity["detected_buildpack"] = json!("staticfile");
                if self.outcome == "CRASHED" {
                    self.spoken
                        .push(("APP/PROC/WEB".into(), "cannot bind: port in use".into()));
                }
            }
            Some((reason, description)) => {
                entity["package_state"] = json!("FAILED");
                entity["staging_failed_reason"] = json!(reason);
                entity["staging_failed_description"] = json!(description);
            }
        }
    }

    fn matched(&self, asked: &Value) -> Value {
        let known = |file: &&Value| self.pool.iter().any(|sha1| file["sha1"] == sha1.as_str());
        asked
            .as_array()
            .unwrap()
            .iter()
            .filter(known)
            .cloned()
            .collect()
    }

    fn routes(&mut self, method: &str, query: &str, body: &Value) -> ResponseTemplate {
        if method == "POST" {
            let host = body["host"].as_str().unwrap().to_owned();
            if host == "taken" {
                return refuse(
                    400,
                    210_003,
                    "CF-RouteHostTaken",
                    "The host is taken: taken",
                );
            }
            let guid = format!("route-{host}");
            self.routes.insert(guid.clone(), (host, Vec::new()));
            return reply(201, self.route(&guid));
        }
        let host = filtered(query, "host").unwrap_or_default();
        let found = self.routes.iter().find(|(_, route)| route.0 == host);
        page(
            found
                .map(|(guid, _)| self.route(guid))
                .into_iter()
                .collect(),
        )
    }

    fn route(&self, guid: &str) -> Value {
        let (host, apps) = &self.routes[guid];
        let apps: Vec<Value> = apps
            .iter()
            .filter_map(|app| self.apps.get(app))
            .cloned()
            .collect();
        json!({"metadata": {"guid": guid}, "entity": {"host": host, "path": "", "port": null,
            "domain_guid": "domain-1", "space_guid": "space-dev", "apps": apps}})
    }

    fn app_summary(&self, guid: &str) -> Value {
        let mut summary = self.apps[guid]["entity"].clone();
        let mine = self
            .routes
            .values()
            .filter(|route| route.1.iter().any(|app| app == guid));
        summary["guid"] = json!(guid);
        summary["running_instances"] = json!(1);
        summary["routes"] = mine
            .map(|(host, _)| {
                json!({"guid": "r", "host": host, "path": "",
                "domain": {"guid": "domain-1", "name": "apps.localhost"}})
            })
            .collect();
        summary
    }

    fn space_summary(&self) -> ResponseTemplate {
        let apps: Vec<Value> = self
            .apps
            .keys()
            .map(|guid| {
                let mut row = self.app_summary(guid);
                let hosts = row["routes"].as_array().unwrap().clone();
                row["urls"] = hosts
                    .iter()
                    .map(|route| {
                        json!(format!(
                            "{}.apps.localhost",
                            route["host"].as_str().unwrap()
                        ))
                    })
                    .collect();
                row
            })
            .collect();
        reply(
            200,
            json!({"guid": "space-dev", "name": "dev", "apps": apps, "services": []}),
        )
    }
}

/// A token that looks like a real one and ends in a year.
fn token(number: u32) -> String {
    let claims = json!({"user_name": "admin", "user_id": "user-1", "exp": 4_000_000_000_u64,
        "jti": number});
    format!(
        "e30.{}.signature",
        URL_SAFE_NO_PAD.encode(claims.to_string())
    )
}

fn filtered<'a>(query: &'a str, key: &str) -> Option<&'a str> {
    let start = format!("q={key}:");
    query
        .split('&')
        .find_map(|part| part.strip_prefix(start.as_str()))
}

fn named(guid: &str, name: &str) -> Value {
    json!({"metadata": {"guid": guid}, "entity": {"name": name}})
}

fn job(status: &str) -> Value {
    json!({"metadata": {"guid": "job-1"}, "entity": {"guid": "job-1", "status": status}})
}

fn page(resources: Vec<Value>) -> ResponseTemplate {
    let body = json!({"total_results": resources.len(), "total_pages": 1, "prev_url": null,
        "next_url": null, "resources": resources});
    reply(200, body)
}

fn refuse(status: u16, code: i64, name: &str, description: &str) -> ResponseTemplate {
    reply(
        status,
        json!({"code": code, "error_code": name, "description": description}),
    )
}

fn reply(status: u16, body: Value) -> ResponseTemplate {
    let template = ResponseTemplate::new(status);
    if body.is_null() {
        template
    } else {
        template.set_body_json(body)
    }
}
