//! What every room that speaks HTTP shares: the v2 envelope and its errors, paging and filters,
//! bearer tokens, request ids, signed URLs, and how a server starts and stops.
//!
//! Nothing here knows a resource of the platform. A room brings handlers; this crate makes them
//! answer alike:
//!
//! ```text
//!  listener ─► server (limits, graceful stop)
//!                └─► request_id::trace (X-VCAP-Request-ID, span, access line)
//!                      └─► handler ─ bearer::Authenticated ─ paging::ListQuery ─ body::Json
//!                            └─► envelope::Resource / envelope::Page  |  api_error::ApiError
//! ```

#![forbid(unsafe_code)]

pub mod api_error;
pub mod bearer;
pub mod body;
pub mod client;
pub mod credentials;
pub mod envelope;
pub mod filter;
pub mod paging;
pub mod request_id;
pub mod server;
pub mod signed_url;

pub use api_error::ApiError;
pub use bearer::{Authenticated, Claims, TokenError, TokenVerifier};
pub use envelope::{Metadata, Page, Resource};
pub use paging::ListQuery;
pub use request_id::RequestId;
