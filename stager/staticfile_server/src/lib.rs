//! The small web server that droplets of static sites bring along.
//!
//! It serves one folder over HTTP/1.1 on one thread: `GET` and `HEAD`, index pages, conditional and
//! range requests, and the options of a `Staticfile`. It is made to start in a few milliseconds and
//! to live in a few megabytes, and it stands behind a router: no TLS, no HTTP/2, no virtual hosts.
//!
//! What it will not do: leave its folder. Every file is opened beneath the root by the kernel
//! ([`site::Site::open`]), so neither `..` nor a symlink reaches anything else.
//!
//! ```text
//! connection ──> server (limits, keep-alive, stop) ──> responder (what to answer)
//!                                                        ├─ options  Staticfile
//!                                                        ├─ password Staticfile.auth
//!                                                        ├─ site     paths and files
//!                                                        └─ condition, range, listing, kind
//! ```

#![forbid(unsafe_code)]

pub mod body;
pub mod condition;
pub mod kind;
pub mod listing;
pub mod options;
pub mod password;
pub mod range;
pub mod responder;
pub mod server;
pub mod site;
mod stall;
