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
        maps_certificates: false,
        certificate: None,
    }
}

fn connect(json: serde_json::Value) -> ConnectOptions {
    let mut options = ConnectOptions::default();
    options.update(json.to_string().as_bytes()).unwrap();
    options
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
    // Something was said, and it is nothing that helps.
    assert_eq!(check(serde_json::json!({ "pass": "pw" })), None);
    // What nobody here has is not looked at.
    assert_eq!(check(serde_json::json!({ "nkey": "U" })).unwrap(), "guest");
    assert!(!users.required());
}

#[test]
fn no_password_is_matched_by_none_unless_a_certificate_is_meant() {
    let users = || users(serde_json::json!({ "users": [{ "user": "CN=joe" }] })).unwrap();
    let check = |users: &Users, json| name(users.check(&connect(json), &door("")));
    let bare = serde_json::json!({ "user": "CN=joe" });
    let wrong = serde_json::json!({ "user": "CN=joe", "pass": "x" });
    assert_eq!(check(&users(), bare.clone()).unwrap(), "CN=joe");
    assert_eq!(check(&users(), wrong), None);
    let config = config::Config {
        tls: Some(config::Tls {
            verify_and_map: true,
            ..config::Tls::default()
        }),
        ..config::Config::default()
    };
    let mapped = users().beside_certificates(&config);
    assert_eq!(check(&mapped, bare), None);
    // Where certificates are looked at, one must be shown.
    let door = Doorway {
        maps_certificates: true,
        ..door("")
    };
    let none = connect(serde_json::json!({}));
    assert_eq!(name(mapped.check(&none, &door)), None);
}

#[test]
fn a_reload_finds_out_who_may_stay() {
    let before = users(serde_json::json!({ "users": [
        { "user": "a", "password": "x" }, { "user": "b", "password": "x" }] }))
    .unwrap();
    let after = users(serde_json::json!({ "users": [{ "user": "a", "password": "y" }] })).unwrap();
    let nobody = users(serde_json::json!({})).unwrap();
    let of = |name: &str| before.find(name).map(|identity| &**identity);
    assert!(matches!(
        before.standing(of("a"), false),
        Standing::Now(Some(_))
    ));
    assert!(matches!(after.standing(of("a"), false), Standing::Gone));
    assert!(matches!(after.standing(of("b"), false), Standing::Moved));
    assert!(matches!(nobody.standing(of("a"), false), Standing::Moved));
    assert!(matches!(after.standing(None, false), Standing::Unknown));
    assert!(matches!(after.standing(None, true), Standing::Gone));
    assert!(matches!(nobody.standing(None, true), Standing::Now(None)));
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
    let damaged = serde_json::json!({ "users": [{ "user": "a", "password": "$2a$10$short" }] });
    let connect = connect(serde_json::json!({ "user": "a", "pass": "$2a$10$short" }));
    let users = self::users(damaged).unwrap();
    assert_eq!(name(users.check(&connect, &door(""))), None);
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
