//! Cluster load balancing: which gateway takes the next client.
//!
//! The members report their load to the master, which owns the virtual IP; the master turns the
//! loads into shares, and the shares into the table that the fast path reads.
//!
//! [`llg`] fills the table. It neither knows nor cares where the shares come from.

#![forbid(unsafe_code)]

mod config;
pub mod llg;
mod report;

pub use self::config::{
    ClusterKey, ClusterKeyError, LoadWeights, MasterSettings, OverloadAction, OverloadLimit, Policy,
    Settings, SlaveSettings,
};
pub use self::report::{Availability, BasisPoints, Registration, Report};

#[cfg(test)]
mod tests;
