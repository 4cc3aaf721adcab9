#![allow(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};

use super::*;

fn plan(accounts: Value) -> Result<Plan, String> {
    let accounts: Vec<Account> = serde_json::from_value(accounts).unwrap();
    let parties: Vec<Party> = accounts
        .into_iter()
        .map(|account| Party {
            account,
            token: None,
            strict: false,
        })
        .collect();
    Plan::make(&parties, None, 0, &mut |error| panic!("{error}")).map_err(|error| {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", source.unwrap_or_default())
    })
}

fn refused(accounts: Value, says: &str) {
    let error = plan(accounts).unwrap_err();
    assert!(error.contains(says), "{error}");
}

#[test]
fn imports_find_their_exports() {
    let plan = plan(json!([
        { "name": "A", "exports": [
            { "kind": "stream", "subject": "s.>", "accounts": ["B"] },
            { "kind": "service", "subject": "q.*", "response": "stream", "response_threshold": "5s" },
            { "kind": "service", "subject": "id.*.x", "account_token_position": 2 } ] },
        { "name": "B", "imports": [
            { "kind": "stream", "account": "A", "subject": "s.a", "prefix": "in" },
            { "kind": "service", "account": "A", "subject": "q.*", "to": "ask.$1", "share": true },
            { "kind": "service", "account": "A", "subject": "id.B.x" } ] },
    ]))
    .unwrap();
    let [stream] = &plan.accounts[1].streams[..] else {
        panic!()
    };
    assert_eq!(
        (&*stream.pairing.remote, &*stream.pairing.local),
        (&b"s.a"[..], &b"in.s.a"[..])
    );
    let [query, id] = &plan.accounts[1].services[..] else {
        panic!()
    };
    assert_eq!(&*query.pairing.local, b"ask.*");
    assert_eq!(
        (query.export.response, query.export.threshold.as_secs()),
        (ResponseType::Stream, 5)
    );
    assert!(query.share && !id.share);
}

#[test]
fn what_is_not_exported_cannot_be_imported() {
    for (export, import) in [
        (
            json!({ "kind": "stream", "subject": "s" }),
            json!({ "kind": "service", "account": "A", "subject": "s" }),
        ),
        (
            json!({ "kind": "stream", "subject": "s.*" }),
            json!({ "kind": "stream", "account": "A", "subject": "s.>" }),
        ),
        (
            json!({ "kind": "stream", "subject": "s", "accounts": ["C"] }),
            json!({ "kind": "stream", "account": "A", "subject": "s" }),
        ),
        (
            json!({ "kind": "stream", "subject": "s", "token_required": true }),
            json!({ "kind": "stream", "account": "A", "subject": "s" }),
        ),
        (
            json!({ "kind": "service", "subject": "s.*", "account_token_position": 2 }),
            json!({ "kind": "service", "account": "A", "subject": "s.C" }),
        ),
    ] {
        refused(
            json!([{ "name": "A", "exports": [export] }, { "name": "B", "imports": [import] }, { "name": "C" }]),
            "not allowed",
        );
    }
}

#[test]
fn a_more_exact_export_comes_first() {
    let plan = plan(json!([
        { "name": "A", "exports": [
            { "kind": "service", "subject": "q.*" },
            { "kind": "service", "subject": "q.a", "response": "chunked" } ] },
        { "name": "B", "imports": [{ "kind": "service", "account": "A", "subject": "q.a" }] },
    ]))
    .unwrap();
    assert_eq!(
        plan.accounts[1].services[0].export.response,
        ResponseType::Chunked
    );
}

#[test]
fn circles_of_services_are_found() {
    let step = |from: &str, subject: &str| json!({ "kind": "service", "account": from, "subject": subject });
    let export = json!([{ "kind": "service", "subject": ">" }]);
    let circle = |last: &str| {
        json!([
            { "name": "A", "exports": export, "imports": [step("B", "q.a")] },
            { "name": "B", "exports": export, "imports": [step("C", "q.*")] },
            { "name": "C", "exports": export, "imports": [step("A", last)] },
        ])
    };
    refused(circle("q.a"), "lead back");
    refused(circle("q.>"), "lead back");
    plan(circle("other")).unwrap();
    // One's own service may be imported, but not in a way that goes round.
    plan(json!([{ "name": "A", "exports": export, "imports": [step("A", "q")] }])).unwrap();
    refused(
        json!([
            { "name": "A", "exports": export, "imports": [step("A", "q"), step("B", "q")] },
            { "name": "B", "exports": export, "imports": [step("A", "q")] },
        ]),
        "lead back",
    );
}

#[test]
fn an_export_may_be_said_twice_and_a_prefix_may_be_empty() {
    let plan = plan(json!([
        { "name": "A", "exports": [
            { "kind": "stream", "subject": "s.>", "accounts": ["A"] },
            { "kind": "stream", "subject": "s.>", "accounts": ["B"] } ],
          "imports": [{ "kind": "stream", "account": "A", "subject": "s.>", "prefix": "own" }] },
        { "name": "B", "imports": [{ "kind": "stream", "account": "A", "subject": "s.>", "prefix": "" }] },
    ]))
    .unwrap();
    let local = |account: usize| &*plan.accounts[account].streams[0].pairing.local;
    assert_eq!((local(0), local(1)), (&b"own.s.>"[..], &b"s.>"[..]));
}

#[test]
fn nonsense_is_refused_at_the_start() {
    refused(json!([{ "name": "A" }, { "name": "A" }]), "twice");
    refused(json!([{ "name": "" }]), "no name");
    for (export, says) in [
        (
            json!({ "kind": "stream", "subject": "a..b" }),
            "not a subject",
        ),
        (
            json!({ "kind": "stream", "subject": "a", "accounts": ["X"] }),
            "not defined",
        ),
        (
            json!({ "kind": "stream", "subject": "a", "response_threshold": "1s" }),
            "settings of a service",
        ),
        (
            json!({ "kind": "service", "subject": "a.*", "account_token_position": 1 }),
            "account_token_position",
        ),
        (
            json!({ "kind": "service", "subject": "a", "latency": { "sampling": "headers", "subject": "a" } }),
            "latency subject",
        ),
        (
            json!({ "kind": "service", "subject": "a", "latency": { "sampling": { "percent": 0 }, "subject": "b" } }),
            "sampling",
        ),
        (
            json!({ "kind": "service", "subject": "a", "response": "stream", "latency": { "sampling": "headers", "subject": "b" } }),
            "single response",
        ),
    ] {
        refused(json!([{ "name": "A", "exports": [export] }]), says);
    }
    let export =
        json!([{ "kind": "stream", "subject": "s.*" }, { "kind": "service", "subject": "q.*" }]);
    for (imports, says) in [
        (
            json!([{ "kind": "stream", "account": "X", "subject": "s.a" }]),
            "no such account",
        ),
        (
            json!([{ "kind": "stream", "account": "B", "subject": "s.a" }]),
            "not allowed",
        ),
        (
            json!([{ "kind": "stream", "account": "A", "subject": "s.*", "to": "x" }]),
            "every wildcard",
        ),
        (
            json!([{ "kind": "stream", "account": "A", "subject": "s.a" }, { "kind": "stream", "account": "A", "subject": "s.a" }]),
            "twice",
        ),
        (
            json!([{ "kind": "service", "account": "A", "subject": "q.a", "to": "x" }, { "kind": "service", "account": "A", "subject": "q.b", "to": "x" }]),
            "twice",
        ),
    ] {
        refused(
            json!([{ "name": "A", "exports": export }, { "name": "B", "imports": imports }]),
            says,
        );
    }
    refused(
        json!([{ "name": "A", "mappings": [{ "subject": "a", "destinations": [{ "subject": "b.$1" }] }] }]),
        "not there",
    );
}
