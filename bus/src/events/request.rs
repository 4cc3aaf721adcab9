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

/// In place of a name: everybody.
pub(crate) const PING: &str = "PING";

impl Ask {
    /// What a subject asks of the server with this id, if it asks anything it can answer.
    pub(crate) fn parse(subject: &[u8], server_id: &[u8]) -> Option<Self> {
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
    fn parse(what: &[u8]) -> Option<Self> {
        Some(match what {
            b"STATSZ" => Topic::Statsz,
            b"VARZ" => Topic::Varz,
            b"SUBSZ" => Topic::Subsz,
            b"CONNZ" => Topic::Connz,
            b"ROUTEZ" => Topic::Routez,
            b"GATEWAYZ" => Topic::Gatewayz,
            b"LEAFZ" => Topic::Leafz,
            b"ACCOUNTZ" => Topic::Accountz,
            b"JSZ" => Topic::Jsz,
            b"HEALTHZ" => Topic::Healthz,
            b"IDZ" => Topic::Idz,
            _ => return None,
        })
    }
}

impl AccountTopic {
    fn parse(what: &[u8]) -> Option<Self> {
        Some(match what {
            b"SUBSZ" => AccountTopic::Subsz,
            b"CONNZ" => AccountTopic::Connz,
            b"LEAFZ" => AccountTopic::Leafz,
            b"JSZ" => AccountTopic::Jsz,
            b"INFO" => AccountTopic::Info,
            b"STATZ" => AccountTopic::Statz,
            b"CONNS" => AccountTopic::Conns,
            _ => return None,
        })
    }
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

    proptest! {
        #[test]
        fn no_subject_is_too_odd(subject in proptest::collection::vec(any::<u8>(), 0..80)) {
            Ask::parse(&subject, b"NME");
            Ask::parse(&[b"$SYS.REQ.".as_slice(), &subject].concat(), b"NME");
        }
    }
}
