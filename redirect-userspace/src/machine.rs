//! The contract of every protocol machine.
