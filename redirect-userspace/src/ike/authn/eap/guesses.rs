//! Who has failed how often: whoever tries passwords is stopped, also one after the other user.
//!
//! Users that do not exist are counted like those that do, so that nobody learns which do.
//!
//! # Invariants
//!
//! - The table has a limit. Whoever is thrown out of a full one is who was heard of longest ago.

use std::collections::{BTreeSet, HashMap};
use std::fmt::{Debug, Formatter};
use std::sync::Arc;
use std::time::Duration;

use crate::time::Instant;

/// Wrong passwords in a row, by user.
#[derive(Default)]
pub struct Guesses {
    users: HashMap<Arc<str>, Entry>,
    /// The same, by when they were heard of last.
    order: BTreeSet<(Instant, Arc<str>)>,
}

struct Entry {
    wrong: u32,
    last_at: Instant,
}

impl Guesses {
    /// Wrong passwords in a row that are taken without consequences.
    pub const FREE: u32 = 10;
    /// How long nothing is tried for a user then, and after which time everything is forgotten.
    pub const LOCKED: Duration = Duration::from_secs(60);
    /// Most users that are remembered.
    pub const MOST: usize = 4_096;

    /// Whether nothing is tried for a user now.
    #[must_use]
    pub fn is_locked(&self, now: Instant, user: &str) -> bool {
        let entry = self.users.get(user).filter(|entry| now < entry.last_at + Self::LOCKED);
        entry.is_some_and(|entry| entry.wrong >= Self::FREE)
    }

    /// The password was wrong.
    pub fn wrong(&mut self, now: Instant, user: &str) {
        let wrong = match self.forget(user) {
            Some(entry) if now < entry.last_at + Self::LOCKED => entry.wrong.saturating_add(1),
            Some(_) | None => 1,
        };
        if self.users.len() >= Self::MOST
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.users.remove(&oldest);
        }
        let user: Arc<str> = user.into();
        self.order.insert((now, Arc::clone(&user)));
        self.users.insert(user, Entry { wrong, last_at: now });
    }

    /// The password was right.
    pub fn right(&mut self, user: &str) {
        self.forget(user);
    }

    fn forget(&mut self, user: &str) -> Option<Entry> {
        let (user, entry) = self.users.remove_entry(user)?;
        self.order.remove(&(entry.last_at, user));
        Some(entry)
    }
}

impl Debug for Guesses {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "Guesses({} users)", self.users.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    #[test]
    fn a_user_is_locked_out_for_a_while_after_too_many_wrong_passwords() {
        let mut guesses = Guesses::default();
        for _ in 1..Guesses::FREE {
            guesses.wrong(at(1), "alice");
        }
        assert!(!guesses.is_locked(at(1), "alice"));

        guesses.wrong(at(2), "alice");

        assert!(guesses.is_locked(at(2), "alice") && guesses.is_locked(at(61), "alice"));
        assert!(!guesses.is_locked(at(62), "alice") && !guesses.is_locked(at(2), "bob"));
        // Everything begins anew.
        guesses.wrong(at(62), "alice");
        assert!(!guesses.is_locked(at(62), "alice"));
    }

    #[test]
    fn a_right_password_is_a_new_beginning() {
        let mut guesses = Guesses::default();
        for _ in 1..Guesses::FREE {
            guesses.wrong(at(1), "alice");
        }
        guesses.right("alice");
        guesses.wrong(at(1), "alice");

        assert!(!guesses.is_locked(at(1), "alice"));
    }

    #[test]
    fn the_table_forgets_whoever_was_heard_of_longest_ago() {
        let mut guesses = Guesses::default();
        for _ in 0..Guesses::FREE {
            guesses.wrong(at(1), "alice");
            guesses.wrong(at(2), "bob");
        }
        for number in 0..Guesses::MOST - 1 {
            guesses.wrong(at(3), &format!("user{number}"));
        }

        assert!(!guesses.is_locked(at(3), "alice") && guesses.is_locked(at(3), "bob"));
        assert_eq!((guesses.users.len(), guesses.order.len()), (Guesses::MOST, Guesses::MOST));
    }
}
