//! What crosses between accounts, ready to be used: imports of streams and services, mappings, limits.
//!
//! [`plan`] checks what was configured, or signed, and pairs each import with its export. What it makes is
//! hung onto the accounts as an [`Exchange`], which a reload replaces as a whole.
//!
//! - A **stream** import is felt when somebody subscribes: the subscription gets shadows in the exporter's
//!   list (see [`shadow`]).
//! - A **service** import is a subscription of the server's own in the importer's list; what it gets is
//!   published in the exporter's account, with a reply subject that leads back (see [`response`]).

mod apply;
mod info;
mod latency;
mod plan;
mod response;
mod shadow;

use std::sync::Arc;
use std::time::Duration;

use crate::account::Account;
use crate::config::accounts::{AccountLimits, Export, Mapping, MessageTrace, ResponseType};
use crate::jwt::AccountToken;
use crate::mapping::{Mappings, Pairing};
use crate::subscription::Subscription;

pub(crate) use info::{Detail, client_info, request_info};
pub(crate) use latency::{LatencySampling, Measured, Outcome};
pub use plan::ExchangeError;
pub(crate) use plan::{Party, Plan};
pub(crate) use response::{OpenResponse, Responses};
pub(crate) use shadow::{Shadow, places};

/// How long a response may take unless the export says otherwise.
pub(crate) const RESPONSE_THRESHOLD: Duration = Duration::from_secs(120);

/// What one account takes from others, and how its own messages are renamed.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    pub(crate) streams: Vec<Arc<StreamImport>>,
    /// With the subscriptions that take the requests.
    pub(crate) services: Vec<(Arc<ServiceImport>, Arc<Subscription>)>,
    /// Renames what its clients publish; `None` when nothing is.
    pub(crate) mappings: Option<Arc<Mappings>>,
    /// The same as they were configured, or signed.
    pub(crate) configured_mappings: Vec<Mapping>,
    /// What others may import.
    pub(crate) exports: Vec<Export>,
    pub(crate) limits: AccountLimits,
    /// How messages that say they are sampled are traced.
    pub(crate) trace: Option<Arc<MessageTrace>>,
    /// When it ends, in seconds since 1970.
    pub(crate) expires: Option<i64>,
    /// Its JWT, if that is where it comes from.
    pub(crate) token: Option<Arc<AccountToken>>,
}

/// A stream that comes from another account.
#[derive(Debug)]
pub(crate) struct StreamImport {
    pub(crate) exporter: Arc<Account>,
    pub(crate) pairing: Pairing,
    /// Tells publishers who trace a message what becomes of it here.
    pub(crate) allow_trace: bool,
}

/// A service that another account offers.
#[derive(Debug)]
pub(crate) struct ServiceImport {
    pub(crate) importer: Arc<Account>,
    pub(crate) exporter: Arc<Account>,
    pub(crate) pairing: Pairing,
    pub(crate) export: Arc<ServiceExport>,
    /// Tells the exporter who asks.
    pub(crate) share: bool,
}

/// What an exporter promises about a service.
#[derive(Debug)]
pub(crate) struct ServiceExport {
    pub(crate) response: ResponseType,
    /// How long a response may take.
    pub(crate) threshold: Duration,
    pub(crate) latency: Option<LatencySampling>,
    /// Tells requesters who trace a message what becomes of it there.
    pub(crate) allow_trace: bool,
}
