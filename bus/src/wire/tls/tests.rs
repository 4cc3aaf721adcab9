#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};

use super::*;
use crate::config::{CertificatePair, Tls, TlsVersion};

/// Files of a small certificate authority.
struct Authority {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Authority { folder, issuer }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `name.pem` and `name.key`.
    fn issue(&self, name: &str, params: CertificateParams) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.file(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn named(&self, name: &str) {
        self.issue(name, CertificateParams::new(vec![name.to_owned()]).unwrap());
    }

    fn section(&self, name: &str) -> Tls {
        Tls {
            cert_file: Some(self.file(&format!("{name}.pem"))),
            key_file: Some(self.file(&format!("{name}.key"))),
            ca_file: Some(self.file("ca.pem")),
            ..Tls::default()
        }
    }

    /// A section that trusts but shows nothing.
    fn anonymous(&self) -> Tls {
        Tls {
            ca_file: Some(self.file("ca.pem")),
            ..Tls::default()
        }
    }
}

/// Lets both talk until neither has anything to say.
fn shake(client: &mut TlsCodec, server: &mut TlsCodec) -> Result<(), CodecError> {
    let mut scrap = Vec::new();
    loop {
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        client.drain(&mut to_server);
        let heard = server.decode(&to_server, &mut scrap);
        server.drain(&mut to_client);
        let answered = client.decode(&to_client, &mut scrap);
        heard?;
        answered?;
        if to_server.is_empty() && to_client.is_empty() {
            return Ok(());
        }
    }
}

fn meet(server: &Tls, client: &Tls, host: &str) -> Result<(TlsCodec, TlsCodec), CodecError> {
    let acceptor = Acceptor::new(server, Listener::Clients).unwrap();
    let connector = Connector::new(client, None).unwrap();
    let (mut client, mut server) = (connector.connect(host)?, acceptor.accept()?);
    shake(&mut client, &mut server)?;
    assert!(client.is_ready() && server.is_ready());
    Ok((client, server))
}

#[test]
fn certificates_are_checked_on_both_sides() {
    let authority = Authority::new();
    authority.named("bus.example");
    authority.named("joe.example");
    let mut server = authority.section("bus.example");
    let (_, peer) = meet(&server, &authority.anonymous(), "bus.example").unwrap();
    assert!(peer.peer().is_none());
    let negotiated = peer.negotiated().unwrap();
    assert_eq!(negotiated.version, "1.3");
    assert!(
        negotiated.cipher_suite.starts_with("TLS_AES_"),
        "{negotiated:?}"
    );
    meet(&server, &authority.anonymous(), "other.example").unwrap_err();
    let stranger = Authority::new();
    meet(&server, &stranger.anonymous(), "bus.example").unwrap_err();
    let careless = Tls {
        insecure: true,
        ..Tls::default()
    };
    meet(&server, &careless, "127.0.0.1").unwrap();

    server.verify = true;
    meet(&server, &authority.anonymous(), "bus.example").unwrap_err();
    let (_, peer) = meet(&server, &authority.section("joe.example"), "bus.example").unwrap();
    let leaf = peer.peer().unwrap();
    assert_eq!(leaf.user(["joe.example"].into_iter()), Some("joe.example"));
    stranger.named("joe.example");
    let mut liar = stranger.section("joe.example");
    liar.ca_file = Some(authority.file("ca.pem"));
    meet(&server, &liar, "bus.example").unwrap_err();

    server.pinned_certs = vec![leaf.spki_sha256.to_uppercase()];
    meet(&server, &authority.section("joe.example"), "bus.example").unwrap();
    server.pinned_certs = vec!["0".repeat(64)];
    meet(&server, &authority.section("joe.example"), "bus.example").unwrap_err();
}

#[test]
fn a_self_signed_certificate_that_is_named_as_root_is_accepted() {
    let authority = Authority::new();
    let mut params = CertificateParams::new(vec!["bus.example".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let own = params.self_signed(&key).unwrap();
    std::fs::write(authority.file("own.pem"), own.pem()).unwrap();
    std::fs::write(authority.file("own.key"), key.serialize_pem()).unwrap();
    let mut section = authority.section("own");
    section.ca_file = section.cert_file.clone();
    section.verify = true;
    meet(&section, &section, "bus.example").unwrap();
    meet(&section, &section, "other.example").unwrap_err();
    // It is trusted because it is named, not because it signed itself.
    let mut other = section.clone();
    other.ca_file = Some(authority.file("ca.pem"));
    meet(&other, &section, "bus.example").unwrap_err();
}

#[test]
fn versions_and_certificates_by_name() {
    let authority = Authority::new();
    authority.named("one.example");
    authority.named("two.example");
    let pair = |name: &str| CertificatePair {
        cert_file: authority.file(&format!("{name}.pem")),
        key_file: authority.file(&format!("{name}.key")),
    };
    let server = Tls {
        certs: vec![pair("one.example"), pair("two.example")],
        ..Tls::default()
    };
    meet(&server, &authority.anonymous(), "one.example").unwrap();
    meet(&server, &authority.anonymous(), "two.example").unwrap();
    let mut old = authority.section("one.example");
    old.cipher_suites = vec!["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256".to_owned()];
    let modern = Tls {
        min_version: TlsVersion::V1_3,
        ..authority.anonymous()
    };
    meet(&old, &modern, "one.example").unwrap();
}

#[test]
fn mistakes_name_file_and_cause() {
    let authority = Authority::new();
    authority.named("a");
    authority.named("b");
    let wrong = |change: &dyn Fn(&mut Tls)| {
        let mut section = authority.section("a");
        change(&mut section);
        Acceptor::new(&section, Listener::Clients)
            .unwrap_err()
            .to_string()
    };
    let says = wrong(&|tls| tls.cert_file = None);
    assert!(says.contains("cert_file is missing"), "{says}");
    let says = wrong(&|tls| tls.key_file = Some("/nowhere/key.pem".into()));
    assert!(says.contains("cannot read /nowhere/key.pem"), "{says}");
    let says = wrong(&|tls| tls.key_file = Some(authority.file("b.key")));
    assert!(says.contains("b.key do not go together"), "{says}");
    let says = wrong(&|tls| tls.key_file = Some(authority.file("b.pem")));
    assert!(says.contains("b.pem holds no private key"), "{says}");
    let says = wrong(&|tls| tls.cert_file = Some(authority.file("a.key")));
    assert!(says.contains("a.key holds no certificate"), "{says}");
    let says = wrong(&|tls| {
        tls.verify = true;
        tls.pinned_certs = vec!["abc".to_owned()];
    });
    assert!(says.contains("\"abc\" is not a SHA-256"), "{says}");
    let says = wrong(&|tls| tls.pinned_certs = vec!["0".repeat(64)]);
    assert!(says.contains("needs verify"), "{says}");
}

#[test]
fn handshakes_per_second_are_counted() {
    let authority = Authority::new();
    authority.named("a");
    let mut section = authority.section("a");
    section.connection_rate_limit = 2;
    let acceptor = Acceptor::new(&section, Listener::Clients).unwrap();
    let now = Instant::now() + Duration::from_secs(5);
    assert!(acceptor.admits(now) && acceptor.admits(now) && !acceptor.admits(now));
    assert!(acceptor.admits(now + Duration::from_secs(1)));
}

#[test]
fn garbage_and_farewells() {
    let authority = Authority::new();
    authority.named("a");
    let acceptor = Acceptor::new(&authority.section("a"), Listener::Clients).unwrap();
    let mut server = acceptor.accept().unwrap();
    let mut plain = Vec::new();
    server
        .decode(b"CONNECT {}\r\nPING\r\nPING\r\n", &mut plain)
        .unwrap_err();
    let mut alert = Vec::new();
    server.drain(&mut alert);
    assert_eq!(alert.first(), Some(&21), "it says why");

    let (mut client, mut server) =
        meet(&authority.section("a"), &authority.anonymous(), "a").unwrap();
    let mut wire = Vec::new();
    client.encode(b"last words", &mut wire).unwrap();
    client.close(Farewell::Done(""), &mut wire);
    let ended = server.decode(&wire, &mut plain).unwrap();
    assert_eq!(
        (ended, &plain[..]),
        (Decoded::PeerClosed, &b"last words"[..])
    );
}

#[test]
fn a_large_message_passes_in_one_piece() {
    let authority = Authority::new();
    authority.named("a");
    let (mut client, mut server) =
        meet(&authority.section("a"), &authority.anonymous(), "a").unwrap();
    let message: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let (mut wire, mut plain) = (Vec::new(), Vec::new());
    server.encode(&message, &mut wire).unwrap();
    client.decode(&wire, &mut plain).unwrap();
    assert!(plain == message);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_stream_may_be_cut_anywhere(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 1..8),
        cuts in prop::collection::vec(1usize..900, 1..20),
    ) {
        let authority = Authority::new();
        authority.named("a");
        let acceptor = Acceptor::new(&authority.section("a"), Listener::Clients).unwrap();
        let connector = Connector::new(&authority.anonymous(), None).unwrap();
        let mut server = acceptor.accept().unwrap();
        let mut client = connector.connect("a").unwrap();
        let mut cuts = cuts.into_iter().cycle();
        let mut pieces = |wire: &[u8], to: &mut TlsCodec, plain: &mut Vec<u8>| {
            let mut rest = wire;
            while !rest.is_empty() {
                let (head, tail) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                to.decode(head, plain).unwrap();
                rest = tail;
            }
        };
        let (mut heard, mut scrap) = (Vec::new(), Vec::new());
        while !(client.is_ready() && server.is_ready()) {
            let mut wire = Vec::new();
            client.drain(&mut wire);
            pieces(&wire, &mut server, &mut heard);
            wire.clear();
            server.drain(&mut wire);
            pieces(&wire, &mut client, &mut scrap);
        }
        for message in &messages {
            let mut wire = Vec::new();
            client.encode(message, &mut wire).unwrap();
            pieces(&wire, &mut server, &mut heard);
        }
        prop_assert_eq!(heard, messages.concat());
    }
}
