//! Where to log in, and as whom.

use std::net::IpAddr;

use url::Url;

use super::UsageError;
use crate::args;
use crate::session::{ClientCredentials, Secret};
use crate::surroundings::Surroundings;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ApiPlan {
    Show,
    Unset,
    Set { url: Url, skip_ssl_validation: bool },
}

#[derive(Debug)]
pub(crate) struct LoginPlan {
    pub(crate) api: Option<Url>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) origin: Option<String>,
    pub(crate) place: TargetPlan,
    pub(crate) skip_ssl_validation: bool,
}

#[derive(Debug)]
pub(crate) enum AuthPlan {
    Person {
        username: String,
        password: Secret,
        origin: Option<String>,
    },
    Client(ClientCredentials),
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TargetPlan {
    pub(crate) org: Option<String>,
    pub(crate) space: Option<String>,
}

pub(super) fn api(typed: &args::Api) -> Result<ApiPlan, UsageError> {
    match &typed.url {
        _ if typed.unset => Ok(ApiPlan::Unset),
        None => Ok(ApiPlan::Show),
        Some(url) => Ok(ApiPlan::Set {
            url: address(url)?,
            skip_ssl_validation: typed.skip_ssl_validation,
        }),
    }
}

pub(super) fn login(typed: args::Login) -> Result<LoginPlan, UsageError> {
    Ok(LoginPlan {
        api: typed.api.as_deref().map(address).transpose()?,
        username: typed.username,
        password: typed.password.map(Secret::new),
        origin: typed.origin,
        place: TargetPlan {
            org: typed.org,
            space: typed.space,
        },
        skip_ssl_validation: typed.skip_ssl_validation,
    })
}

pub(super) fn auth(typed: args::Auth, around: &Surroundings) -> Result<AuthPlan, UsageError> {
    let missing = |what: &str, variable: &str| {
        UsageError::new(format!(
            "no {what} is given, neither as an argument nor by {variable}"
        ))
    };
    let username = typed.username.or_else(|| around.username.clone());
    let username = username.ok_or_else(|| missing("user name", "CUP_USERNAME"))?;
    let password = typed.password.or_else(|| around.password.clone());
    let password = Secret::new(password.ok_or_else(|| missing("password", "CUP_PASSWORD"))?);
    Ok(if typed.client_credentials {
        AuthPlan::Client(ClientCredentials {
            id: username,
            secret: password,
        })
    } else {
        AuthPlan::Person {
            username,
            password,
            origin: typed.origin,
        }
    })
}

pub(super) fn target(typed: args::Target) -> TargetPlan {
    TargetPlan {
        org: typed.org,
        space: typed.space,
    }
}

/// An API address. Without a scheme it is https, as with `cf`, but for this machine plain http.
pub(crate) fn address(text: &str) -> Result<Url, UsageError> {
    let wrong = |why: &str| {
        UsageError::new(format!(
            "{text:?} is not an API address: {why}; write http://HOST:PORT"
        ))
    };
    let text = text.trim();
    let full = if text.contains("://") {
        text.to_owned()
    } else {
        let scheme = if is_here(text) { "http" } else { "https" };
        format!("{scheme}://{text}")
    };
    let mut url = Url::parse(&full).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("the scheme is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it carries a user name"));
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

fn is_here(text: &str) -> bool {
    let host = text.split(['/', '?']).next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().map_or_else(
        |_| host == "localhost" || host.ends_with(".localhost"),
        |address| address.is_loopback(),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_missing_scheme_is_guessed() {
        for (typed, url) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("[::1]:80", "http://[::1]/"),
            ("api.cupola.localhost:80", "http://api.cupola.localhost/"),
            ("api.example.com", "https://api.example.com/"),
            ("https://api.example.com/?x#y", "https://api.example.com/"),
        ] {
            assert_eq!(address(typed).unwrap().as_str(), url, "{typed}");
        }
        for bad in ["", "ftp://x", "http://", "http://me:secret@x", "http://a b"] {
            assert!(address(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
