//! End-to-end tests: real programs, real sockets, real containers. The tests are in `e2e/`, the
//! rules of the house in `layering/`.
