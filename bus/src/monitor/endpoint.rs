//! The paths there are.

/// What can be asked over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Index,
    Varz,
    Connz,
    Subsz,
    Routez,
    Accountz,
    Accstatz,
    Healthz,
    Metrics,
    Gatewayz,
    Leafz,
    Jsz,
}

impl Endpoint {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Endpoint; 12] = [
        Endpoint::Index,
        Endpoint::Varz,
        Endpoint::Connz,
        Endpoint::Subsz,
        Endpoint::Routez,
        Endpoint::Accountz,
        Endpoint::Accstatz,
        Endpoint::Healthz,
        Endpoint::Metrics,
        Endpoint::Gatewayz,
        Endpoint::Leafz,
        Endpoint::Jsz,
    ];

    /// Its path.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Endpoint::Index => "/",
            Endpoint::Varz => "/varz",
            Endpoint::Connz => "/connz",
            Endpoint::Subsz => "/subsz",
            Endpoint::Routez => "/routez",
            Endpoint::Accountz => "/accountz",
            Endpoint::Accstatz => "/accstatz",
            Endpoint::Healthz => "/healthz",
            Endpoint::Metrics => "/metrics",
            Endpoint::Gatewayz => "/gatewayz",
            Endpoint::Leafz => "/leafz",
            Endpoint::Jsz => "/jsz",
        }
    }

    /// What the index says of it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Endpoint::Index => "Index",
            Endpoint::Varz => "General",
            Endpoint::Connz => "Connections",
            Endpoint::Subsz => "Subscriptions",
            Endpoint::Routez => "Routes",
            Endpoint::Accountz => "Accounts",
            Endpoint::Accstatz => "Account statistics",
            Endpoint::Healthz => "Health",
            Endpoint::Metrics => "Metrics for Prometheus",
            Endpoint::Gatewayz => "Gateways (none)",
            Endpoint::Leafz => "Leaf nodes (none)",
            Endpoint::Jsz => "JetStream (none)",
        }
    }

    /// The endpoint of a path below `base`.
    pub(crate) fn parse(path: &str, base: &str) -> Option<Self> {
        let below = path.strip_prefix(base)?;
        if !below.is_empty() && !below.starts_with('/') {
            return None;
        }
        let below = match below.trim_start_matches('/') {
            "" => return Some(Endpoint::Index),
            "subscriptionsz" => "subsz",
            name => name,
        };
        Self::ALL
            .into_iter()
            .find(|endpoint| endpoint.path().strip_prefix('/') == Some(below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_endpoints_below_the_base() {
        for (index, endpoint) in Endpoint::ALL.into_iter().enumerate() {
            assert_eq!(endpoint as usize, index);
            assert_eq!(Endpoint::parse(endpoint.path(), ""), Some(endpoint));
            let path = format!("/mon{}", endpoint.path());
            assert_eq!(Endpoint::parse(&path, "/mon"), Some(endpoint));
        }
        assert_eq!(
            Endpoint::parse("/subscriptionsz", ""),
            Some(Endpoint::Subsz)
        );
        assert_eq!(Endpoint::parse("//varz", ""), Some(Endpoint::Varz));
        assert_eq!(Endpoint::parse("/mon", "/mon"), Some(Endpoint::Index));
        for nowhere in ["/varz", "/monvarz", "/mon/VARZ", "/mon/varz/", "/mon/nope"] {
            assert_eq!(Endpoint::parse(nowhere, "/mon"), None, "{nowhere}");
        }
    }
}
