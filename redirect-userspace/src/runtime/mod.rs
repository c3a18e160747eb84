//! The daemon: owns the machines and all I/O.
