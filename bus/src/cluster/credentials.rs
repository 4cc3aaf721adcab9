//! What a peer must say to be let in, and what this server says to be let in by others.

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::info::RouteConnect;
use crate::config::{Cluster, ClusterAuthorization, RouteUrl};
use crate::wire::tls::Leaf;

/// What is said to a peer.
#[derive(Debug, Default)]
pub(crate) struct Said<'a> {
    pub(crate) user: Option<&'a str>,
    pub(crate) password: Option<&'a SecretString>,
    pub(crate) token: Option<&'a SecretString>,
}

/// Whether peers must say who they are.
pub(crate) fn are_required(wanted: &ClusterAuthorization) -> bool {
    wanted.user.is_some() || wanted.token.is_some()
}

/// Whether the certificate a peer has shown lets it in; `None` where that does not count. It must bear the
/// name of the user, or that of a server we dial ourselves, as the section says.
pub(crate) fn by_certificate(
    cluster: &Cluster,
    shown: impl FnOnce() -> Option<Leaf>,
) -> Option<bool> {
    let tls = cluster.tls.as_ref();
    let maps = tls.is_some_and(|tls| tls.verify_and_map);
    let knows = tls.is_some_and(|tls| tls.verify_cert_and_check_known_urls);
    if !maps && !knows {
        return None;
    }
    let Some(leaf) = shown() else {
        return Some(false);
    };
    let mut hosts = cluster.routes.iter().map(|route| route.host.as_str());
    let user = cluster.authorization.user.as_deref();
    let named = || leaf.user(user.into_iter()).is_some();
    Some((knows && leaf.is_for_one_of(&mut hosts)) || (maps && named()))
}

/// Whether checking takes milliseconds, as a bcrypt hash does.
pub(crate) fn are_slow(wanted: &ClusterAuthorization) -> bool {
    wanted.password.as_ref().is_some_and(is_bcrypt)
}

/// Whether a peer said the right thing.
pub(crate) fn check(wanted: &ClusterAuthorization, said: &RouteConnect) -> bool {
    let (user, pass) = (said.user.as_deref(), said.pass.as_ref());
    if let Some(token) = &wanted.token {
        // A token may also come as the user part of a URL.
        let given = said.auth_token.as_ref().map(|token| token.expose_secret());
        if let Some(given) = given.or(user.filter(|_| pass.is_none())) {
            return is_same(token.expose_secret(), given);
        }
    }
    let Some(name) = &wanted.user else {
        return wanted.token.is_none();
    };
    let known = is_same(name, user.unwrap_or_default());
    let given = pass.map_or("", |pass| pass.expose_secret());
    let right = match &wanted.password {
        None => true,
        Some(hash) if is_bcrypt(hash) => {
            bcrypt::verify(given, hash.expose_secret()).unwrap_or(false)
        }
        Some(password) => is_same(password.expose_secret(), given),
    };
    known & right
}

/// What to say to the peer of a URL: what stands in it, else what peers say to us.
pub(crate) fn for_peer<'a>(url: &'a RouteUrl, own: &'a ClusterAuthorization) -> Said<'a> {
    if url.user.is_some() {
        return Said {
            user: url.user.as_deref(),
            password: url.password.as_ref(),
            token: None,
        };
    }
    Said {
        user: own.user.as_deref(),
        // A hash is no password.
        password: own
            .password
            .as_ref()
            .filter(|password| !is_bcrypt(password)),
        token: own.token.as_ref(),
    }
}

fn is_bcrypt(secret: &SecretString) -> bool {
    let secret = secret.expose_secret();
    secret.len() == 60
        && ["$2a$", "$2b$", "$2x$", "$2y$"]
            .iter()
            .any(|p| secret.starts_with(p))
}

/// Compares in a time that tells nothing.
fn is_same(wanted: &str, given: &str) -> bool {
    let digest = |text: &str| Sha256::digest(text.as_bytes());
    digest(wanted).ct_eq(&digest(given)).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn wanted(json: serde_json::Value) -> ClusterAuthorization {
        serde_json::from_value(json).unwrap()
    }

    fn let_in(wanted: &ClusterAuthorization, said: serde_json::Value) -> bool {
        check(wanted, &serde_json::from_value(said).unwrap())
    }

    #[test]
    fn who_is_let_in() {
        let open = wanted(serde_json::json!({}));
        assert!(let_in(&open, serde_json::json!({})) && !are_required(&open));
        let user = wanted(serde_json::json!({ "user": "r", "password": "pw" }));
        assert!(are_required(&user));
        assert!(let_in(
            &user,
            serde_json::json!({ "user": "r", "pass": "pw" })
        ));
        for said in [
            serde_json::json!({}),
            serde_json::json!({ "user": "r" }),
            serde_json::json!({ "user": "r", "pass": "no" }),
            serde_json::json!({ "user": "x", "pass": "pw" }),
        ] {
            assert!(!let_in(&user, said.clone()), "{said}");
        }
        let token = wanted(serde_json::json!({ "token": "t" }));
        assert!(let_in(&token, serde_json::json!({ "auth_token": "t" })));
        assert!(let_in(&token, serde_json::json!({ "user": "t" })));
        assert!(!let_in(&token, serde_json::json!({ "user": "u" })));
        assert!(!let_in(&token, serde_json::json!({})));
    }

    #[test]
    fn hashes_are_checked_and_never_said() {
        let hash = bcrypt::hash("pw", 4).unwrap();
        let user = wanted(serde_json::json!({ "user": "r", "password": hash }));
        assert!(are_slow(&user));
        assert!(let_in(
            &user,
            serde_json::json!({ "user": "r", "pass": "pw" })
        ));
        assert!(!let_in(
            &user,
            serde_json::json!({ "user": "r", "pass": hash })
        ));
        let url: RouteUrl = "nats://h:1".parse().unwrap();
        assert!(for_peer(&url, &user).password.is_none());
        let url: RouteUrl = "nats://a:b@h:1".parse().unwrap();
        assert_eq!(for_peer(&url, &user).user, Some("a"));
    }
}
