//! TLS on the door for clients.

use async_nats::ConnectOptions;
use cupola_bus::{Config, Listeners, build};
use futures_util::StreamExt as _;
use rcgen::{DnType, SanType};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::certificates::Authority;
use super::spoken::{Spoken, begin_tls};
use super::support::{PATIENCE, QUIET, TestBroker, broker, eventually};

async fn socket(broker: &TestBroker) -> Spoken<TcpStream> {
    Spoken::new(TcpStream::connect(broker.address).await.unwrap())
}

#[tokio::test]
async fn info_comes_in_clear_and_all_else_over_tls() {
    let authority = Authority::new();
    let broker = broker(json!({ "tls": authority.section() })).await;
    let mut clear = socket(&broker).await;
    let info = clear.info().await;
    assert_eq!(info["tls_required"], true);
    assert!(info["tls_verify"].is_null() && info["tls_available"].is_null());
    // What follows the handshake may come in the same packet as its end.
    let mut client = begin_tls(clear.into_inner(), authority.client(None))
        .await
        .unwrap();
    client
        .say(format!("{QUIET}SUB a 1\r\nPUB a 2\r\nhi\r\n"))
        .await;
    assert_eq!(client.hear().await, "MSG a 1 2");
    assert_eq!(client.hear().await, "hi");
    client.sync().await;
    broker.shutdown.cancel();
    // With a close_notify: anything less is an error to the client.
    client.ends().await;
}

#[tokio::test]
async fn who_does_not_begin_tls_hears_that_it_is_required() {
    let authority = Authority::new();
    let section = authority.section_with(json!({ "timeout": "300ms" }));
    let broker = broker(json!({ "tls": section })).await;
    let mut client = socket(&broker).await;
    client.info().await;
    client.say(QUIET).await;
    assert_eq!(
        client.hear().await,
        "-ERR 'Secure Connection - TLS Required'"
    );
    client.ends().await;
    // Silence is no better, nor is half a handshake; meanwhile others are served.
    let (mut silent, mut half) = (socket(&broker).await, socket(&broker).await);
    silent.info().await;
    half.info().await;
    half.say([22, 3, 1, 2]).await;
    let mut other = socket(&broker).await;
    other.info().await;
    let mut other = begin_tls(other.into_inner(), authority.client(None))
        .await
        .unwrap();
    other.sync().await;
    assert_eq!(
        silent.hear().await,
        "-ERR 'Secure Connection - TLS Required'"
    );
    silent.ends().await;
    // An alert of TLS, as that has begun.
    assert!(half.hear().await.starts_with('\u{15}'));
    eventually("only one is left", || {
        broker.handle.stats().connections == 1
    })
    .await;
    other.sync().await;
}

#[tokio::test]
async fn both_may_come_where_both_are_allowed() {
    let authority = Authority::new();
    let config = json!({ "tls": authority.section(), "allow_non_tls": true });
    let broker = broker(config).await;
    let mut clear = socket(&broker).await;
    let info = clear.info().await;
    assert!(info["tls_available"] == true && info["tls_required"].is_null());
    clear.say(format!("{QUIET}SUB a 1\r\n")).await;
    clear.sync().await;
    let mut secure = socket(&broker).await;
    secure.info().await;
    let mut secure = begin_tls(secure.into_inner(), authority.client(None))
        .await
        .unwrap();
    secure.say(format!("{QUIET}PUB a 2\r\nhi\r\n")).await;
    assert_eq!(clear.hear().await, "MSG a 1 2");
}

#[tokio::test]
async fn the_handshake_may_come_first() {
    let authority = Authority::new();
    for (way, info_first, tls_first) in [
        (json!(true), false, true),
        (json!("auto"), true, true),
        (json!("20s"), false, true),
        (json!(false), true, false),
    ] {
        let section = authority.section_with(json!({ "handshake_first": way }));
        let broker = broker(json!({ "tls": section })).await;
        if tls_first {
            let options = ConnectOptions::new().add_root_certificates(authority.file("ca.pem"));
            let client = options
                .tls_first()
                .connect(format!("tls://localhost:{}", broker.address.port()));
            client.await.unwrap().flush().await.unwrap();
            let socket = TcpStream::connect(broker.address).await.unwrap();
            let mut client = begin_tls(socket, authority.client(None)).await.unwrap();
            assert_eq!(client.info().await["tls_required"], true);
            client.sync().await;
        }
        if info_first {
            let mut client = socket(&broker).await;
            client.info().await;
            let client = begin_tls(client.into_inner(), authority.client(None)).await;
            client.unwrap().sync().await;
        }
    }
}

#[tokio::test]
async fn certificates_of_clients_are_checked() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for authority in [&authority, &stranger] {
        authority.issue("joe", |params| {
            params.subject_alt_names = vec![SanType::DnsName("joe.example".try_into().unwrap())];
        });
    }
    let section = authority.section_with(json!({ "verify": true }));
    let broker = broker(json!({ "tls": section })).await;
    let come = async |client| {
        let mut clear = socket(&broker).await;
        assert_eq!(clear.info().await["tls_verify"], true);
        match begin_tls(clear.into_inner(), client).await {
            // With TLS 1.3 a client learns of a refusal after its handshake.
            Ok(mut client) => {
                client.say("PING\r\n").await;
                client.hear().await == "PONG"
            }
            Err(_) => false,
        }
    };
    assert!(come(authority.client(Some("joe"))).await);
    assert!(!come(authority.client(None)).await);
    let mut liar = stranger.client(Some("joe"));
    std::fs::copy(authority.file("ca.pem"), stranger.file("ca.pem")).unwrap();
    liar = {
        drop(liar);
        stranger.client(Some("joe"))
    };
    assert!(!come(liar).await);
}

#[tokio::test]
async fn a_certificate_says_who_the_user_is() {
    let authority = Authority::new();
    authority.issue("mail", |params| {
        params.subject_alt_names = vec![SanType::Rfc822Name("joe@example".try_into().unwrap())];
    });
    authority.issue("subject", |params| {
        let name = &mut params.distinguished_name;
        *name = rcgen::DistinguishedName::new();
        name.push(DnType::OrganizationName, "Acme");
        name.push(DnType::CommonName, "sue");
    });
    authority.issue("nobody", |params| {
        params.subject_alt_names = vec![SanType::DnsName("nobody".try_into().unwrap())];
    });
    let section = authority.section_with(json!({ "verify_and_map": true }));
    let broker = broker(json!({
        "tls": section,
        "authorization": { "users": [
            { "user": "joe@example", "permissions": { "publish": { "allow": ["joe"] } } },
            { "user": "CN=sue,O=Acme", "permissions": { "publish": { "allow": ["sue"] } } },
        ] },
    }))
    .await;
    for (certificate, verdict) in [
        ("mail", "PONG"),
        (
            "subject",
            "-ERR 'Permissions Violation for Publish to \"joe\"'",
        ),
        ("nobody", "-ERR 'Authorization Violation'"),
    ] {
        let mut client = socket(&broker).await;
        client.info().await;
        let tls = authority.client(Some(certificate));
        let mut client = begin_tls(client.into_inner(), tls).await.unwrap();
        client
            .say(format!("{QUIET}PUB joe 0\r\n\r\nPING\r\n"))
            .await;
        assert_eq!(client.hear().await, verdict, "{certificate}");
    }
}

#[tokio::test]
async fn who_is_known_by_a_certificate_is_looked_at_again_by_a_reload() {
    let authority = Authority::new();
    let everybody = ["joe", "sue", "bob", "ann"];
    for name in everybody {
        authority.issue(name, |params| {
            let mail = format!("{name}@example");
            params.subject_alt_names = vec![SanType::Rfc822Name(mail.try_into().unwrap())];
        });
    }
    let section = authority.section_with(json!({ "verify_and_map": true }));
    let config = |users: Value| json!({ "tls": section, "authorization": { "users": users } });
    let broker = broker(config(json!([
        { "user": "joe@example", "permissions": { "publish": { "allow": ["joe"] } } },
        { "user": "sue@example" }, { "user": "bob@example" }, { "user": "ann@example" },
    ])))
    .await;
    let come = async |name: &str| {
        let mut client = socket(&broker).await;
        client.info().await;
        let tls = authority.client(Some(name));
        let mut client = begin_tls(client.into_inner(), tls).await.unwrap();
        client.say(format!("{QUIET}SUB a 1\r\n")).await;
        client.sync().await;
        client
    };
    let mut joe = come("joe").await;
    let mut sue = come("sue").await;
    let mut bob = come("bob").await;
    let mut ann = come("ann").await;
    // One may do other things, one is gone, one stays, and one needs a password now.
    broker.reload(config(json!([
        { "user": "joe@example", "permissions": {
            "publish": { "allow": ["other"] }, "subscribe": { "allow": ["x"] } } },
        { "user": "bob@example" }, { "user": "ann@example", "password": "pw" },
    ])));
    // As nats-server 2.9.10 and 2.15.1 have it.
    let lost = "-ERR 'Permissions Violation for Subscription to \"a\" (sid \"1\")'";
    assert_eq!(joe.hear().await, lost);
    joe.say("PUB joe 0\r\n\r\nPUB other 0\r\n\r\n").await;
    let denied = "-ERR 'Permissions Violation for Publish to \"joe\"'";
    assert_eq!(joe.hear().await, denied);
    joe.sync().await;
    sue.ends().await;
    bob.say("PUB a 2\r\nhi\r\n").await;
    assert_eq!(bob.hear().await, "MSG a 1 2");
    assert_eq!(bob.hear().await, "hi");
    assert_eq!(ann.hear().await, "-ERR 'Authorization Violation'");
    ann.ends().await;
    // Nobody by these certificates comes in as before.
    let mut again = socket(&broker).await;
    again.info().await;
    let tls = authority.client(Some("sue"));
    let mut again = begin_tls(again.into_inner(), tls).await.unwrap();
    again.say(QUIET).await;
    assert_eq!(again.hear().await, "-ERR 'Authorization Violation'");
}

#[tokio::test]
async fn handshakes_per_second_are_limited() {
    let authority = Authority::new();
    let section = authority.section_with(json!({ "connection_rate_limit": 1 }));
    let broker = broker(json!({ "tls": section })).await;
    let mut refused = 0;
    // Of three within a second, two are too many; a busy machine may need a second for one of them.
    for _ in 0..8 {
        let mut client = socket(&broker).await;
        client.info().await;
        match begin_tls(client.into_inner(), authority.client(None)).await {
            Ok(mut client) => client.sync().await,
            Err(_) => refused += 1,
        }
    }
    assert!(refused >= 1);
}

#[tokio::test]
async fn large_messages_and_slow_readers() {
    let authority = Authority::new();
    let broker = broker(json!({ "tls": authority.section(), "workers": 3 })).await;
    let mut slow = socket(&broker).await;
    slow.info().await;
    let mut slow = begin_tls(slow.into_inner(), authority.client(None))
        .await
        .unwrap();
    slow.say(format!("{QUIET}SUB large 1\r\n")).await;
    slow.sync().await;
    // Several publishers, on several workers, to one reader that does not read yet.
    const EACH: usize = 8;
    let options = || ConnectOptions::new().add_root_certificates(authority.file("ca.pem"));
    let url = format!("tls://localhost:{}", broker.address.port());
    let mut publishers = tokio::task::JoinSet::new();
    for publisher in 0..4u8 {
        let client = options().connect(&url).await.unwrap();
        publishers.spawn(async move {
            for number in 0..EACH {
                let mut payload = vec![publisher; 1 << 20];
                payload[0] = u8::try_from(number).unwrap();
                client.publish("large", payload.into()).await.unwrap();
            }
            client.flush().await.unwrap();
        });
    }
    // They all get through to the broker, which holds what the reader does not take.
    tokio::time::timeout(PATIENCE, async {
        while publishers.join_next().await.is_some() {}
    })
    .await
    .unwrap();
    let mut next = [0; 4];
    for _ in 0..4 * EACH {
        assert_eq!(slow.hear().await, "MSG large 1 1048576");
        let payload = slow.bytes((1 << 20) + 2).await;
        let publisher = usize::from(payload[1]);
        assert!(payload[1..1 << 20].iter().all(|byte| *byte == payload[1]));
        assert_eq!(
            payload[0], next[publisher],
            "each publisher's in their order"
        );
        next[publisher] += 1;
    }
    slow.sync().await;
}

#[tokio::test]
async fn who_never_reads_is_cut_off_over_tls_as_well() {
    let authority = Authority::new();
    let config = json!({
        "tls": authority.section(),
        "limits": { "max_pending": "4MB", "max_payload": "1MB" },
    });
    let broker = broker(config).await;
    let mut stuck = socket(&broker).await;
    stuck.info().await;
    let mut stuck = begin_tls(stuck.into_inner(), authority.client(None))
        .await
        .unwrap();
    stuck.say(format!("{QUIET}SUB a 1\r\n")).await;
    stuck.sync().await;
    let options = ConnectOptions::new().add_root_certificates(authority.file("ca.pem"));
    let url = format!("tls://localhost:{}", broker.address.port());
    let client = options.connect(url).await.unwrap();
    for _ in 0..40 {
        client.publish("a", vec![0; 1 << 20].into()).await.unwrap();
    }
    client.flush().await.unwrap();
    eventually("it is cut off", || {
        broker.handle.stats().slow_consumers == 1
    })
    .await;
}

#[tokio::test]
async fn many_small_messages_both_ways_between_clients_in_clear_and_over_tls() {
    const COUNT: usize = 5000;
    let authority = Authority::new();
    let config = json!({ "tls": authority.section(), "allow_non_tls": true });
    let broker = broker(config).await;
    let options = ConnectOptions::new().add_root_certificates(authority.file("ca.pem"));
    let url = format!("tls://localhost:{}", broker.address.port());
    let secure = options.connect(url).await.unwrap();
    let clear = async_nats::connect(broker.url()).await.unwrap();
    let mut to_secure = secure.subscribe("to.secure").await.unwrap();
    let mut to_clear = clear.subscribe("to.clear").await.unwrap();
    // A flush of this client says that bytes have left, not that they have been read.
    eventually("both are subscribed", || {
        broker.handle.stats().subscriptions.len == 2
    })
    .await;
    let send = async |client: &async_nats::Client, subject: &'static str| {
        for number in 0..COUNT {
            client
                .publish(subject, number.to_string().into())
                .await
                .unwrap();
        }
        client.flush().await.unwrap();
    };
    let hear = async |inbox: &mut async_nats::Subscriber| {
        for number in 0..COUNT {
            assert_eq!(inbox.next().await.unwrap().payload, number.to_string());
        }
    };
    let all = async {
        tokio::join!(
            send(&secure, "to.clear"),
            send(&clear, "to.secure"),
            hear(&mut to_secure),
            hear(&mut to_clear),
        )
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
}

#[tokio::test]
async fn certificates_that_make_no_sense_are_an_error_at_the_start() {
    let authority = Authority::new();
    let section = authority.section_with(json!({ "key_file": "/nowhere/server.key" }));
    let mut config: Config = serde_json::from_value(json!({ "tls": section })).unwrap();
    config.listen = "127.0.0.1:0".parse().unwrap();
    let error = build(config, Listeners::default()).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/server.key"), "{error}");
}

#[tokio::test]
async fn new_certificates_are_shown_after_a_reload() {
    let (old, new) = (Authority::new(), Authority::new());
    let with = |authority: &Authority, address: std::net::SocketAddr| {
        let mut config: Config =
            serde_json::from_value(json!({ "tls": authority.section() })).unwrap();
        config.listen = address;
        config
    };
    let broker = broker(json!({ "tls": old.section() })).await;
    let mut before = socket(&broker).await;
    before.info().await;
    let mut before = begin_tls(before.into_inner(), old.client(None))
        .await
        .unwrap();
    before.sync().await;
    let zero = "127.0.0.1:0".parse().unwrap();
    broker.handle.reload(&with(&new, zero)).unwrap();
    let mut after = socket(&broker).await;
    after.info().await;
    assert!(
        begin_tls(after.into_inner(), old.client(None))
            .await
            .is_err()
    );
    let mut after = socket(&broker).await;
    after.info().await;
    let mut after = begin_tls(after.into_inner(), new.client(None))
        .await
        .unwrap();
    after.sync().await;
    // Those who are there stay.
    before.sync().await;
}

#[tokio::test]
async fn garbage_instead_of_a_handshake_is_answered_with_an_alert() {
    let authority = Authority::new();
    let section = authority.section_with(json!({ "handshake_first": true }));
    let broker = broker(json!({ "tls": section })).await;
    let mut socket = TcpStream::connect(broker.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut socket, b"CONNECT {}\r\nPING\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    // An alert (21) of TLS, and no text.
    assert_eq!(answer.first(), Some(&21));
}
