//! What can be asked, by subject.

/// What is asked of this server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// `$SYS.REQ.SERVER.PING`, and `….PING.<what>` or `….<id>.<what>`.
    Server(Topic),
    /// `$SYS.REQ.ACCOUNT.<name>.<what>`; `PING` in place of a name means all, or one's own.
    Account(String, AccountTopic),
    /// `$SYS.REQ.USER.INFO`: who am I?
    UserInfo,
    /// Ends a connection.
    Kick,
    /// Tells a connection to look for another server.
    LameDuck,
    /// Reads the configuration again.
    Reload,
    /// `$SYS.SERVER.ACCOUNT.<name>.CONNS`: another server tells how many connections an account has there.
    Census,
}

/// What of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Statsz,
    Varz,
    Subsz,
    Connz,
    Routez,
    Gatewayz,
    Leafz,
    Accountz,
    Jsz,
    Healthz,
    Idz,
    Ipqueuesz,
    Raftz,
}

/// What of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccountTopic {
    Subsz,
    Connz,
    Leafz,
    Jsz,
    Info,
    Statz,
    Conns,
}

/// What stands before and after the account where servers tell each other of its connections.
const CENSUS: (&[u8], &[u8]) = (b"$SYS.SERVER.ACCOUNT.", b".CONNS");
/// The same of all accounts.
const CENSUS_OF_ALL: &str = "$SYS.SERVER.ACCOUNT.*.CONNS";
/// In place of a name: everybody.
pub(crate) const PING: &str = "PING";

impl Ask {
    /// What a subject asks of the server with this id, if it asks anything it can answer.
    pub(crate) fn parse(subject: &[u8], server_id: &[u8]) -> Option<Self> {
        if subject.starts_with(CENSUS.0) && subject.ends_with(CENSUS.1) {
            return Some(Ask::Census);
        }
        let rest = subject.strip_prefix(b"$SYS.REQ.")?;
        let tokens: Vec<&[u8]> = rest.splitn(5, |byte| *byte == b'.').collect();
        match tokens[..] {
            [b"USER", b"INFO"] => Some(Ask::UserInfo),
            [b"SERVER", b"PING"] => Some(Ask::Server(Topic::Statsz)),
            [b"SERVER", b"PING", what] => Topic::parse(what).map(Ask::Server),
            [b"SERVER", id, what] if id == server_id => match what {
                b"KICK" => Some(Ask::Kick),
                b"LDM" => Some(Ask::LameDuck),
                b"RELOAD" => Some(Ask::Reload),
                what => Topic::parse(what).map(Ask::Server),
            },
            [b"ACCOUNT", name, what] => {
                let name = std::str::from_utf8(name).ok()?.to_owned();
                AccountTopic::parse(what).map(|topic| Ask::Account(name, topic))
            }
            _ => None,
        }
    }
}

impl Topic {
    /// All of them, with their names.
    pub(super) const ALL: [(&str, Topic); 13] = [
        ("STATSZ", Topic::Statsz),
        ("VARZ", Topic::Varz),
        ("SUBSZ", Topic::Subsz),
        ("CONNZ", Topic::Connz),
        ("ROUTEZ", Topic::Routez),
        ("GATEWAYZ", Topic::Gatewayz),
        ("LEAFZ", Topic::Leafz),
        ("ACCOUNTZ", Topic::Accountz),
        ("JSZ", Topic::Jsz),
        ("HEALTHZ", Topic::Healthz),
        ("IDZ", Topic::Idz),
        ("IPQUEUESZ", Topic::Ipqueuesz),
        ("RAFTZ", Topic::Raftz),
    ];

    fn parse(what: &[u8]) -> Option<Self> {
        named(&Self::ALL, what)
    }
}

impl AccountTopic {
    /// All of them, with their names.
    pub(super) const ALL: [(&str, AccountTopic); 7] = [
        ("SUBSZ", AccountTopic::Subsz),
        ("CONNZ", AccountTopic::Connz),
        ("LEAFZ", AccountTopic::Leafz),
        ("JSZ", AccountTopic::Jsz),
        ("INFO", AccountTopic::Info),
        ("STATZ", AccountTopic::Statz),
        ("CONNS", AccountTopic::Conns),
    ];

    fn parse(what: &[u8]) -> Option<Self> {
        named(&Self::ALL, what)
    }
}

/// What has this name.
fn named<T: Copy>(all: &[(&str, T)], name: &[u8]) -> Option<T> {
    let known = all.iter().find(|(known, _)| known.as_bytes() == name);
    known.map(|(_, topic)| *topic)
}

/// Every subject on which the server with this id is asked something in the system account. One by one, so
/// that who asks for what there is not hears that nobody answers.
pub(super) fn subjects(server_id: &str) -> Vec<String> {
    let topics = || Topic::ALL.iter().map(|(name, _)| *name);
    let mine = topics().chain(["KICK", "LDM", "RELOAD"]);
    let accounts = AccountTopic::ALL.iter().map(|(name, _)| *name);
    ["$SYS.REQ.SERVER.PING", "$SYS.REQ.USER.INFO"]
        .map(str::to_owned)
        .into_iter()
        .chain(topics().map(|name| format!("$SYS.REQ.SERVER.PING.{name}")))
        .chain(mine.map(|name| format!("$SYS.REQ.SERVER.{server_id}.{name}")))
        .chain(accounts.map(|name| format!("$SYS.REQ.ACCOUNT.*.{name}")))
        .chain([CENSUS_OF_ALL.to_owned()])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(subject: &str) -> Option<Ask> {
        Ask::parse(subject.as_bytes(), b"NME")
    }

    #[test]
    fn subjects_say_what_is_asked_and_of_whom() {
        assert_eq!(
            parse("$SYS.REQ.SERVER.PING"),
            Some(Ask::Server(Topic::Statsz))
        );
        assert_eq!(
            parse("$SYS.REQ.SERVER.PING.IDZ"),
            Some(Ask::Server(Topic::Idz))
        );
        assert_eq!(
            parse("$SYS.REQ.SERVER.NME.CONNZ"),
            Some(Ask::Server(Topic::Connz))
        );
        assert_eq!(parse("$SYS.REQ.SERVER.NME.KICK"), Some(Ask::Kick));
        assert_eq!(parse("$SYS.REQ.USER.INFO"), Some(Ask::UserInfo));
        assert_eq!(parse("$SYS.SERVER.ACCOUNT.A.CONNS"), Some(Ask::Census));
        assert_eq!(
            parse("$SYS.REQ.ACCOUNT.A.STATZ"),
            Some(Ask::Account("A".to_owned(), AccountTopic::Statz))
        );
        for nothing in [
            "$SYS.REQ.SERVER.NYOU.CONNZ",
            "$SYS.REQ.SERVER.PING.KICK",
            "$SYS.REQ.SERVER.PING.PROFILEZ",
            "$SYS.REQ.SERVER.PING.CONNZ.X",
            "$SYS.REQ.ACCOUNT.A.CLAIMS.UPDATE",
            "$SYS.REQ.ACCOUNT.A",
            "SYS.REQ.USER.INFO",
        ] {
            assert_eq!(parse(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn what_is_listened_to_is_understood() {
        let subjects = subjects("NME");
        assert_eq!(subjects.len(), 2 + 13 + 16 + 7 + 1);
        for subject in subjects {
            assert!(parse(&subject.replace('*', "A")).is_some(), "{subject}");
        }
    }

    proptest! {
        #[test]
        fn no_subject_is_too_odd(subject in proptest::collection::vec(any::<u8>(), 0..80)) {
            Ask::parse(&subject, b"NME");
            Ask::parse(&[b"$SYS.REQ.".as_slice(), &subject].concat(), b"NME");
        }
    }
}
