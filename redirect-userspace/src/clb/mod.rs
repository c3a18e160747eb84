//! Cluster load balancing: which gateway takes the next client.
//!
//! [`llg`] turns the weights of the members into the table that the fast path reads. It neither
//! knows nor cares where the weights come from.

#![forbid(unsafe_code)]

pub mod llg;

#[cfg(test)]
mod tests;
