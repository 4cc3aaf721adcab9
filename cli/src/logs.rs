//! Logs, over the doppler protocol: protobuf envelopes, live over a websocket and the latest in a
//! multipart answer.

mod envelope;
mod line;
mod recent;
mod stream;

pub(crate) use line::LogLine;
pub(crate) use recent::recent;
pub(crate) use stream::{LogStream, follow};

use url::Url;

use crate::client::{ApiError, Client};
use crate::failure::Advised;

/// The log server's address for plain requests.
fn base(client: &Client) -> anyhow::Result<Url> {
    let doppler = client.target()?.doppler.ok_or_else(|| {
        Advised::new(
            "this platform names no log server",
            "use 'cup events APP' to see what happened",
        )
    })?;
    Ok(over_http(doppler)?)
}

/// `ws` and `wss` are plain HTTP until the upgrade.
fn over_http(mut url: Url) -> Result<Url, ApiError> {
    let scheme = match url.scheme() {
        "ws" => "http",
        "wss" => "https",
        _ => return Ok(url),
    };
    // Between these schemes a change is always allowed.
    let _ = url.set_scheme(scheme);
    Ok(url)
}
