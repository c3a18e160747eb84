//! Time as the machines see it.
