//! EAP-MSCHAPv2: a password, proved in both directions, and a key.
//!
//! It is what Windows, macOS, iOS and Android have built in. It is weak against whoever listens, so a
//! gateway that has not proved who it is gets none of it, and never may it stand alone.
//!
//! # Picture
//!
//! ```text
//! server                          client
//! Challenge ────────────────────▶
//!           ◀──────────────────── Response
//! Success ──────────────────────▶            or Failure, with the number of the error
//!           ◀──────────────────── Success                     Failure
//! ```
//!
//! # References
//!
//! `draft-kamath-pppext-eap-mschapv2-02`, `RFC 2759`, `RFC 3079`.

mod client;
pub mod packet;
mod server;
mod users;

pub use client::Password;
pub use server::Passwords;
pub use users::Users;

/// The name without the domain in front of it, as Windows writes it: what is computed with.
// RFC 2759 §4: the domain is not part of it.
fn without_domain(name: &str) -> &str {
    name.rsplit('\\').next().unwrap_or(name)
}

#[cfg(test)]
mod tests;
