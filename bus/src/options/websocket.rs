//! `websocket { … }`.

use crate::conf::{ConfError, Kind};
use crate::config::Websocket;

use super::read::{Address, Field};
use super::tls;

const KNOWN: [&str; 18] = [
    "listen",
    "host",
    "port",
    "advertise",
    "no_tls",
    "tls",
    "same_origin",
    "allowed_origins",
    "handshake_timeout",
    "compression",
    "authorization",
    "jwt_cookie",
    "user_cookie",
    "pass_cookie",
    "token_cookie",
    "no_auth_user",
    "headers",
    "ping_interval",
];

/// Reads the section; its address is still names.
pub(super) fn read(
    field: Field<'_>,
    ignored: &mut Vec<String>,
) -> Result<(Websocket, Address), ConfError> {
    let mut websocket = Websocket::default();
    let mut address = Address::default();
    for entry in field.map()?.entries() {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            "listen" => address = field.listen()?,
            "host" | "net" => address.host = Some(field.text()?),
            "port" => address.port = field.port()?,
            "advertise" => websocket.advertise = Some(field.text()?),
            "no_tls" => websocket.no_tls = field.boolean()?,
            "tls" => websocket.tls = Some(tls::read(field, tls::Of::Clients, ignored)?),
            "same_origin" => websocket.same_origin = field.boolean()?,
            "allowed_origins" | "allowed_origin" | "allow_origins" | "allow_origin" | "origins"
            | "origin" => websocket.allowed_origins = field.texts()?,
            "handshake_timeout" => websocket.handshake_timeout = field.duration()?,
            "compress" | "compression" => websocket.compression = field.boolean()?,
            "authorization" | "authentication" => authorization(field, &mut websocket)?,
            "jwt_cookie" => websocket.jwt_cookie = Some(field.text()?),
            "user_cookie" => websocket.user_cookie = Some(field.text()?),
            "pass_cookie" => websocket.pass_cookie = Some(field.text()?),
            "token_cookie" => websocket.token_cookie = Some(field.text()?),
            "no_auth_user" => websocket.no_auth_user = Some(field.text()?),
            "headers" => {
                for entry in field.map()?.entries() {
                    let value = match &entry.value.kind {
                        Kind::Text(text) => text.clone(),
                        _ => return Err(Field(entry).wrong("the value of a header is text")),
                    };
                    websocket.headers.push((entry.key.clone(), value));
                }
            }
            "ping_interval" => websocket.ping_interval = Some(field.duration()?),
            _ => field.unknown(&KNOWN)?,
        }
    }
    Ok((websocket, address))
}

fn authorization(field: Field<'_>, websocket: &mut Websocket) -> Result<(), ConfError> {
    for entry in field.map()?.entries() {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            "user" | "username" => websocket.username = Some(field.text()?),
            "pass" | "password" => websocket.password = Some(field.text()?.into()),
            "token" => websocket.token = Some(field.text()?.into()),
            "timeout" => websocket.auth_timeout = Some(field.duration()?),
            _ => field.unknown(&["user", "password", "token", "timeout"])?,
        }
    }
    Ok(())
}
