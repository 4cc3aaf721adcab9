//! The nouns of the house: ids with a kind, quantities with a unit, lifecycles with their edges.
//!
//! Everything here is plain data. Nothing in this crate knows about the bus, HTTP or a database;
//! every other crate may depend on it and it depends on none of them.

#![forbid(unsafe_code)]

mod id;
mod lifecycle;
mod quantity;
mod role;

pub use id::{
    AppGuid, AppVersion, BuildpackGuid, ComponentId, DeaId, DomainGuid, EventGuid, IdError,
    InstanceGuid, JobGuid, OrgGuid, QuotaGuid, RouteGuid, RouteMappingGuid, SpaceGuid, StackGuid,
    StagerId, StagingTaskId, UserGuid,
};
pub use lifecycle::{AppState, IllegalTransition, InstanceState, PackageState, UnknownState};
pub use quantity::{DiskMb, InstanceIndex, MemoryMb, ParseSizeError};
pub use role::{Role, UnknownRole};
