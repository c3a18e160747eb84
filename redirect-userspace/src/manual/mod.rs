//! The manual: pages for people who run the balancer or judge it.
//!
//! Text only. What can be checked is checked: tests in [`operations`] hold the README against the
//! code.
//!
//! | page | for |
//! |---|---|
//! | [`operations`] | deploying, observing, recovering |
//! | [`glossary`] | the words of code, log lines and documents |
//! | [`security`] | what an attacker may try, and what stops it |
//! | [`conformance`] | what the RFCs ask of the fast path, and where it deviates |

pub mod conformance;
pub mod glossary;
pub mod operations;
pub mod security;
