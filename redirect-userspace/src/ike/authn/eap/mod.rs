//! EAP methods.

pub mod tls;
