//! The HTTP request that opens a websocket, and the answer to it.

use std::fmt::Write as _;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use sha1::{Digest as _, Sha1};

use super::WebsocketConfigError;
use super::deflate::Pool;
use super::origin::Origin;
use crate::config::Websocket;

/// Headers of a request; browsers send about twenty.
const HEADERS: usize = 64;
/// By this header nats-server lets clients do without masks.
const NO_MASKING: &str = "Nats-No-Masking";
/// What RFC 6455 mixes into the key.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What all connections of a websocket listener share.
#[derive(Debug)]
pub(crate) struct Upgrader {
    /// Whether they come over TLS.
    secure: bool,
    same_origin: bool,
    allowed_origins: Vec<Origin>,
    compression: bool,
    cookies: CookieNames,
    /// Header lines added to the answer.
    headers: String,
    /// The most a compressed message may inflate to.
    pub(super) max_message: usize,
    pub(super) pool: Pool,
}

#[derive(Debug)]
struct CookieNames {
    jwt: Option<String>,
    user: Option<String>,
    pass: Option<String>,
    token: Option<String>,
}

/// What an upgrade request has told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Greeting {
    /// Where the client is, according to a proxy. Nothing is decided by it; the log tells it.
    pub(crate) forwarded_for: Option<IpAddr>,
    /// Credentials for a CONNECT that brings none.
    pub(crate) cookies: Cookies,
}

/// Values of the cookies that stand in for credentials.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cookies {
    pub(crate) jwt: Option<SecretString>,
    pub(crate) user: Option<String>,
    pub(crate) pass: Option<SecretString>,
    pub(crate) token: Option<SecretString>,
}

/// What came of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The head is not complete.
    Incomplete,
    /// It is, and took so many bytes.
    Upgraded {
        length: usize,
        answer: String,
        greeting: Greeting,
        compress: bool,
        /// Whether the client's frames will bear masks.
        masked: bool,
    },
    /// It is not what we serve.
    Refused {
        answer: String,
        reason: &'static str,
    },
}

// === impl Upgrader ===

impl Upgrader {
    /// Checks a section. `max_message` is the most a message may inflate to.
    ///
    /// # Errors
    /// It cannot be honoured.
    pub(crate) fn new(
        config: &Websocket,
        max_message: usize,
    ) -> Result<Self, WebsocketConfigError> {
        if config.tls.is_none() && !config.no_tls {
            return Err(WebsocketConfigError::NoTls);
        }
        let origins = config.allowed_origins.iter().map(|text| {
            Origin::parse(text).ok_or_else(|| WebsocketConfigError::Origin(text.clone()))
        });
        Ok(Upgrader {
            secure: config.tls.is_some(),
            same_origin: config.same_origin,
            allowed_origins: origins.collect::<Result<_, _>>()?,
            compression: config.compression,
            cookies: CookieNames {
                jwt: config.jwt_cookie.clone(),
                user: config.user_cookie.clone(),
                pass: config.pass_cookie.clone(),
                token: config.token_cookie.clone(),
            },
            headers: header_lines(&config.headers)?,
            max_message,
            pool: Pool::default(),
        })
    }

    /// Reads a request as far as it has come.
    pub(super) fn answer(&self, head: &[u8]) -> Outcome {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let length = match request.parse(head) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Outcome::Incomplete,
            Err(httparse::Error::TooManyHeaders) => {
                return refusal("431 Request Header Fields Too Large", "too many headers");
            }
            Err(_) => return refusal("400 Bad Request", "that is no HTTP request"),
        };
        let request = Request {
            method: request.method.unwrap_or_default(),
            path: request.path.unwrap_or_default(),
            headers: request.headers,
        };
        match self.check(&request) {
            Err((status, reason)) => refusal(status, reason),
            Ok(key) => {
                let compress = self.compression && request.offers_compression();
                // Servers and programs may agree that none is between them who must not be confused.
                let masked = request.first(NO_MASKING) != Some("true");
                Outcome::Upgraded {
                    length,
                    answer: self.welcome(key, compress, masked),
                    greeting: self.greeting(&request),
                    compress,
                    masked,
                }
            }
        }
    }

    /// Whether this is an upgrade we serve; returns its key.
    fn check<'a>(&self, request: &Request<'a>) -> Result<&'a str, (&'static str, &'static str)> {
        let bad = |reason| ("400 Bad Request", reason);
        if request.path.ends_with("/leafnode") || request.path.ends_with("/mqtt") {
            return Err(("404 Not Found", "this server serves clients of NATS only"));
        }
        if request.method != "GET" {
            return Err(("405 Method Not Allowed", "a websocket is opened by GET"));
        }
        let host = request.only("host").ok_or(bad("the host is missing"))?;
        if !request.lists("upgrade", "websocket") || !request.lists("connection", "upgrade") {
            return Err(bad("this is a websocket: ask for an upgrade"));
        }
        let key = request.first("sec-websocket-key").unwrap_or_default();
        if STANDARD.decode(key).map(|bytes| bytes.len()) != Ok(16) {
            return Err(bad("the websocket key is missing or malformed"));
        }
        if !request.lists("sec-websocket-version", "13") {
            return Err(bad("the version of websockets served is 13"));
        }
        self.check_origin(request, host)?;
        Ok(key)
    }

    /// Who sends no origin is no browser, and could send any.
    fn check_origin(
        &self,
        request: &Request<'_>,
        host: &str,
    ) -> Result<(), (&'static str, &'static str)> {
        if !self.same_origin && self.allowed_origins.is_empty() {
            return Ok(());
        }
        let origin = request.first("origin");
        let Some(origin) = origin.or_else(|| request.first("sec-websocket-origin")) else {
            return Ok(());
        };
        let refused = Err(("403 Forbidden", "pages of this origin may not connect"));
        let Some(origin) = Origin::parse(origin) else {
            return refused;
        };
        if self.same_origin && Origin::of_host(host, self.secure).as_ref() != Some(&origin) {
            return refused;
        }
        if !self.allowed_origins.is_empty() && !self.allowed_origins.contains(&origin) {
            return refused;
        }
        Ok(())
    }

    fn welcome(&self, key: &str, compress: bool, masked: bool) -> String {
        let digest = Sha1::new().chain_update(key).chain_update(MAGIC).finalize();
        let mut answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n",
            STANDARD.encode(digest)
        );
        if compress {
            answer.push_str(
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                 client_no_context_takeover\r\n",
            );
        }
        if !masked {
            let _ = write!(answer, "{NO_MASKING}: true\r\n");
        }
        answer.push_str(&self.headers);
        answer.push_str("\r\n");
        answer
    }

    fn greeting(&self, request: &Request<'_>) -> Greeting {
        let value = |name: &Option<String>| {
            let name = name.as_deref()?;
            request.cookies().find(|(key, _)| *key == name)
        };
        let plain = |name| value(name).map(|(_, value)| value.to_owned());
        let secret = |name| plain(name).map(SecretString::from);
        let names = &self.cookies;
        Greeting {
            forwarded_for: request
                .first("x-forwarded-for")
                .and_then(|list| list.split(',').next()?.trim().parse().ok()),
            cookies: Cookies {
                jwt: secret(&names.jwt),
                user: plain(&names.user),
                pass: secret(&names.pass),
                token: secret(&names.token),
            },
        }
    }
}

fn header_lines(headers: &[(String, String)]) -> Result<String, WebsocketConfigError> {
    let mut lines = String::new();
    for (name, value) in headers {
        let lower = name.to_ascii_lowercase();
        let reserved = [
            "host",
            "content-length",
            "connection",
            "upgrade",
            "nats-no-masking",
        ]
        .contains(&lower.as_str())
            || lower.starts_with("sec-websocket-");
        let well_formed = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !value.bytes().any(|byte| byte.is_ascii_control());
        if reserved || !well_formed {
            return Err(WebsocketConfigError::Header(name.clone()));
        }
        let _ = write!(lines, "{name}: {value}\r\n");
    }
    Ok(lines)
}

/// Refuses a request. The reason is for the log; who asks is told the status, as by nats-server.
pub(super) fn refusal(status: &'static str, reason: &'static str) -> Outcome {
    let body = status.split_once(' ').map_or(status, |(_, text)| text);
    let allow = if status.starts_with("405") {
        "Allow: GET\r\n"
    } else {
        ""
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Sec-Websocket-Version: 13\r\nX-Content-Type-Options: nosniff\r\n{allow}Content-Length: {}\r\n\r\n\
         {body}\n",
        body.len() + 1
    );
    Outcome::Refused { answer, reason }
}

/// A request whose head is complete.
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    headers: &'a [httparse::Header<'a>],
}

// === impl Request ===

impl<'a> Request<'a> {
    fn values(&self, name: &'static str) -> impl Iterator<Item = &'a str> {
        let headers = self.headers;
        headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .filter_map(|header| std::str::from_utf8(header.value).ok())
            .map(str::trim)
    }

    /// The value of a header, the first if there are several; `None` when it is empty.
    fn first(&self, name: &'static str) -> Option<&'a str> {
        self.values(name).next().filter(|value| !value.is_empty())
    }

    /// The value of a header that must be there once.
    fn only(&self, name: &'static str) -> Option<&'a str> {
        self.first(name).filter(|_| self.values(name).count() == 1)
    }

    /// Whether a header that is a list has this word.
    fn lists(&self, name: &'static str, word: &str) -> bool {
        self.values(name)
            .flat_map(|value| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(word))
    }

    fn offers_compression(&self) -> bool {
        self.values("sec-websocket-extensions")
            .flat_map(|value| value.split(','))
            .filter_map(|offer| offer.split(';').next())
            .any(|name| name.trim().eq_ignore_ascii_case("permessage-deflate"))
    }

    fn cookies(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.values("cookie")
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .map(|(name, value)| (name, value.trim_matches('"')))
    }
}

#[cfg(test)]
mod tests;
