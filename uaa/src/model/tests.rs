//! The models, on both engines.
