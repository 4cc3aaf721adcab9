//! `cupola-warden`: supervisor and pid 1 of one container.
fn main() {}
