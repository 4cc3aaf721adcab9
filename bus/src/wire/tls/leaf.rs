//! What a certificate says of whom it belongs to.

use rustls::pki_types::{CertificateDer, UnixTime};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{ASN1Time, FromDer as _, GeneralName, X509Certificate};

use super::dn::{Attribute, Dn, Rdn};

/// The kinds of attributes that have short names, by object identifier.
const KINDS: [(&str, &str); 10] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.17", "POSTALCODE"),
    ("0.9.2342.19200300.100.1.25", "DC"),
];
/// The order in which Go writes the subject of a certificate.
const WRITTEN: [&str; 9] = [
    "SERIALNUMBER",
    "CN",
    "OU",
    "O",
    "POSTALCODE",
    "STREET",
    "L",
    "ST",
    "C",
];

/// A certificate's names and fingerprints.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    emails: Vec<String>,
    dns: Vec<String>,
    uris: Vec<String>,
    /// The subject, unless it has attributes of kinds we do not know.
    dn: Option<Dn>,
    /// The domain components of the subject, as `DC=a,DC=b`.
    domain: String,
    /// The subject as Go writes it, without domain components.
    pub(crate) subject: String,
    /// SHA-256 of the key, in hexadecimal.
    pub(crate) spki_sha256: String,
    /// SHA-256 of the certificate, in hexadecimal.
    pub(crate) cert_sha256: String,
    validity: (i64, i64),
}

// === impl Leaf ===

impl Leaf {
    /// When it is no longer valid, in seconds since 1970.
    pub(super) fn not_after(&self) -> i64 {
        self.validity.1
    }

    /// Reads a certificate; `None` when it is none.
    pub(crate) fn parse(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut leaf = Leaf {
            emails: Vec::new(),
            dns: Vec::new(),
            uris: Vec::new(),
            dn: Some(Dn::default()),
            domain: String::new(),
            subject: String::new(),
            spki_sha256: hexadecimal(certificate.public_key().raw),
            cert_sha256: hexadecimal(der),
            validity: {
                let seconds = |time: ASN1Time| time.timestamp();
                let validity = certificate.validity();
                (seconds(validity.not_before), seconds(validity.not_after))
            },
        };
        if let Ok(Some(names)) = certificate.subject_alternative_name() {
            for name in &names.value.general_names {
                match name {
                    GeneralName::RFC822Name(email) => leaf.emails.push((*email).to_owned()),
                    GeneralName::DNSName(dns) => leaf.dns.push((*dns).to_owned()),
                    GeneralName::URI(uri) => leaf.uris.push((*uri).to_owned()),
                    _ => {}
                }
            }
        }
        let mut known: Vec<Attribute> = Vec::new();
        for set in certificate.subject().iter() {
            let mut rdn = Rdn::new();
            for attribute in set.iter() {
                let oid = attribute.attr_type().to_id_string();
                let kind = KINDS.iter().find(|(id, _)| *id == oid);
                match (kind, attribute.as_str()) {
                    (Some((_, kind)), Ok(value)) => rdn.push(Attribute {
                        kind: (*kind).to_owned(),
                        value: value.to_owned(),
                    }),
                    _ => leaf.dn = None,
                }
            }
            known.extend_from_slice(&rdn);
            if let Some(dn) = leaf.dn.as_mut().filter(|_| !rdn.is_empty()) {
                dn.0.insert(0, rdn);
            }
        }
        leaf.subject = written(&known);
        let domain = known.iter().filter(|attribute| attribute.kind == "DC");
        let domain: Vec<_> = domain.map(|part| format!("DC={}", part.value)).collect();
        leaf.domain = domain.join(",");
        Some(leaf)
    }

    /// Whether its time has come and not passed.
    pub(super) fn is_valid_at(&self, now: UnixTime) -> bool {
        i64::try_from(now.as_secs())
            .is_ok_and(|now| self.validity.0 <= now && now <= self.validity.1)
    }

    /// Which of the users it names, in nats-server's order: e-mail addresses, DNS names, URIs, the
    /// subject as a distinguished name, the subject as text.
    pub(crate) fn user<'u>(&self, users: impl Iterator<Item = &'u str> + Clone) -> Option<&'u str> {
        let named = |name: &str| users.clone().find(|user| *user == name);
        let alternatives = self.emails.iter().chain(&self.dns).chain(&self.uris);
        alternatives
            .map(|name| named(name))
            .find(Option::is_some)
            .flatten()
            .or_else(|| self.user_by_dn(users.clone()))
            .or_else(|| match (self.domain.as_str(), self.subject.as_str()) {
                ("", _) => None,
                (domain, subject) => named(&format!("{subject},{domain}")),
            })
            .or_else(|| named(&self.subject).filter(|_| !self.subject.is_empty()))
    }

    fn user_by_dn<'u>(&self, users: impl Iterator<Item = &'u str>) -> Option<&'u str> {
        let own = self.dn.as_ref().filter(|dn| !dn.0.is_empty())?;
        let mut in_other_order = None;
        for user in users {
            let Some(dn) = Dn::parse(user) else { continue };
            if dn.matches(own) {
                return Some(user);
            }
            if in_other_order.is_none() && dn.matches_in_any_order(own) {
                in_other_order = Some(user);
            }
        }
        in_other_order
    }

    /// Whether one of its DNS names is one of these hosts; `*.a.b` stands for any first label.
    pub(crate) fn is_for_one_of<'h>(&self, mut hosts: impl Iterator<Item = &'h str>) -> bool {
        hosts.any(|host| self.dns.iter().any(|name| covers(name, host)))
    }
}

fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(rest) => host
            .split_once('.')
            .is_some_and(|(_, tail)| tail.eq_ignore_ascii_case(rest)),
        None => name.eq_ignore_ascii_case(host),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A subject in text: kinds in a fixed order, several values of one kind joined by a plus.
fn written(attributes: &[Attribute]) -> String {
    let parts = WRITTEN.iter().filter_map(|kind| {
        let mut values = attributes.iter().filter(|part| part.kind == *kind);
        let single = matches!(*kind, "CN" | "SERIALNUMBER");
        let values: Vec<_> = if single {
            values.next_back().into_iter().collect()
        } else {
            values.collect()
        };
        let values = values.iter();
        let values: Vec<_> = values
            .map(|part| format!("{kind}={}", escaped(&part.value)))
            .collect();
        (!values.is_empty()).then(|| values.join("+"))
    });
    parts.collect::<Vec<_>>().join(",")
}

fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (at, letter) in value.chars().enumerate() {
        let special = match letter {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            '#' => at == 0,
            ' ' => at == 0 || at == last,
            _ => false,
        };
        if special {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn leaf(change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Leaf::parse(params.self_signed(&key).unwrap().der()).unwrap()
    }

    #[test]
    fn alternative_names_come_first_in_their_order() {
        let leaf = leaf(|params| {
            params.distinguished_name.push(DnType::CommonName, "joe");
            params.subject_alt_names = vec![
                SanType::URI("spiffe://a/b".try_into().unwrap()),
                SanType::DnsName("joe.example".try_into().unwrap()),
                SanType::Rfc822Name("joe@example".try_into().unwrap()),
            ];
        });
        let among = |users: &[&'static str]| leaf.user(users.iter().copied());
        let all = ["CN=joe", "spiffe://a/b", "joe.example", "joe@example"];
        assert_eq!(among(&all), Some("joe@example"));
        assert_eq!(among(&all[..3]), Some("joe.example"));
        assert_eq!(among(&all[..2]), Some("spiffe://a/b"));
        assert_eq!(among(&all[..1]), Some("CN=joe"));
        assert_eq!(among(&["joe", "cn=sue"]), None);
        assert!(leaf.is_for_one_of(["x", "JOE.example"].into_iter()));
        assert!(!leaf.is_for_one_of(["example"].into_iter()));
    }

    #[test]
    fn subjects_match_by_structure_and_as_go_writes_them() {
        let leaf = leaf(|params| {
            let name = &mut params.distinguished_name;
            name.push(DnType::CountryName, "CH");
            name.push(DnType::OrganizationName, "Acme, Inc");
            name.push(DnType::OrganizationalUnitName, "a");
            name.push(DnType::CommonName, "joe");
        });
        assert_eq!(leaf.subject, r"CN=joe,OU=a,O=Acme\, Inc,C=CH");
        for user in [
            r"CN=joe,OU=a,O=Acme\, Inc,C=CH",
            r"cn=joe, ou=a, o=Acme\2C Inc, c=CH",
            r"C=CH,O=Acme\, Inc,OU=a,CN=joe",
        ] {
            assert_eq!(leaf.user([user].into_iter()), Some(user), "{user}");
        }
        assert_eq!(leaf.user(["CN=joe,OU=a"].into_iter()), None);
        assert_eq!(leaf.spki_sha256.len(), 64);
    }

    #[test]
    fn the_parts_of_a_subject_are_written_in_the_order_of_go() {
        let leaf = leaf(|params| {
            let name = &mut params.distinguished_name;
            name.push(DnType::CountryName, "CH");
            name.push(DnType::LocalityName, "l");
            name.push(DnType::OrganizationName, "o");
            name.push(DnType::StateOrProvinceName, "s");
            name.push(DnType::CommonName, "joe");
        });
        assert_eq!(leaf.subject, "CN=joe,O=o,L=l,ST=s,C=CH");
    }

    #[test]
    fn an_empty_subject_is_nobody() {
        let leaf = leaf(|_| {});
        assert_eq!(leaf.user([""].into_iter()), None);
    }
}
