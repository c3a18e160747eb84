//! Checks of an endpoint's books, for tests: whatever has happened, they agree with each other.

use std::collections::{BTreeMap, BTreeSet};

use super::Endpoint;
use crate::ike::io::SaId;
use crate::ike::sa::State;
use crate::ike::wire::ChildSpi;

impl Endpoint {
    /// Checks all books; gives the Child SAs that the data plane is to have.
    ///
    /// # Panics
    ///
    /// They do not agree.
    #[must_use]
    pub fn audit(&self) -> BTreeSet<ChildSpi> {
        self.table.audit();
        self.dials.audit();
        let mut installed = BTreeSet::new();
        let mut owners = BTreeMap::new();
        let mut living: BTreeSet<SaId> = BTreeSet::new();
        for sa in self.table.iter() {
            let spi = sa.names.ours();
            if !sa.is_remnant() {
                assert!(living.insert(sa.names.id), "two SAs are number {}", sa.names.id);
            }
            let (children, reserved) = match &sa.state {
                State::Answered(_)
                | State::AnsweredEap(_)
                | State::Refused(_)
                | State::AwaitInit(_)
                | State::AwaitResume(_)
                | State::AwaitFurther(_) => {
                    continue;
                }
                State::AwaitAuth(state) => (Vec::new(), state.reserved().into_iter().collect()),
                State::AwaitEap(state) => (Vec::new(), state.auth.reserved().into_iter().collect()),
                State::Established(state) => state.spis(),
            };
            for child in &children {
                assert!(installed.insert(*child), "two IKE SAs have {child:?}");
            }
            for reserved in children.into_iter().chain(reserved) {
                assert!(owners.insert(reserved, spi).is_none(), "{reserved:?} is reserved twice");
            }
        }
        let books: BTreeMap<ChildSpi, u64> = self.spis.iter().collect();
        assert_eq!(books, owners, "every SPI belongs to a Child SA or to a request, of the right IKE SA");
        installed
    }

    /// Everything that is known of its SAs, but for keys: what an unauthenticated datagram must not
    /// change.
    #[must_use]
    pub fn state(&self) -> String {
        let mut sas: Vec<String> = self.table.iter().map(|sa| format!("{sa:?}")).collect();
        sas.sort_unstable();
        sas.join("\n")
    }

    /// How many addresses its SAs have lent to clients.
    #[must_use]
    pub fn leases(&self) -> usize {
        let leases = |state: &State| match state {
            State::Established(state) => state.leases().len(),
            State::Answered(_)
            | State::AnsweredEap(_)
            | State::Refused(_)
            | State::AwaitInit(_)
            | State::AwaitResume(_)
            | State::AwaitFurther(_)
            | State::AwaitAuth(_)
            | State::AwaitEap(_) => 0,
        };
        self.table.iter().map(|sa| leases(&sa.state)).sum()
    }
}
