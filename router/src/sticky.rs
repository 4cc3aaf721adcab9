//! Sticky sessions: an answer that opens a session binds its client to the instance that gave it.

use std::fmt::Write as _;

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

/// The router's own cookie; its value is an instance id.
const OWN: &str = "__VCAP_ID__";

/// Which cookies mean a session.
#[derive(Debug, Clone)]
pub(crate) struct Stickiness {
    pub(crate) names: Vec<String>,
    pub(crate) secure: bool,
}

/// A cookie as an answer sets it.
#[derive(Debug)]
struct SetCookie<'a> {
    name: &'a str,
    attributes: &'a str,
}

// === impl Stickiness ===

impl Stickiness {
    /// The instance that the client is bound to: it sent both a session cookie and ours.
    pub(crate) fn bound_to(&self, headers: &HeaderMap) -> Option<String> {
        let mut instance = None;
        let mut session = false;
        for (name, value) in headers
            .get_all(COOKIE)
            .iter()
            .filter_map(text)
            .flat_map(pairs)
        {
            if name == OWN && !value.is_empty() {
                instance = Some(value);
            }
            session |= self.is_session(name);
        }
        instance.filter(|_| session).map(str::to_owned)
    }

    /// The cookie that binds the client to `instance`, when the answer opens a session or when the
    /// client was `bound` to another instance; none when the app sets it itself.
    pub(crate) fn binding(
        &self,
        answer: &HeaderMap,
        instance: &str,
        bound: Option<&str>,
        context_path: &str,
    ) -> Option<HeaderValue> {
        if instance.is_empty() {
            return None;
        }
        let set = || {
            answer
                .get_all(SET_COOKIE)
                .iter()
                .filter_map(text)
                .filter_map(SetCookie::parse)
        };
        if set().any(|cookie| cookie.name == OWN) {
            return None;
        }
        let session = set().rfind(|cookie| self.is_session(cookie.name));
        let moved = bound.is_some_and(|bound| bound != instance);
        if session.is_none() && !moved {
            return None;
        }
        let mut cookie = format!("{OWN}={instance}; Path={context_path}");
        let mut secure = self.secure;
        if let Some(session) = session {
            for (name, value) in session.attributes() {
                // Writing into a String cannot fail.
                let _ = match name.to_ascii_lowercase().as_str() {
                    "max-age" if value.starts_with('-') || value == "0" => {
                        write!(cookie, "; Max-Age={value}")
                    }
                    "expires" => write!(cookie, "; Expires={value}"),
                    "samesite" => write!(cookie, "; SameSite={value}"),
                    "partitioned" => write!(cookie, "; Partitioned"),
                    "secure" => {
                        secure = true;
                        Ok(())
                    }
                    _ => Ok(()),
                };
            }
        }
        cookie.push_str("; HttpOnly");
        if secure {
            cookie.push_str("; Secure");
        }
        HeaderValue::from_str(&cookie).ok()
    }

    fn is_session(&self, name: &str) -> bool {
        self.names.iter().any(|session| session == name)
    }
}

// === impl SetCookie ===

impl<'a> SetCookie<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
        let (name, _) = pair.split_once('=')?;
        Some(Self {
            name: name.trim(),
            attributes,
        })
    }

    fn attributes(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        pairs(self.attributes)
    }
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

/// `a=1; b; c=3` as pairs.
fn pairs(list: &str) -> impl Iterator<Item = (&str, &str)> {
    list.split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (name.trim(), value.trim())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stickiness() -> Stickiness {
        Stickiness {
            names: vec!["JSESSIONID".to_owned()],
            secure: false,
        }
    }

    fn bound_to(cookies: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(COOKIE, HeaderValue::from_static(cookie));
        }
        stickiness().bound_to(&headers)
    }

    fn binding(set: &[&'static str], bound: Option<&str>) -> Option<String> {
        let mut headers = HeaderMap::new();
        for cookie in set {
            headers.append(SET_COOKIE, HeaderValue::from_static(cookie));
        }
        let cookie = stickiness().binding(&headers, "i-1", bound, "/shop")?;
        cookie.to_str().ok().map(str::to_owned)
    }

    #[test]
    fn a_client_is_bound_by_both_cookies_together() {
        assert_eq!(
            bound_to(&["JSESSIONID=x; __VCAP_ID__=i-1"]).as_deref(),
            Some("i-1")
        );
        assert_eq!(
            bound_to(&["JSESSIONID=x", "a=b; __VCAP_ID__=i-2"]).as_deref(),
            Some("i-2")
        );
        assert_eq!(bound_to(&["__VCAP_ID__=i-1"]), None);
        assert_eq!(bound_to(&["JSESSIONID=x"]), None);
        assert_eq!(bound_to(&["JSESSIONID=x; __VCAP_ID__="]), None);
    }

    #[test]
    fn an_answer_that_opens_a_session_binds() {
        assert_eq!(
            binding(
                &[
                    "a=b",
                    "JSESSIONID=x; Path=/; secure; SameSite=Lax; Max-Age=60"
                ],
                None
            )
            .as_deref(),
            Some("__VCAP_ID__=i-1; Path=/shop; SameSite=Lax; HttpOnly; Secure")
        );
        assert_eq!(binding(&["jsessionid=x"], None), None);
        assert_eq!(binding(&["SESSION=x"], None), None);
    }

    #[test]
    fn an_answer_that_ends_a_session_unbinds() {
        assert_eq!(
            binding(
                &["JSESSIONID=; Max-Age=-1; Expires=Thu, 01 Jan 1970 00:00:00 GMT"],
                None
            )
            .as_deref(),
            Some(
                "__VCAP_ID__=i-1; Path=/shop; Max-Age=-1; Expires=Thu, 01 Jan 1970 00:00:00 GMT; \
                 HttpOnly"
            )
        );
    }

    #[test]
    fn a_client_that_was_moved_is_told_and_one_that_was_not_is_left_alone() {
        assert_eq!(
            binding(&[], Some("gone")).as_deref(),
            Some("__VCAP_ID__=i-1; Path=/shop; HttpOnly")
        );
        assert_eq!(binding(&[], Some("i-1")), None);
        assert_eq!(
            binding(&["__VCAP_ID__=own", "JSESSIONID=x"], Some("gone")),
            None
        );
    }
}
