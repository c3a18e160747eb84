//! Exists so that other packages can depend on this one in their build scripts.

#![no_std]
#![forbid(unsafe_code)]
