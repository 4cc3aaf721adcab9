//! Who gets in, and who does not.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;

fn users(json: serde_json::Value) -> Result<Users, AuthConfigError> {
    Users::compile(&serde_json::from_value(json).unwrap(), &[], None)
}

fn door(nonce: &str) -> Doorway<'_> {
    Doorway {
        nonce,
        address: [127, 0, 0, 1].into(),
        way: "STANDARD",
    }
}

fn connect(json: serde_json::Value) -> ConnectOptions {
    serde_json::from_value(json).unwrap()
}

fn name(verdict: Verdict) -> Option<String> {
    match verdict {
        Verdict::Known(identity) => Some(identity.name.clone()),
        Verdict::Slow(check) => check.run().map(|identity| identity.name.clone()),
        Verdict::Open => Some("open".to_owned()),
        Verdict::Refused => None,
    }
}

#[test]
fn passwords_tokens_and_nobody() {
    let users = users(serde_json::json!({
        "token": "tok", "no_auth_user": "guest",
        "users": [{ "user": "a", "password": "pw" }, { "user": "guest" }],
    }))
    .unwrap();
    let check = |json| name(users.check(&connect(json), &door("")));
    assert_eq!(
        check(serde_json::json!({ "user": "a", "pass": "pw" })).unwrap(),
        "a"
    );
    assert_eq!(
        check(serde_json::json!({ "user": "a", "pass": "no" })),
        None
    );
    assert_eq!(check(serde_json::json!({ "user": "a" })), None);
    assert_eq!(
        check(serde_json::json!({ "user": "zz", "pass": "pw" })),
        None
    );
    assert_eq!(
        check(serde_json::json!({ "auth_token": "tok" })).unwrap(),
        "token"
    );
    // A token in the user's place is none, as with nats-server.
    assert_eq!(check(serde_json::json!({ "user": "tok" })), None);
    assert_eq!(check(serde_json::json!({ "auth_token": "no" })), None);
    assert_eq!(check(serde_json::json!({})).unwrap(), "guest");
    // One without a password cannot be claimed by name.
    assert_eq!(check(serde_json::json!({ "user": "guest" })), None);
    assert_eq!(
        check(serde_json::json!({ "user": "guest", "pass": "" })),
        None
    );
    assert!(!users.required());
}

#[test]
fn a_bcrypt_hash_is_never_a_password() {
    let hash = bcrypt::hash("pw", 4).unwrap();
    let users = users(serde_json::json!({ "users": [{ "user": "a", "password": hash }] })).unwrap();
    let check = |pass: &str| {
        name(users.check(
            &connect(serde_json::json!({ "user": "a", "pass": pass })),
            &door(""),
        ))
    };
    assert_eq!(check("pw").unwrap(), "a");
    assert_eq!(check("other"), None);
    assert_eq!(check(&hash), None);
}

#[test]
fn nkeys_sign_the_nonce() {
    let key = KeyPair::new_user();
    let public = key.public_key();
    let users = users(serde_json::json!({ "users": [{ "nkey": public }] })).unwrap();
    let sign = |text: &str| URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes()).unwrap());
    let check = |sig: &str| {
        name(users.check(
            &connect(serde_json::json!({ "nkey": public, "sig": sig })),
            &door("n1"),
        ))
    };
    assert_eq!(check(&sign("n1")).unwrap(), public);
    // As some libraries write it. Its letters differ with the key, so any is as good as another.
    let standard = STANDARD.encode(key.sign(b"n1").unwrap());
    assert_eq!(check(&standard).unwrap(), public);
    assert_eq!(check(&sign("n2")), None);
    assert_eq!(check("@@@"), None);
    assert_eq!(
        name(users.check(&connect(serde_json::json!({ "nkey": public })), &door("n1"))),
        None
    );
    assert!(users.needs_nonce() && users.required());
}

#[test]
fn nonsense_is_refused_at_the_start() {
    let account = KeyPair::new_account().public_key();
    for (json, says) in [
        (serde_json::json!({ "users": [{}] }), "neither"),
        (
            serde_json::json!({ "users": [{ "nkey": "U1", "user": "a" }] }),
            "and a name",
        ),
        (
            serde_json::json!({ "users": [{ "nkey": "nonsense" }] }),
            "not a public user nkey",
        ),
        (
            serde_json::json!({ "users": [{ "nkey": account }] }),
            "not a public user nkey",
        ),
        (
            serde_json::json!({ "users": [
                { "user": "a", "password": "x" }, { "user": "a", "password": "y" }] }),
            "twice",
        ),
        (serde_json::json!({ "no_auth_user": "b" }), "not among"),
        (
            serde_json::json!({ "users": [
                { "user": "a", "password": "x", "permissions": { "publish": { "deny": ["a..b"] } } }] }),
            "permissions of user",
        ),
    ] {
        let error = users(json).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}
