//! `/routez`: the other servers of the cluster.

use serde::{Deserialize, Serialize};

use super::query::{BadRequest, Query};
use super::sample::Subscribed;
use crate::cluster::Told;

/// What is asked. As JSON it is the payload of a `$SYS.REQ.….ROUTEZ` request.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    pub(crate) subscriptions: bool,
    pub(crate) subscriptions_detail: bool,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct Routez {
    pub(crate) server_id: String,
    pub(crate) server_name: String,
    pub(crate) now: String,
    pub(crate) num_routes: usize,
    pub(crate) routes: Vec<Route>,
}

/// One connection to another server.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Route {
    pub(crate) rid: u64,
    pub(crate) remote_id: String,
    pub(crate) remote_name: String,
    /// We dialled.
    pub(crate) did_solicit: bool,
    /// Its address is in our configuration; else it was told by others.
    pub(crate) is_configured: bool,
    pub(crate) ip: String,
    pub(crate) port: u16,
    pub(crate) start: String,
    pub(crate) last_activity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rtt: Option<String>,
    pub(crate) uptime: String,
    pub(crate) idle: String,
    pub(crate) pending_size: usize,
    pub(crate) in_msgs: u64,
    pub(crate) out_msgs: u64,
    pub(crate) in_bytes: u64,
    pub(crate) out_bytes: u64,
    pub(crate) subscriptions: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subscriptions_list: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subscriptions_list_detail: Option<Vec<Subscribed>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
    /// What the other side asks for, and may be asked for, when that is not everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) import: Option<Told>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) export: Option<Told>,
    pub(crate) compression: &'static str,
}

impl Options {
    /// From the parameters of a URL.
    ///
    /// # Errors
    /// One of them cannot be what it should.
    pub(crate) fn parse(query: &Query) -> Result<Self, BadRequest> {
        let subscriptions_detail = query.text("subs").eq_ignore_ascii_case("detail");
        Ok(Options {
            subscriptions: !subscriptions_detail && query.flag("subs")?,
            subscriptions_detail,
        })
    }

    /// Whether subscriptions are to be listed in some way.
    pub(crate) fn lists(self) -> bool {
        self.subscriptions || self.subscriptions_detail
    }
}

impl Route {
    /// Adds the subscriptions of the other side in the form that was asked for.
    pub(crate) fn list(&mut self, subscriptions: Vec<Subscribed>, options: Options) {
        if subscriptions.is_empty() {
            return;
        }
        if options.subscriptions_detail {
            self.subscriptions_list_detail = Some(subscriptions);
        } else {
            let subjects = subscriptions.into_iter().map(|sub| sub.subject);
            self.subscriptions_list = Some(subjects.collect());
        }
    }
}
