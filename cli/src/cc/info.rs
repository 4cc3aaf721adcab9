//! `/v2/info`: what the platform says about itself.

use reqwest::Method;
use serde::Deserialize;
use url::Url;

use crate::client::{ApiError, Request, Transport, join};
use crate::session::{AppsUrl, Target};

#[derive(Debug, Deserialize)]
struct Info {
    #[serde(default)]
    api_version: String,
    authorization_endpoint: Url,
    #[serde(default)]
    token_endpoint: Option<Url>,
    #[serde(default)]
    doppler_logging_endpoint: Option<Url>,
    /// Ours; other platforms do not have it.
    #[serde(default)]
    cupola: Option<Ours>,
}

#[derive(Debug, Deserialize)]
struct Ours {
    #[serde(default)]
    apps_url_port: Option<u16>,
    #[serde(default)]
    apps_url_scheme: Option<String>,
}

/// Asks the API at this address where everything is.
pub(crate) async fn discover(
    transport: &Transport,
    api: &Url,
    skip_ssl_validation: bool,
) -> Result<Target, ApiError> {
    let request = Request::new(Method::GET, join(api, "/v2/info")?);
    let info: Info = transport.send(&request).await?.accepted()?.json()?;
    Ok(info.into_target(api.clone(), skip_ssl_validation))
}

// === impl Info ===

impl Info {
    fn into_target(self, api: Url, skip_ssl_validation: bool) -> Target {
        let apps_url = self.cupola.and_then(|ours| {
            let scheme = ours.apps_url_scheme.unwrap_or_else(|| "http".to_owned());
            ours.apps_url_port.map(|port| AppsUrl { scheme, port })
        });
        Target {
            api,
            api_version: self.api_version,
            uaa: self
                .token_endpoint
                .unwrap_or_else(|| self.authorization_endpoint.clone()),
            login: self.authorization_endpoint,
            doppler: self.doppler_logging_endpoint,
            apps_url,
            skip_ssl_validation,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn our_own_fields_are_optional() {
        let api: Url = "http://api/".parse().unwrap();
        let read = |json: &str| {
            serde_json::from_str::<Info>(json)
                .unwrap()
                .into_target(api.clone(), false)
        };
        let plain = read(r#"{"api_version":"2.142.0","authorization_endpoint":"http://login"}"#);
        assert_eq!(
            (plain.apps_url.as_ref(), plain.doppler.as_ref()),
            (None, None)
        );
        assert_eq!(plain.uaa, plain.login);
        let ours = read(
            r#"{"authorization_endpoint":"http://l","cupola":{"apps_url_port":8090,"more":1}}"#,
        );
        assert_eq!(ours.app_address("a.b"), "a.b:8090");
    }
}
