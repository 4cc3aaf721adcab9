//! Which servers a request is meant for.

use serde::Deserialize;

/// What a server must be like to answer. Part of the payload of every request to all.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    server_name: String,
    cluster: String,
    host: String,
    tags: Vec<String>,
    domain: String,
    /// Names must be the same, not just contain what is asked for.
    exact_match: bool,
}

/// What a server is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traits<'a> {
    pub(crate) name: &'a str,
    pub(crate) cluster: &'a str,
    pub(crate) host: &'a str,
    pub(crate) tags: &'a [String],
}

impl Filter {
    /// Whether the request is meant for such a server.
    pub(crate) fn matches(&self, server: Traits<'_>) -> bool {
        let fits = |wanted: &str, is: &str| {
            wanted.is_empty() || is == wanted || (!self.exact_match && is.contains(wanted))
        };
        let tagged = |wanted: &String| {
            server
                .tags
                .iter()
                .any(|tag| tag.eq_ignore_ascii_case(wanted))
        };
        fits(&self.server_name, server.name)
            && fits(&self.cluster, server.cluster)
            && fits(&self.host, server.host)
            && self.tags.iter().all(tagged)
            // Domains belong to JetStream, which there is none of.
            && self.domain.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn all_that_is_said_must_fit() {
        let tags = ["az:a".to_owned(), "big".to_owned()];
        let alpha = Traits {
            name: "alpha",
            cluster: "kolb",
            host: "127.0.0.1",
            tags: &tags,
        };
        for (filter, fits) in [
            ("{}", true),
            (r#"{"server_name":"alph"}"#, true),
            (r#"{"server_name":"alph","exact_match":true}"#, false),
            (r#"{"server_name":"alpha","exact_match":true}"#, true),
            (r#"{"server_name":"beta"}"#, false),
            (r#"{"cluster":"kolb","host":"127"}"#, true),
            (r#"{"cluster":"other"}"#, false),
            (r#"{"tags":["AZ:a"]}"#, true),
            (r#"{"tags":["az:a","nope"]}"#, false),
            (r#"{"domain":"x"}"#, false),
            (r#"{"limit":3}"#, true),
        ] {
            let parsed: Filter = serde_json::from_str(filter).unwrap();
            assert_eq!(parsed.matches(alpha), fits, "{filter}");
        }
    }
}
