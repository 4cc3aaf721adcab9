//! A small certificate authority, whose files last as long as it does.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub(crate) struct Authority {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// One that has issued `server` (for `localhost` and `127.0.0.1`).
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority { folder, issuer };
        std::fs::write(authority.file("ca.pem"), authority.issuer.pem()).unwrap();
        authority.issue("server", |params| {
            params.subject_alt_names = vec![
                rcgen::SanType::DnsName("localhost".try_into().unwrap()),
                rcgen::SanType::IpAddress([127, 0, 0, 1].into()),
            ];
        });
        authority
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `name.pem` and `name.key`.
    pub(crate) fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.use_authority_key_identifier_extension = true;
        // Or it would look as if it had signed itself.
        let subject = &mut params.distinguished_name;
        subject.push(rcgen::DnType::CommonName, name);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.file(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// A `tls` section that shows `server`.
    pub(crate) fn section(&self) -> Value {
        json!({
            "cert_file": self.file("server.pem"), "key_file": self.file("server.key"),
            "ca_file": self.file("ca.pem"), "timeout": "20s",
        })
    }

    /// The same with more in it.
    pub(crate) fn section_with(&self, more: Value) -> Value {
        let mut section = self.section();
        for (key, value) in more.as_object().unwrap() {
            section[key] = value.clone();
        }
        section
    }

    /// What a client needs to trust `server`, and to show a certificate of its own.
    pub(crate) fn client(&self, shown: Option<&str>) -> ClientConfig {
        self.client_showing(shown, 0)
    }

    /// One that shows its certificate and then the authority's, so many times.
    pub(crate) fn client_with_chain(&self, shown: &str, length: usize) -> ClientConfig {
        self.client_showing(Some(shown), length)
    }

    fn client_showing(&self, shown: Option<&str>, chain: usize) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.file("ca.pem")).unwrap())
            .unwrap();
        let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
        let builder = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        match shown {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let file = |kind: &str| self.file(&format!("{name}.{kind}"));
                let own = CertificateDer::from_pem_file(file("pem")).unwrap();
                let issuer = CertificateDer::from_pem_file(self.file("ca.pem")).unwrap();
                let above = std::iter::repeat_n(issuer, chain);
                let chain = std::iter::once(own).chain(above).collect();
                let key = PrivateKeyDer::from_pem_file(file("key")).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }
}
