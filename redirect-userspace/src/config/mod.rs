//! The daemon's configuration, typed and validated.
