//! Which routes a push wants, with their domains looked up.

use anyhow::Context as _;

use super::super::routes::ensure;
use super::Context;
use crate::cc::{self, AppResource, Domain, RouteKey, RouteResource};
use crate::failure::Advised;
use crate::plan::{AppPlan, Routing};
use crate::push::random_suffix;

/// Longest host of a route, in bytes.
const LONGEST_HOST: usize = 63;
/// So often another random host is tried.
const RANDOM_TRIES: usize = 3;

/// What to do about the routes of one app.
#[derive(Debug)]
pub(super) struct Wanted {
    mapped: Vec<RouteResource>,
    change: Change,
}

#[derive(Debug)]
enum Change {
    None,
    UnmapAll,
    Map(Vec<RouteKey>),
    MapRandom { domain: Domain },
}

/// Looks up everything that the routing names, before anything is made.
pub(super) async fn wanted(
    context: &Context<'_>,
    plan: &AppPlan,
    existing: Option<&AppResource>,
) -> anyhow::Result<Wanted> {
    let client = &context.client;
    let mapped = match existing {
        Some(app) => cc::app_routes(client, &app.metadata.guid)
            .await
            .context("listing the app's routes")?,
        None => Vec::new(),
    };
    let change = match &plan.routing {
        Routing::Nowhere => Change::UnmapAll,
        Routing::Default | Routing::Random { .. } if !mapped.is_empty() => Change::None,
        routing => {
            let org = client.org()?;
            let domains = cc::domains(client, &org.guid)
                .await
                .context("listing the domains")?;
            change(&plan.name, routing, &domains)?
        }
    };
    Ok(Wanted { mapped, change })
}

fn change(app: &str, routing: &Routing, domains: &[Domain]) -> anyhow::Result<Change> {
    Ok(match routing {
        Routing::Nowhere => Change::UnmapAll,
        Routing::Random { domain } => Change::MapRandom {
            domain: named_or_default(domain.as_deref(), domains)?.clone(),
        },
        Routing::Exactly(routes) => Change::Map(
            routes
                .iter()
                .map(|route| split(route, domains))
                .collect::<anyhow::Result<_>>()?,
        ),
        Routing::Hosts {
            hosts,
            domains: names,
            path,
            no_hostname,
        } => {
            let hosts: Vec<String> = match hosts.as_slice() {
                _ if *no_hostname => vec![String::new()],
                [] => vec![host_of(app)?],
                named => named.iter().map(|host| host.to_ascii_lowercase()).collect(),
            };
            let chosen: Vec<&Domain> = if names.is_empty() {
                vec![named_or_default(None, domains)?]
            } else {
                let look_up = |name: &String| named_or_default(Some(name), domains);
                names.iter().map(look_up).collect::<anyhow::Result<_>>()?
            };
            let pairs = chosen
                .iter()
                .flat_map(|domain| hosts.iter().map(move |host| (domain, host)));
            Change::Map(
                pairs
                    .map(|(domain, host)| key(host, domain, path))
                    .collect(),
            )
        }
        Routing::Default => Change::Map(vec![key(
            &host_of(app)?,
            named_or_default(None, domains)?,
            "",
        )]),
    })
}

fn key(host: &str, domain: &Domain, path: &str) -> RouteKey {
    RouteKey {
        host: host.to_owned(),
        domain: domain.guid.clone(),
        domain_name: domain.name.clone(),
        path: path.to_owned(),
    }
}

/// The domain of that name; without a name the first that serves web apps to the outside.
fn named_or_default<'a>(name: Option<&str>, domains: &'a [Domain]) -> anyhow::Result<&'a Domain> {
    let found = match name {
        Some(name) => domains
            .iter()
            .find(|domain| domain.name.eq_ignore_ascii_case(name)),
        None => domains
            .iter()
            .find(|domain| !domain.internal && !domain.tcp),
    };
    found.ok_or_else(|| match name {
        Some(name) => Advised::new(
            format!("domain {name} not found"),
            "'cup domains' lists them",
        )
        .into(),
        None => {
            let advice = "ask the operator for a shared domain, or use --no-route";
            Advised::new("there is no domain for routes", advice).into()
        }
    })
}

/// `host.domain/path`, by the longest domain that fits.
fn split(route: &str, domains: &[Domain]) -> anyhow::Result<RouteKey> {
    let bare = route.split_once("://").map_or(route, |(_, rest)| rest);
    let (name, path) = match bare.split_once('/') {
        Some((name, path)) => (name, format!("/{}", path.trim_end_matches('/'))),
        None => (bare, String::new()),
    };
    let path = if path == "/" { String::new() } else { path };
    if name.contains(':') {
        let advice = "write host.domain/path; the platform chooses the port";
        return Err(Advised::new(format!("the route {route} carries a port"), advice).into());
    }
    let name = name.to_ascii_lowercase();
    let fitting = domains.iter().filter_map(|domain| {
        let rest = name.strip_suffix(domain.name.as_str())?;
        if rest.is_empty() {
            return Some((domain, ""));
        }
        rest.strip_suffix('.').map(|host| (domain, host))
    });
    let longest = fitting.max_by_key(|(domain, _)| domain.name.len());
    let Some((domain, host)) = longest else {
        let message = format!("no domain is known for the route {route}");
        return Err(Advised::new(message, "'cup domains' lists those of the org").into());
    };
    Ok(key(host, domain, &path))
}

/// An app's name as a host: lower case, with nothing that a host name does not take.
fn host_of(app: &str) -> anyhow::Result<String> {
    let letters: String = app
        .to_lowercase()
        .chars()
        .map(|letter| {
            if letter == '_' || letter.is_whitespace() {
                '-'
            } else {
                letter
            }
        })
        .filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-')
        .take(LONGEST_HOST)
        .collect();
    let host = letters.trim_matches('-').to_owned();
    if host.is_empty() {
        let message = format!("the name {app} makes no host for a route");
        return Err(Advised::new(message, "name one with -n HOST, or use --no-route").into());
    }
    Ok(host)
}

fn random_host(app: &str) -> String {
    let suffix = random_suffix();
    let base = host_of(app).unwrap_or_default();
    let room = LONGEST_HOST.saturating_sub(suffix.len() + 1);
    let base: String = base.chars().take(room).collect();
    if base.is_empty() {
        suffix
    } else {
        format!("{}-{suffix}", base.trim_end_matches('-'))
    }
}

// === impl Wanted ===

impl Wanted {
    pub(super) async fn apply(
        &self,
        context: &Context<'_>,
        app: &AppResource,
    ) -> anyhow::Result<()> {
        let (client, ui) = (&context.client, context.ui);
        match &self.change {
            Change::None => return Ok(()),
            Change::UnmapAll if self.mapped.is_empty() => return Ok(()),
            Change::UnmapAll => {
                ui.say("Unmapping routes...")?;
                for route in &self.mapped {
                    cc::unmap_route(client, &route.metadata.guid, &app.metadata.guid)
                        .await
                        .context("unmapping a route")?;
                }
            }
            Change::Map(keys) => {
                ui.say("Mapping routes...")?;
                for key in keys {
                    if !self.mapped.iter().any(|route| route.entity.is(key)) {
                        map(context, app, key).await?;
                    }
                }
            }
            Change::MapRandom { domain } => {
                ui.say("Mapping routes...")?;
                for attempt in 1..=RANDOM_TRIES {
                    let key = key(&random_host(&app.entity.name), domain, "");
                    match map(context, app, &key).await {
                        Err(_) if attempt < RANDOM_TRIES => {}
                        outcome => return outcome,
                    }
                }
            }
        }
        Ok(())
    }
}

async fn map(context: &Context<'_>, app: &AppResource, key: &RouteKey) -> anyhow::Result<()> {
    let (route, _) = ensure(context, &context.space_guid()?, key).await?;
    cc::map_route(&context.client, &route.metadata.guid, &app.metadata.guid)
        .await
        .with_context(|| format!("mapping the route {key}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::cc::DomainKind;

    fn domains() -> Vec<Domain> {
        let domain = |name: &str, internal, tcp| Domain {
            guid: name.parse().unwrap(),
            name: name.into(),
            kind: DomainKind::Shared,
            internal,
            tcp,
        };
        vec![
            domain("apps.internal", true, false),
            domain("tcp.example.com", false, true),
            domain("example.com", false, false),
            domain("shop.example.com", false, false),
        ]
    }

    fn keys(routing: &Routing) -> Vec<String> {
        match change("My App", routing, &domains()).unwrap() {
            Change::Map(keys) => keys.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_default_route_is_the_apps_name_under_the_first_web_domain() {
        assert_eq!(keys(&Routing::Default), ["my-app.example.com"]);
    }

    #[test]
    fn hosts_and_domains_are_multiplied() {
        let routing = Routing::Hosts {
            hosts: vec!["A".into(), "b".into()],
            domains: vec!["example.com".into(), "SHOP.example.com".into()],
            path: "/p".into(),
            no_hostname: false,
        };
        assert_eq!(
            keys(&routing),
            [
                "a.example.com/p",
                "b.example.com/p",
                "a.shop.example.com/p",
                "b.shop.example.com/p",
            ]
        );
    }

    #[test]
    fn a_route_in_one_piece_goes_to_the_longest_domain() {
        let split = |route: &str| {
            let key = split(route, &domains()).unwrap();
            (key.host, key.domain_name, key.path)
        };
        let of = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(
            split("www.shop.example.com"),
            of("www", "shop.example.com", "")
        );
        assert_eq!(split("shop.example.com/"), of("", "shop.example.com", ""));
        assert_eq!(
            split("a.b.example.com/x/y/"),
            of("a.b", "example.com", "/x/y")
        );
        assert_eq!(
            split("http://WWW.example.com"),
            of("www", "example.com", "")
        );
        for bad in [
            "www.example.org",
            "badexample.com",
            "www.example.com:8080",
            "",
        ] {
            assert!(super::split(bad, &domains()).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_become_hosts() {
        for (name, host) in [("My App", "my-app"), ("a_b.c!", "a-bc"), ("-x-", "x")] {
            assert_eq!(host_of(name).unwrap(), host);
        }
        assert!(host_of("日本").is_err());
        assert!(random_host(&"x".repeat(100)).len() <= LONGEST_HOST);
        assert!(random_host("日本").contains('-'));
    }
}
