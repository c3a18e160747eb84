//! Users and their passwords.

use std::collections::BTreeMap;

use super::without_domain;
use crate::crypto::mschap::NtHash;

/// Users and what is kept of their passwords.
#[derive(Debug)]
pub struct Users {
    by_name: BTreeMap<Box<str>, NtHash>,
    /// What is tried for those who are none.
    nobody: NtHash,
}

/// A user, or somebody who is none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    /// As it is configured, or as it was given.
    pub(super) name: &'a str,
    pub(super) password: &'a NtHash,
    pub(super) is_known: bool,
}

impl Users {
    /// These.
    #[must_use]
    pub fn new(users: impl IntoIterator<Item = (Box<str>, NtHash)>) -> Self {
        Self { by_name: users.into_iter().collect(), nobody: NtHash::of_nobody() }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The user of this name, with the domain in front of it or without. Somebody who is none has a
    /// password too, so that it takes as long to find out that it is not his.
    pub(super) fn find<'a>(&'a self, name: &'a str) -> Found<'a> {
        let short = without_domain(name);
        let found = self.by_name.get_key_value(name).or_else(|| self.by_name.get_key_value(short));
        match found {
            Some((name, password)) => Found { name, password, is_known: true },
            None => Found { name: short, password: &self.nobody, is_known: false },
        }
    }
}
