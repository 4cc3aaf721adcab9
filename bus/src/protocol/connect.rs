//! What clients say in CONNECT, read as nats-server reads it: keys in any case, of a repeated key the last
//! one, `null` as if it were absent.

use std::fmt;

use secrecy::SecretString;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::wire::websocket::Cookies;

/// What a client said in CONNECT. Keys that are absent in a later one keep their value.
#[derive(Clone, Debug)]
pub(crate) struct ConnectOptions {
    /// `+OK` for everything.
    pub verbose: bool,
    /// Published subjects are checked.
    pub pedantic: bool,
    /// Own messages come back.
    pub echo: bool,
    /// Headers are understood.
    pub headers: bool,
    /// A request nobody listens to shall be answered with a 503.
    pub no_responders: bool,
    /// Whether INFO may come at any time.
    pub protocol: i64,
    /// It would like to choose its account, which nobody may.
    pub names_account: bool,
    /// Name of the client.
    pub name: Option<String>,
    /// Its language.
    pub lang: Option<String>,
    /// The version of its library.
    pub version: Option<String>,
    /// Credentials: user name.
    pub user: Option<String>,
    /// Credentials: password.
    pub pass: Option<SecretString>,
    /// Credentials: token.
    pub auth_token: Option<SecretString>,
    /// Credentials: public nkey.
    pub nkey: Option<String>,
    /// Credentials: the signed nonce.
    pub sig: Option<String>,
    /// Credentials: the user's JWT.
    pub jwt: Option<SecretString>,
}

/// A text, with what is no UTF-8 in it replaced: half of an emoji in a name is no reason to turn away.
struct Text(String);

// === impl ConnectOptions ===

impl Default for ConnectOptions {
    fn default() -> Self {
        ConnectOptions {
            verbose: true,
            pedantic: true,
            echo: true,
            headers: false,
            no_responders: false,
            protocol: 0,
            names_account: false,
            name: None,
            lang: None,
            version: None,
            user: None,
            pass: None,
            auth_token: None,
            nkey: None,
            sig: None,
            jwt: None,
        }
    }
}

impl ConnectOptions {
    /// Takes over what this CONNECT says; tells whether it says anything of who the client is.
    ///
    /// # Errors
    /// It is not the JSON of a CONNECT.
    pub(crate) fn update(&mut self, json: &[u8]) -> Result<bool, serde_json::Error> {
        let mut source = serde_json::Deserializer::from_slice(json);
        let introduced = Update(self).deserialize(&mut source)?;
        source.end()?;
        Ok(introduced)
    }

    /// Takes cookies for credentials that CONNECT does not bring.
    pub(crate) fn fill_in(&mut self, cookies: &Cookies) {
        fn fill<T: Clone>(place: &mut Option<T>, cookie: &Option<T>) {
            if place.is_none() {
                place.clone_from(cookie);
            }
        }
        fill(&mut self.user, &cookies.user);
        fill(&mut self.pass, &cookies.pass);
        fill(&mut self.auth_token, &cookies.token);
        fill(&mut self.jwt, &cookies.jwt);
    }

    /// Whether it says nothing of who it is.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.user.is_none()
            && self.auth_token.is_none()
            && self.nkey.is_none()
            && self.jwt.is_none()
    }

    /// Forgets the credentials once they have been checked.
    pub(crate) fn forget_secrets(&mut self) {
        self.pass = None;
        self.auth_token = None;
        self.sig = None;
        self.jwt = None;
    }
}

/// Reads JSON into options that are there already.
struct Update<'a>(&'a mut ConnectOptions);

// === impl Update ===

impl<'de> DeserializeSeed<'de> for Update<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<bool, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Update<'_> {
    type Value = bool;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("the options of a CONNECT")
    }

    /// `null` says nothing.
    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<bool, M::Error> {
        let options = self.0;
        let mut introduced = false;
        while let Some(Text(mut key)) = map.next_key()? {
            key.make_ascii_lowercase();
            match key.as_str() {
                "verbose" => replace(&mut options.verbose, &mut map)?,
                "pedantic" => replace(&mut options.pedantic, &mut map)?,
                "echo" => replace(&mut options.echo, &mut map)?,
                "headers" => replace(&mut options.headers, &mut map)?,
                "no_responders" => replace(&mut options.no_responders, &mut map)?,
                "protocol" => replace(&mut options.protocol, &mut map)?,
                "new_account" => replace(&mut options.names_account, &mut map)?,
                "name" => _ = keep(&mut options.name, &mut map)?,
                "lang" => _ = keep(&mut options.lang, &mut map)?,
                "version" => _ = keep(&mut options.version, &mut map)?,
                "user" => introduced |= keep(&mut options.user, &mut map)?,
                "pass" => introduced |= keep(&mut options.pass, &mut map)?,
                "auth_token" => introduced |= keep(&mut options.auth_token, &mut map)?,
                "nkey" => introduced |= keep(&mut options.nkey, &mut map)?,
                "sig" => introduced |= keep(&mut options.sig, &mut map)?,
                "jwt" => introduced |= keep(&mut options.jwt, &mut map)?,
                "account" => {
                    let mut account = None::<String>;
                    keep(&mut account, &mut map)?;
                    options.names_account |= account.is_some();
                }
                // It means nothing to us, but whoever gets it wrong is not understood.
                "tls_required" => _ = map.next_value::<Option<bool>>()?,
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(introduced)
    }
}

fn replace<'de, T: Deserialize<'de>, M: MapAccess<'de>>(
    place: &mut T,
    map: &mut M,
) -> Result<(), M::Error> {
    if let Some(value) = map.next_value()? {
        *place = value;
    }
    Ok(())
}

/// Whether there is a value. An empty one counts as none given: many clients send it for credentials they
/// do not have.
fn keep<'de, T: From<String>, M: MapAccess<'de>>(
    place: &mut Option<T>,
    map: &mut M,
) -> Result<bool, M::Error> {
    let Some(Text(value)) = map.next_value()? else {
        return Ok(false);
    };
    *place = (!value.is_empty()).then(|| value.into());
    Ok(true)
}

// === impl Text ===

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_bytes(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a text")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_owned()))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
        Ok(Text(String::from_utf8_lossy(bytes).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn read(json: &[u8]) -> ConnectOptions {
        let mut options = ConnectOptions::default();
        options.update(json).unwrap();
        options
    }

    #[test]
    fn keys_may_be_in_any_case_repeated_or_null() {
        let options =
            read(br#"{"VERBOSE":true,"verbose":false,"Name":"n","pedantic":null,"x":[]}"#);
        assert!(!options.verbose && options.pedantic);
        assert_eq!(options.name.as_deref(), Some("n"));
        assert!(read(b"null").verbose);
    }

    #[test]
    fn what_is_no_text_in_a_text_is_replaced() {
        assert!(
            read(br#"{"name":"a\ud83d"}"#)
                .name
                .unwrap()
                .starts_with('a')
        );
        assert!(read(b"{\"name\":\"a\xff\"}").name.unwrap().starts_with('a'));
    }

    #[test]
    fn a_later_one_changes_what_it_says() {
        let mut options = read(br#"{"user":"u","pass":"p","name":"n"}"#);
        assert!(!options.update(br#"{"verbose":false}"#).unwrap());
        assert_eq!(
            (options.user.as_deref(), options.is_anonymous()),
            (Some("u"), false)
        );
        assert!(options.update(br#"{"user":"","name":""}"#).unwrap());
        assert!(options.is_anonymous() && options.name.is_none());
    }

    #[test]
    fn what_is_no_connect() {
        for json in [
            "",
            "[]",
            "1",
            "{} x",
            r#"{"verbose":"no"}"#,
            r#"{"name":7}"#,
            r#"{"tls_required":1}"#,
            r#"{"protocol":1.5}"#,
            r#"{"account":{}}"#,
        ] {
            let read = ConnectOptions::default().update(json.as_bytes());
            assert!(read.is_err(), "{json}");
        }
    }
}
