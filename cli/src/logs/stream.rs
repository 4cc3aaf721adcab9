//! Lines as they are written.
//!
//! The websocket goes through the same HTTP client as every request, by an upgrade: so proxies,
//! certificates and the rules for this machine's own names are the same.

use std::time::Duration;

use anyhow::Context as _;
use cupola_types::AppGuid;
use futures_util::StreamExt;
use reqwest::header::{CONNECTION, ORIGIN, UPGRADE};
use reqwest::{StatusCode, Upgraded};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use url::Url;

use super::{LogLine, base};
use crate::client::{ApiError, Client, collect, join};
use crate::failure::Advised;
use crate::patience;
use crate::session::Secret;

const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// A log line has 64 KB at most; an envelope little more.
const LARGEST_MESSAGE: usize = 1 << 20;
/// So often a stream that broke off is opened again before giving up.
const REOPENINGS: u32 = 5;

pub(crate) struct LogStream {
    socket: WebSocketStream<Upgraded>,
}

impl std::fmt::Debug for LogStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogStream")
    }
}

// === impl LogStream ===

impl LogStream {
    pub(crate) async fn open(client: &Client, app: &AppGuid) -> anyhow::Result<Self> {
        let url = join(&base(client)?, &format!("/apps/{app}/stream"))?;
        let token = client.live_token().await?;
        let opened = open_with(client, &url, &token).await?;
        if let Some(socket) = opened {
            return Ok(Self { socket });
        }
        let token = client.renew(&token).await?;
        let again = open_with(client, &url, &token).await?;
        let socket = again.context("the log server does not take the token")?;
        Ok(Self { socket })
    }

    /// The next line; nothing when the stream has ended. Dropping the future loses no line.
    pub(crate) async fn next(&mut self) -> Option<LogLine> {
        loop {
            match self.socket.next().await? {
                Ok(Message::Binary(bytes)) => {
                    if let Some(line) = LogLine::read(&bytes) {
                        return Some(line);
                    }
                }
                Ok(Message::Close(_)) | Err(_) => return None,
                // Pings are answered by the library.
                Ok(_) => {}
            }
        }
    }
}

/// Gives every line to `take` until it fails or the stream cannot be opened again.
pub(crate) async fn follow(
    client: &Client,
    app: &AppGuid,
    mut take: impl FnMut(LogLine) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut stream = LogStream::open(client, app).await?;
    let mut failures = 0;
    loop {
        while let Some(line) = stream.next().await {
            failures = 0;
            take(line)?;
        }
        stream = loop {
            failures += 1;
            if failures > REOPENINGS {
                let message = "the log stream broke off and could not be opened again";
                return Err(Advised::new(message, "run 'cup logs' again").into());
            }
            tokio::time::sleep(patience::before_retry(failures)).await;
            if let Ok(stream) = LogStream::open(client, app).await {
                break stream;
            }
        };
    }
}

/// The open socket, or nothing when the token was refused.
async fn open_with(
    client: &Client,
    url: &Url,
    token: &Secret,
) -> anyhow::Result<Option<WebSocketStream<Upgraded>>> {
    let key = generate_key();
    client
        .transport()
        .trace()
        .streamed("GET", url, "websocket upgrade");
    let request = client
        .transport()
        .pool(url)?
        .get(url.clone())
        .header("authorization", format!("bearer {}", token.reveal()))
        .header(ORIGIN, client.target()?.api.origin().ascii_serialization())
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", &key);
    let open = async {
        let fail = |error: reqwest::Error| ApiError::sending(url, OPEN_WITHIN, &error);
        let response = request.send().await.map_err(fail)?;
        if response.status() == StatusCode::UNAUTHORIZED {
            return Ok(None);
        }
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let answer = collect(response, url, OPEN_WITHIN).await?.accepted()?;
            anyhow::bail!(
                "{url} answered HTTP {} instead of a stream",
                answer.status.as_u16()
            );
        }
        let accepted = response.headers().get("sec-websocket-accept");
        let expected = derive_accept_key(key.as_bytes());
        anyhow::ensure!(
            accepted.is_some_and(|value| value.as_bytes() == expected.as_bytes()),
            "{url} does not speak the websocket protocol"
        );
        Ok(Some(response.upgrade().await.map_err(fail)?))
    };
    let upgraded = tokio::time::timeout(OPEN_WITHIN, open)
        .await
        .with_context(|| format!("{url} did not open within {} s", OPEN_WITHIN.as_secs()))??;
    let Some(upgraded) = upgraded else {
        return Ok(None);
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(LARGEST_MESSAGE))
        .max_frame_size(Some(LARGEST_MESSAGE));
    Ok(Some(
        WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await,
    ))
}
