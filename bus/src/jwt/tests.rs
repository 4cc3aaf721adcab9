//! Chains of trust, minted here.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use nkeys::KeyPair;
use serde_json::{Value, json};

use super::user::{Admitted, UserRefusal};
use super::*;
use crate::config::accounts::{Crossing, Export, Import, Operator, ResponseType};

/// A JWT of the second version.
pub(crate) fn mint(issuer: &KeyPair, subject: &str, extra: Value, nats: Value) -> String {
    let mut claims =
        json!({ "iss": issuer.public_key(), "sub": subject, "name": "n", "iat": 1000 });
    merge(&mut claims, extra);
    claims["nats"] = nats;
    claims["nats"]["version"] = 2.into();
    sign(
        issuer,
        json!({ "typ": "JWT", "alg": "ed25519-nkey" }),
        claims,
        false,
    )
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

fn sign(issuer: &KeyPair, header: Value, claims: Value, payload_only: bool) -> String {
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let (header, payload) = (encode(header), encode(claims));
    let input = format!("{header}.{payload}");
    let signed = if payload_only { &payload } else { &input };
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes()).unwrap());
    format!("{input}.{signature}")
}

/// An operator, an account and a user, and what may be changed about them.
struct Chain {
    operator: KeyPair,
    account: KeyPair,
    user: KeyPair,
    account_extra: Value,
    account_nats: Value,
    user_extra: Value,
    user_nats: Value,
    operator_nats: Value,
}

impl Chain {
    fn new() -> Self {
        Chain {
            operator: KeyPair::new_operator(),
            account: KeyPair::new_account(),
            user: KeyPair::new_user(),
            account_extra: json!({}),
            account_nats: json!({ "type": "account", "limits": unlimited() }),
            user_extra: json!({}),
            user_nats: json!({ "type": "user", "subs": -1, "data": -1, "payload": -1 }),
            operator_nats: json!({ "type": "operator" }),
        }
    }

    fn operator_config(&self, account_signer: &KeyPair) -> Operator {
        let key = self.account.public_key();
        let account = mint(
            account_signer,
            &key,
            self.account_extra.clone(),
            self.account_nats.clone(),
        );
        Operator {
            jwts: vec![mint(
                &self.operator,
                &self.operator.public_key(),
                json!({}),
                self.operator_nats.clone(),
            )],
            preload: [(key, account)].into(),
            ..Operator::default()
        }
    }

    fn trust(&self) -> Trust {
        Trust::compile(&self.operator_config(&self.operator), None).unwrap()
    }

    fn admit_as(&self, trust: &Trust, issuer: &KeyPair) -> Result<Admitted, String> {
        let jwt = mint(
            issuer,
            &self.user.public_key(),
            self.user_extra.clone(),
            self.user_nats.clone(),
        );
        let signature = URL_SAFE_NO_PAD.encode(self.user.sign(b"nonce").unwrap());
        trust
            .admit(&presented(&jwt, Some(&signature)))
            .map_err(|refusal| refusal.to_string())
    }

    fn admit(&self) -> Result<Admitted, String> {
        self.admit_as(&self.trust(), &self.account)
    }

    fn refused(&self, says: &str) {
        let error = self.admit().unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

pub(crate) fn unlimited() -> Value {
    json!({ "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1 })
}

fn presented<'a>(jwt: &'a str, signature: Option<&'a str>) -> Presented<'a> {
    Presented {
        jwt,
        signature,
        nonce: "nonce",
        address: [127, 0, 0, 1].into(),
        way: "STANDARD",
        now: DateTime::<Utc>::from_timestamp(2000, 0).unwrap(),
    }
}

#[test]
fn a_chain_from_operator_to_user_holds() {
    let admitted = Chain::new().admit().unwrap();
    assert!(admitted.permissions.is_none() && admitted.left.is_none());
    assert_eq!(
        (admitted.max_subscriptions, admitted.max_payload),
        (None, None)
    );
}

#[test]
fn every_link_is_checked() {
    let chain = Chain::new();
    let stranger = KeyPair::new_operator();
    let trust = Trust::compile(&chain.operator_config(&stranger), None).unwrap();
    assert!(
        chain
            .admit_as(&trust, &chain.account)
            .unwrap_err()
            .contains("no account")
    );
    let trust = chain.trust();
    assert!(
        chain
            .admit_as(&trust, &KeyPair::new_account())
            .unwrap_err()
            .contains("no account")
    );
    // Keys of the wrong kind at either end.
    assert!(
        chain
            .admit_as(&trust, &chain.operator)
            .unwrap_err()
            .contains("wrong kind")
    );
    let jwt = mint(
        &chain.account,
        &chain.account.public_key(),
        json!({}),
        chain.user_nats.clone(),
    );
    assert!(
        trust
            .admit(&presented(&jwt, None))
            .unwrap_err()
            .to_string()
            .contains("wrong kind")
    );
    // Somebody else's issuer.
    let claims = json!({ "iss": chain.account.public_key(), "sub": chain.user.public_key(), "nats": { "type": "user", "version": 2 } });
    let forged = sign(
        &KeyPair::new_account(),
        json!({ "typ": "JWT", "alg": "ed25519-nkey" }),
        claims.clone(),
        false,
    );
    assert!(
        trust
            .admit(&presented(&forged, None))
            .unwrap_err()
            .to_string()
            .contains("not signed")
    );
    let none = sign(
        &chain.account,
        json!({ "typ": "JWT", "alg": "none" }),
        claims,
        false,
    );
    assert!(
        trust
            .admit(&presented(&none, None))
            .unwrap_err()
            .to_string()
            .contains("header")
    );
}

#[test]
fn the_nonce_must_be_signed_unless_it_is_a_bearer() {
    let mut chain = Chain::new();
    let user = chain.user.public_key();
    let trust = chain.trust();
    let jwt = mint(&chain.account, &user, json!({}), chain.user_nats.clone());
    for signature in [None, Some("@@"), Some("AAAA")] {
        let refusal = trust.admit(&presented(&jwt, signature)).unwrap_err();
        assert!(matches!(refusal, UserRefusal::Signature));
    }
    chain.user_nats["bearer_token"] = true.into();
    let jwt = mint(&chain.account, &user, json!({}), chain.user_nats.clone());
    trust.admit(&presented(&jwt, None)).unwrap();
    chain.account_nats["limits"]["disallow_bearer"] = true.into();
    chain.refused("no bearer tokens");
}

#[test]
fn times_and_places_are_honoured() {
    let mut chain = Chain::new();
    chain.user_extra = json!({ "exp": 2060 });
    assert_eq!(chain.admit().unwrap().left.unwrap().as_secs(), 60);
    chain.user_extra = json!({ "exp": 1999 });
    chain.refused("not valid at this time");
    chain.user_extra = json!({ "nbf": 2001 });
    chain.refused("not valid at this time");
    chain.user_extra = json!({});
    chain.account_extra = json!({ "exp": 2000 });
    chain.refused("account's JWT is not valid");
    chain.account_extra = json!({});
    chain.user_nats["src"] = json!(["10.0.0.0/8"]);
    chain.refused("this address");
    chain.user_nats["src"] = json!("10.0.0.0/8, 127.0.0.0/8");
    chain.user_nats["times"] = json!([{ "start": "00:00:00", "end": "01:00:00" }]);
    chain.user_nats["times_location"] = "UTC".into();
    assert_eq!(chain.admit().unwrap().left.unwrap().as_secs(), 1600);
    chain.user_nats["times"] = json!([{ "start": "01:00:00", "end": "02:00:00" }]);
    chain.refused("time of the day");
    chain.user_nats["times"] = Value::Null;
    chain.user_nats["allowed_connection_types"] = json!(["WEBSOCKET"]);
    chain.refused("this way");
    chain.user_nats["allowed_connection_types"] = json!(["websocket", "standard"]);
    chain.admit().unwrap();
}

#[test]
fn revocations_are_by_user_or_for_all() {
    let mut chain = Chain::new();
    let user = chain.user.public_key();
    for (key, until, revoked) in [
        (user.as_str(), 1000, true),
        (&user, 999, false),
        ("*", 1000, true),
        ("*", 999, false),
    ] {
        chain.account_nats["revocations"] = json!({ key: until });
        assert_eq!(chain.admit().is_err(), revoked, "{key} {until}");
    }
}

#[test]
fn signing_keys_sign_and_scopes_say_what_users_are() {
    let mut chain = Chain::new();
    let (plain, scoped) = (KeyPair::new_account(), KeyPair::new_account());
    chain.account_nats["tags"] = json!(["zone:east"]);
    chain.account_nats["signing_keys"] = json!([
        plain.public_key(),
        { "kind": "user_scope", "key": scoped.public_key(), "role": "r", "template": {
            "pub": { "allow": ["{{name()}}.>", "t.{{tag(team)}}.{{account-tag(zone)}}", "none.{{tag(no)}}"], "deny": ["u.{{subject()}}"] },
            "sub": { "allow": ["x.{{tag(no)}}"] },
            "resp": { "max": -1, "ttl": 5_000_000_000_u64 },
            "subs": 7, "data": -1, "payload": 100 } },
    ]);
    // The signing key must say for whom it signs.
    assert!(
        chain
            .admit_as(&chain.trust(), &plain)
            .unwrap_err()
            .contains("no account")
    );
    chain.user_nats["issuer_account"] = chain.account.public_key().into();
    chain.admit_as(&chain.trust(), &plain).unwrap();
    assert!(
        chain
            .admit_as(&chain.trust(), &KeyPair::new_account())
            .unwrap_err()
            .contains("does not sign")
    );
    assert!(
        chain
            .admit_as(&chain.trust(), &scoped)
            .unwrap_err()
            .contains("of its own")
    );
    chain.user_nats = json!({ "type": "user", "issuer_account": chain.account.public_key(), "tags": ["team:a", "team:b"] });
    let admitted = chain.admit_as(&chain.trust(), &scoped).unwrap();
    assert_eq!(
        (admitted.max_subscriptions, admitted.max_payload),
        (Some(7), Some(100))
    );
    let granted = admitted.permissions.unwrap();
    let publish = granted.publish.unwrap();
    assert_eq!(publish.allow.unwrap(), ["n.>", "t.a.east", "t.b.east"]);
    assert_eq!(publish.deny, [format!("u.{}", chain.user.public_key())]);
    assert_eq!(granted.subscribe.unwrap().deny, [">"]);
    let answers = granted.allow_responses.unwrap();
    assert_eq!((answers.max, answers.expires.as_secs()), (0, 5));
}

#[test]
fn strict_operators_want_signing_keys() {
    let mut chain = Chain::new();
    let key = KeyPair::new_operator();
    chain.operator_nats["signing_keys"] = json!([key.public_key()]);
    chain.operator_nats["strict_signing_key_usage"] = true.into();
    assert!(chain.admit().is_err());
    let trust = Trust::compile(&chain.operator_config(&key), None).unwrap();
    assert!(
        chain
            .admit_as(&trust, &chain.account)
            .unwrap_err()
            .contains("does not sign")
    );
    let signer = KeyPair::new_account();
    chain.account_nats["signing_keys"] = json!([signer.public_key()]);
    chain.user_nats["issuer_account"] = chain.account.public_key().into();
    let trust = Trust::compile(&chain.operator_config(&key), None).unwrap();
    chain.admit_as(&trust, &signer).unwrap();
}

#[test]
fn the_first_version_is_understood() {
    let chain = Chain::new();
    let header = json!({ "typ": "jwt", "alg": "ed25519" });
    let account = sign(
        &chain.operator,
        header.clone(),
        json!({
        "iss": chain.operator.public_key(), "sub": chain.account.public_key(), "iat": 1, "type": "account",
        "nats": { "limits": unlimited(), "exports": [{ "subject": "s.>", "type": "stream" }] } }),
        true,
    );
    let mut config = chain.operator_config(&chain.operator);
    config.preload = [(chain.account.public_key(), account)].into();
    let trust = Trust::compile(&config, None).unwrap();
    let user = sign(
        &chain.account,
        header,
        json!({
        "iss": chain.account.public_key(), "sub": chain.user.public_key(), "iat": 1, "type": "user",
        "nats": { "bearer_token": true, "pub": { "allow": ["a"] } } }),
        true,
    );
    let admitted = trust.admit(&presented(&user, None)).unwrap();
    assert_eq!(
        admitted
            .permissions
            .unwrap()
            .publish
            .unwrap()
            .allow
            .unwrap(),
        ["a"]
    );
    // Not written is not "none at all".
    assert_eq!(admitted.max_subscriptions, None);
    assert_eq!(admitted.max_payload, None);
    assert_eq!(admitted.account.describe().exports[0].subject, "s.>");
}

#[test]
fn operators_limits_bind_accounts() {
    let mut chain = Chain::new();
    chain.account_nats["exports"] = json!([{ "subject": "a.*", "type": "stream" }]);
    chain.admit().unwrap();
    chain.account_nats["limits"]["exports"] = 1.into();
    chain.account_nats["limits"]["wildcards"] = false.into();
    chain.refused("wildcards");
    chain.account_nats["limits"]["exports"] = 0.into();
    chain.refused("more exports");
}

#[test]
fn an_account_is_described_as_the_configuration_would() {
    let mut chain = Chain::new();
    chain.account_nats = json!({ "type": "account",
        "limits": { "conn": 3, "subs": -1, "payload": 10, "imports": -1, "exports": -1 },
        "exports": [{ "subject": "svc", "type": "service", "response_type": "Chunked", "response_threshold": 1_000_000_000,
            "service_latency": { "sampling": "headers", "results": "lat" }, "token_req": true }],
        "imports": [
            { "subject": "local", "to": "remote", "account": "A", "type": "service", "share": true },
            { "subject": "s", "to": "pre", "account": "A", "type": "stream" },
            { "subject": "r.*", "local_subject": "l.$1", "account": "A", "type": "service" },
            { "subject": "x", "account": "A", "type": "nonsense" } ],
        "mappings": { "m": [{ "subject": "n" }] },
        "default_permissions": { "pub": { "deny": ["d"] } },
        "trace": { "dest": "traces", "sampling": 0 } });
    let account = chain.admit().unwrap().account.describe();
    assert_eq!(
        (
            account.limits.max_connections,
            account.limits.max_subscriptions,
            account.limits.max_payload
        ),
        (Some(3), None, Some(10))
    );
    let [export] = &account.exports[..] else {
        panic!()
    };
    assert_eq!(
        (export.kind, export.response, export.token_required),
        (Crossing::Service, ResponseType::Chunked, true)
    );
    let names: Vec<_> = account
        .imports
        .iter()
        .map(|i| (i.subject.as_str(), i.to.as_deref(), i.prefix.as_deref()))
        .collect();
    assert_eq!(
        names,
        [
            ("remote", Some("local"), None),
            ("s", None, Some("pre")),
            ("r.*", Some("l.$1"), None)
        ]
    );
    assert_eq!(account.mappings[0].destinations[0].weight, 100);
    assert_eq!(
        account.default_permissions.unwrap().publish.unwrap().deny,
        ["d"]
    );
    assert_eq!(account.trace.unwrap().sampling, 100);
}

#[test]
fn activations_are_the_exporters_consent() {
    let mut chain = Chain::new();
    let signer = KeyPair::new_account();
    let importer = KeyPair::new_account().public_key();
    chain.account_nats["signing_keys"] = json!([signer.public_key()]);
    chain.account_nats["exports"] = json!([{ "subject": "a.>", "type": "stream", "token_req": true,
        "revocations": { "AGONE": 1000 } }]);
    let exporter = chain.trust().account(&chain.account.public_key()).unwrap();
    let export: Export = exporter.describe().exports.remove(0);
    let import = Import {
        kind: Crossing::Stream,
        account: exporter.key().to_owned(),
        subject: "a.b".to_owned(),
        to: None,
        prefix: None,
        share: false,
        allow_trace: false,
        token: None,
    };
    let grants = |by: &KeyPair, to: &str, extra: Value, nats: Value| {
        activation_grants(
            &mint(by, to, extra, nats),
            &exporter,
            false,
            &export,
            &importer,
            &import,
            2000,
        )
    };
    let good = json!({ "type": "activation", "subject": "a.*", "kind": "stream" });
    assert!(grants(&chain.account, &importer, json!({}), good.clone()));
    let mut by_signer = good.clone();
    assert!(!grants(&signer, &importer, json!({}), by_signer.clone()));
    by_signer["issuer_account"] = chain.account.public_key().into();
    assert!(grants(&signer, &importer, json!({}), by_signer));
    assert!(!grants(
        &KeyPair::new_account(),
        &importer,
        json!({}),
        good.clone()
    ));
    assert!(!grants(
        &chain.account,
        &KeyPair::new_account().public_key(),
        json!({}),
        good.clone()
    ));
    assert!(!grants(
        &chain.account,
        &importer,
        json!({ "exp": 1999 }),
        good.clone()
    ));
    for (key, value) in [("kind", "service"), ("subject", "b.*"), ("type", "user")] {
        let mut bad = good.clone();
        bad[key] = value.into();
        assert!(!grants(&chain.account, &importer, json!({}), bad), "{key}");
    }
    chain.account_nats["exports"][0]["revocations"] = json!({ importer.as_str(): 1000 });
    let exporter = chain.trust().account(&chain.account.public_key()).unwrap();
    let token = mint(&chain.account, &importer, json!({}), good);
    assert!(!activation_grants(
        &token, &exporter, false, &export, &importer, &import, 2000
    ));
}

#[test]
fn the_operators_section_is_checked_at_the_start() {
    let chain = Chain::new();
    let config = chain.operator_config(&chain.operator);
    let says = |config: &Operator, system: Option<&str>| {
        Trust::compile(config, system).unwrap_err().to_string()
    };
    assert!(
        says(
            &Operator {
                jwts: vec!["x.y".to_owned()],
                ..config.clone()
            },
            None
        )
        .contains("operator's JWT")
    );
    assert!(
        says(
            &Operator {
                trusted_keys: vec!["x".to_owned()],
                ..config.clone()
            },
            None
        )
        .contains("exclude each other")
    );
    assert!(
        says(
            &Operator {
                jwts: vec![],
                trusted_keys: vec![chain.account.public_key()],
                ..config.clone()
            },
            None
        )
        .contains("trusted key")
    );
    let other = KeyPair::new_account().public_key();
    let jwt = config.preload.values().next().unwrap().clone();
    assert!(
        says(
            &Operator {
                preload: [(other, jwt)].into(),
                ..config.clone()
            },
            None
        )
        .contains("belongs to")
    );
    let mut named = chain;
    named.operator_nats["system_account"] = "AX".into();
    let config = named.operator_config(&named.operator);
    assert!(says(&config, Some("AY")).contains("system_account"));
    assert_eq!(
        Trust::compile(&config, None)
            .unwrap()
            .system_account
            .unwrap(),
        "AX"
    );
}

#[test]
fn decorated_files_and_folders_are_read() {
    let chain = Chain::new();
    let mut config = chain.operator_config(&chain.operator);
    let folder = tempfile::tempdir().unwrap();
    let (key, jwt) = config.preload.pop_first().unwrap();
    let text =
        format!("-----BEGIN NATS ACCOUNT JWT-----\n{jwt}\n------END NATS ACCOUNT JWT------\n");
    std::fs::write(folder.path().join(format!("{key}.jwt")), text).unwrap();
    config.resolver = crate::config::accounts::Resolver::Directory(folder.path().to_owned());
    let trust = Trust::compile(&config, None).unwrap();
    assert!(trust.account(&key).is_some() && trust.account("../etc/passwd").is_none());
    chain.admit_as(&trust, &chain.account).unwrap();
}

proptest::proptest! {
    #[test]
    fn no_text_makes_a_panic(text in ".{0,60}", header in "[A-Za-z0-9_-]{0,40}") {
        let trust = Chain::new().trust();
        let _ = trust.admit(&presented(&text, None));
        let _ = trust.admit(&presented(&format!("{header}.{header}.{header}"), Some(&text)));
    }
}
