//! ESP in the kernel: SAs, policies and the interface that leads to them, by netlink.
//!
//! # Invariants
//!
//! - Everything of ours carries our `if_id`, by which a start removes what an earlier life has left
//!   and an end what this one has.
//! - A new inbound SA is there before anybody can use it; traffic goes from one outbound SA to the
//!   next by the replacement of a policy, which is one step for the kernel.
//! - A sequence number is never sent twice with one key, also when an SA has to be made anew because
//!   its peer is elsewhere: numbers are left out.
//!
//! # Picture
//!
//! ```text
//! ike0 (xfrm interface, if_id) ─▶ policy "out": selector ─▶ state by SPI ─▶ ESP, or ESP in UDP
//!      ◀─ policy "in", "fwd": selector, reqid ◀─ state by SPI ◀─ ESP; from UDP: sockets of IKE
//! worker ◀─ events: expired, moved, alive, wanted
//! ```
//!
//! # References
//!
//! `RFC 4301 §4.4`, `§5`, `RFC 3948`, `RFC 4303 §3.3.3`

mod claims;
mod probe;
mod read;
mod sa;
mod select;
#[cfg(test)]
mod tests;
mod traps;
mod wire;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use nix::libc;

use self::claims::{Change, Claims, Key, Owner};
use self::read::Told;
use self::sa::{Sa, limits};
use self::traps::Set;
use self::wire::{Direction, Numbers, State, StateId};
use super::inside::Inside;
use super::{DataPlane, InstallError, News};
use crate::crypto::cipher::Protection;
use crate::ike::wire::ChildSpi;
use crate::ike::{InstallChild, Outer, Path, Trap, TrapId, Usage};
use crate::net::tun::{Lane, Prefix};
use crate::net::xfrm::{Events, Frames, Orders, Request};
use crate::net::xfrm_link;
use crate::throttle::Throttle;
use crate::time::Now;

pub use self::probe::probe;

/// Reads all that may be in what a kernel has sent, whatever it is; says how many messages made sense,
/// and how many words of replay bitmaps there were.
#[cfg(any(test, feature = "testing"))]
#[must_use]
pub fn read_all(octets: &[u8]) -> (usize, usize) {
    let (mut count, mut words) = (0, 0);
    for frame in Frames(octets) {
        let state = read::state(frame);
        let seen = [read::told(frame).is_some(), state.is_some(), read::policy(frame).is_some()];
        count += usize::from(seen.contains(&true));
        words += state.and_then(|state| state.numbers).map_or(0, |numbers| numbers.bitmap.len());
    }
    (count, words)
}

/// How the kernel is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The interface.
    pub name: String,
    /// Octets of the largest packet on it.
    pub mtu: u16,
    /// What marks everything of ours.
    pub if_id: u32,
    /// Sequence numbers that may come out of order.
    pub window: u32,
    /// The mark of the packets that leave with ESP, for the system's routing rules.
    pub mark: Option<u32>,
}

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    terms: Terms,
    inside: Inside,
    claims: Mutex<Claims>,
}

impl Shared {
    /// Removes what an earlier life has left, and makes the interface.
    ///
    /// # Errors
    ///
    /// The kernel has no XFRM or no such interfaces, the name is taken, or it takes rights that this
    /// process does not have.
    pub fn new(terms: Terms) -> anyhow::Result<Arc<Self>> {
        let left = sweep(&terms).context("removing what an earlier run has left in the kernel")?;
        if left > 0 {
            tracing::info!(left, "removed SAs and policies of an earlier run from the kernel");
        }
        let tun = xfrm_link::create(&terms.name, terms.mtu, terms.if_id)?;
        Ok(Arc::new(Self { terms, inside: Inside::new(tun), claims: Mutex::default() }))
    }

    /// Leads packets for a pool's addresses here, whether or not somebody has one.
    pub fn serve(&self, prefix: Prefix) {
        self.inside.hold_route((prefix, Lane::Main));
    }

    /// No longer.
    pub fn unserve(&self, prefix: Prefix) {
        self.inside.release_route((prefix, Lane::Main));
    }

    /// What all SAs have carried.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let counted = xfrm_link::usage(&self.terms.name).unwrap_or_default();
        let xfrm_link::Usage { bytes_in, bytes_out, packets_in, packets_out } = counted;
        Usage { bytes_in, bytes_out, packets_in, packets_out, idle: None }
    }
}

/// Removes what an earlier run has left in the kernel, for a run that does not use it. Without XFRM, or
/// the right to it, there is nothing that could have been left.
pub fn clear(terms: &Terms) {
    match sweep(terms) {
        Ok(0) => {}
        Ok(left) => tracing::info!(left, "removed SAs and policies of an earlier run from the kernel"),
        Err(error) => {
            tracing::debug!(error = format!("{error:#}"), "the kernel is not asked for what is left");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Err(error) = sweep(&self.terms) {
            tracing::warn!(error = format!("{error:#}"), "not everything was removed from the kernel");
        }
    }
}

/// Removes everything that is ours from the kernel; says how many SAs and policies there were.
fn sweep(terms: &Terms) -> anyhow::Result<usize> {
    let mut orders = Orders::open().map_err(explained)?;
    let policies = orders.list(&wire::list_policies(), read::policy).map_err(explained)?;
    let states = orders.list(&wire::list_states(), read::state).map_err(explained)?;
    let mut count = 0_usize;
    for policy in policies.iter().filter(|policy| policy.if_id == terms.if_id) {
        gone(orders.carry_out(&wire::delete_policy(policy.direction, &policy.selector, terms.if_id)))
            .context("removing a policy")?;
        count += 1;
    }
    // One without an SPI keeps the place of an SA that a packet was waiting for, until the kernel forgets
    // it: nobody can remove it.
    for state in states.iter().filter(|state| state.if_id == terms.if_id && state.id.spi != 0) {
        gone(orders.carry_out(&wire::delete_state(state.id, terms.if_id))).context("removing an SA")?;
        count += 1;
    }
    xfrm_link::remove(&terms.name, terms.if_id)?;
    Ok(count)
}

/// What is gone already need not be removed.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT)) => Ok(()),
        other => other,
    }
}

/// What an error of the kernel means here.
fn explained(error: io::Error) -> anyhow::Error {
    let why = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => "it takes the right CAP_NET_ADMIN",
        Some(libc::EPROTONOSUPPORT) => "the kernel has no ESP, or no XFRM (modules esp4, esp6, xfrm_user)",
        Some(libc::ENOSYS) => "the kernel has no such algorithm",
        Some(libc::EEXIST) => "it is there already",
        Some(libc::ESRCH) => "it is not there",
        Some(libc::ENOBUFS) => "the kernel has no room",
        _ => return error.into(),
    };
    anyhow::Error::from(error).context(why)
}

/// One worker's part.
#[derive(Debug)]
pub struct Kernel {
    shared: Arc<Shared>,
    orders: RefCell<Orders>,
    events: Events,
    sas: HashMap<ChildSpi, Box<Sa>>,
    /// Whose outbound SA it is.
    outbound: HashMap<StateId, ChildSpi>,
    traps: HashMap<TrapId, Set>,
    news: Vec<News>,
    losses: Throttle<&'static str, ()>,
}

impl Kernel {
    /// A worker's part.
    ///
    /// # Errors
    ///
    /// The kernel has no XFRM, or this process no right to it.
    pub fn new(shared: Arc<Shared>) -> anyhow::Result<Self> {
        let orders = Orders::open().map_err(explained)?;
        let events = Events::open(&GROUPS).map_err(explained).context("listening to the kernel")?;
        Ok(Self {
            shared,
            orders: RefCell::new(orders),
            events,
            sas: HashMap::new(),
            outbound: HashMap::new(),
            traps: HashMap::new(),
            news: Vec::new(),
            losses: Throttle::new(),
        })
    }

    /// What IKE wants to know since it asked last.
    pub fn news(&mut self) -> impl Iterator<Item = News> {
        self.news.drain(..)
    }

    /// Takes in what the kernel tells, as much as fits one turn.
    pub fn listen(&mut self, now: Now) {
        for _ in 0..TURN {
            match self.events.receive() {
                Ok(None) => return,
                Ok(Some(octets)) => {
                    for told in Frames(octets.expose()).filter_map(read::told) {
                        self.note(told);
                    }
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    if self.losses.count(now.mono, "lost", ()).is_some() {
                        tracing::warn!("the kernel has dropped events: SAs are looked through");
                    }
                    self.look_through();
                    self.set_all_again();
                    return;
                }
                Err(error) => {
                    if self.losses.count(now.mono, "broken", ()).is_some() {
                        tracing::warn!(%error, "events of the kernel cannot be read");
                    }
                    return;
                }
            }
        }
    }

    fn note(&mut self, told: Told) {
        match told {
            Told::Expired { id, is_hard } => {
                let Some(inbound) = self.owner(id) else { return };
                self.news.push(if is_hard { News::Spent(inbound) } else { News::Worn(inbound) });
            }
            Told::Alive { id } => {
                if let Some(inbound) = self.owner(id).filter(|inbound| inbound.0.get() == id.spi) {
                    self.news.push(News::Alive(inbound));
                }
            }
            Told::Moved { id, remote } => {
                let Some(inbound) = self.owner(id) else { return };
                let Some(sa) = self.sas.get_mut(&inbound) else { return };
                let path = Path { local: sa.path.local, remote };
                if sa.may_move && sa.told != path {
                    sa.told = path;
                    self.news.push(News::Moved(inbound, path));
                }
            }
            Told::Wanted { reqid, selector } => {
                // A policy of ours whose SA the kernel does not have any more.
                let orphaned = self.sas.iter().find(|(_, sa)| sa.reqid == reqid && sa.is_outbound);
                match orphaned {
                    Some((inbound, _)) => self.news.push(News::Worn(*inbound)),
                    None => self.spring(reqid, (selector.source.address, selector.destination.address)),
                }
            }
        }
    }

    /// Whose SA it is, in either direction.
    fn owner(&self, id: StateId) -> Option<ChildSpi> {
        let inbound = std::num::NonZeroU32::new(id.spi).map(ChildSpi);
        let inbound = inbound.filter(|spi| self.sas.get(spi).is_some_and(|sa| sa.inbound == id));
        inbound.or_else(|| self.outbound.get(&id).copied())
    }

    /// Finds out what the kernel may have told.
    fn look_through(&mut self) {
        for (inbound, sa) in &self.sas {
            let (bytes, packets) = limits(sa.volume, sa.is_extended);
            for id in [sa.inbound, sa.outbound] {
                match self.ask(id) {
                    Ok(Some(seen)) => {
                        let [carried, count, ..] = seen.carried;
                        if carried >= bytes.soft || count >= packets.soft {
                            self.news.push(News::Worn(*inbound));
                        }
                    }
                    Ok(None) => self.news.push(News::Spent(*inbound)),
                    Err(_unknown) => {}
                }
            }
        }
    }

    /// What the kernel knows of an SA; `None` if there is none.
    fn ask(&self, id: StateId) -> io::Result<Option<read::StateSeen>> {
        let question = wire::get_state(id, self.shared.terms.if_id);
        match self.orders.borrow_mut().ask(&question, read::state) {
            Ok(seen) => Ok(seen),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn order(&self, request: &Request) -> io::Result<()> {
        self.orders.borrow_mut().carry_out(request)
    }

    fn claims<T>(&self, change: impl FnOnce(&mut Claims) -> T) -> T {
        change(&mut self.shared.claims.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes who has a policy, and the kernel's policy if that is another one then.
    fn change(&self, key: Key, change: impl FnOnce(&mut Claims) -> Change) -> io::Result<()> {
        let if_id = self.shared.terms.if_id;
        let (direction, selector) = key;
        // Locked until the kernel knows, or another worker's change could come in between.
        self.claims(|claims| match change(claims) {
            Change::None => Ok(()),
            Change::Delete => gone(self.order(&wire::delete_policy(direction, &selector, if_id))),
            Change::Update(template) => {
                let remote = match direction {
                    Direction::Out => selector.destination,
                    Direction::In | Direction::Forward => selector.source,
                };
                let is_trap = direction == Direction::Out && template.spi == 0;
                let behind = if is_trap { select::BEHIND_ALL } else { 0 };
                let priority = select::priority(&selector, remote) + behind;
                self.order(&wire::update_policy(direction, &selector, priority, &template, if_id))
            }
        })
    }

    /// Has the kernel do all that an SA needs, or leaves nothing of it behind.
    fn try_install(&self, inbound: ChildSpi, sa: &Sa) -> Result<(), InstallError> {
        // What is in the way of the first is another's, and stays.
        self.order(&self.new_state(&sa.state(true, self.shared.terms.window)))
            .map_err(|error| refused(sa, error))?;
        let outbound = self.order(&self.new_state(&sa.state(false, self.shared.terms.window)));
        if let Err(error) = outbound {
            self.clear(inbound, sa, &[sa.inbound]);
            return Err(refused(sa, error));
        }
        let policies = sa
            .keys_in()
            .try_for_each(|key| {
                self.change(key, |claims| claims.claim(key, Owner::Sa(inbound), sa.template_in()))
            })
            .map_err(|error| system("a policy", error));
        let inside = &self.shared.inside;
        let addresses = || {
            let mut addresses = sa.own_addresses.iter();
            addresses.try_for_each(|address| inside.add_address(*address))
        };
        let result = policies.and_then(|()| addresses().map_err(|error| system("an address", error)));
        if result.is_err() {
            self.clear(inbound, sa, &[sa.outbound, sa.inbound]);
        }
        result
    }

    /// Gives back what an SA had of what all share.
    fn forget(&self, sa: &Sa) {
        self.claims(|claims| claims.release_reqid(&sa.local_ts, &sa.remote_ts));
        let is_used = |address: &IpAddr| self.sas.values().any(|sa| sa.own_addresses.contains(address));
        for address in sa.own_addresses.iter().filter(|address| !is_used(address)) {
            self.shared.inside.remove_address(*address);
        }
    }

    fn new_state(&self, state: &State<'_>) -> Request {
        let Terms { if_id, mark, .. } = self.shared.terms;
        wire::new_state(state, if_id, mark)
    }

    fn delete_state(&self, id: StateId) -> io::Result<()> {
        gone(self.order(&wire::delete_state(id, self.shared.terms.if_id)))
    }

    /// Takes the policies of an SA out of the kernel, and then these states of it.
    fn clear(&self, inbound: ChildSpi, sa: &Sa, states: &[StateId]) {
        let mut failed = Vec::new();
        for key in sa.keys_out().chain(sa.keys_in()) {
            failed.extend(self.change(key, |claims| claims.release(key, Owner::Sa(inbound))).err());
        }
        failed.extend(states.iter().filter_map(|id| self.delete_state(*id).err()));
        if let Some(error) = failed.first() {
            tracing::warn!(%error, spi = %inbound, "a Child SA was not wholly removed from the kernel");
        }
    }

    /// Has one direction of an SA travel as it does now, and no longer as it did.
    fn follow(&self, inbound: ChildSpi, sa: &Sa, old: &Before, is_inbound: bool) -> io::Result<()> {
        let mut state = sa.state(is_inbound, self.shared.terms.window);
        let old_id = if is_inbound { old.inbound } else { old.outbound };
        let Terms { if_id, mark, .. } = self.shared.terms;
        let is_same = |at: fn(&Path) -> IpAddr| at(&old.path) == at(&sa.path);
        let are_ports_all = is_same(|path| path.local.ip()) && is_same(|path| path.remote.ip());
        if are_ports_all && old.is_encapsulated == sa.is_encapsulated {
            // Around an SA that is without them the ports do not matter.
            let is_needed = sa.is_encapsulated && old.path != sa.path;
            return if is_needed { self.order(&wire::update_state(&state, if_id, mark)) } else { Ok(()) };
        }
        let seen = self.ask(old_id)?.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
        let numbers = seen.numbers.map(|numbers| Numbers {
            // What is sent meanwhile has numbers of these, which are not sent again.
            sent: if is_inbound { numbers.sent } else { numbers.sent.saturating_add(LEFT_OUT) },
            ..numbers
        });
        state.numbers = numbers.as_ref();
        state.carried = Some(seen.carried);
        if old_id == state.id {
            // The kernel has room for one of that name only.
            self.delete_state(old_id)?;
            return match self.order(&self.new_state(&state)) {
                // A packet has come in between, for which the kernel keeps the place.
                Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                    self.order(&wire::update_state(&state, if_id, mark))
                }
                other => other,
            };
        }
        self.order(&self.new_state(&state))?;
        if !is_inbound {
            let template = sa.template_out();
            sa.keys_out().try_for_each(|key| {
                self.change(key, |claims| claims.retarget(key, Owner::Sa(inbound), template))
            })?;
        }
        self.delete_state(old_id)
    }
}

/// How an SA was named, and travelled.
#[derive(Clone, Copy, Debug)]
struct Before {
    inbound: StateId,
    outbound: StateId,
    path: Path,
    is_encapsulated: bool,
}

impl AsFd for Kernel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

impl DataPlane for Kernel {
    fn install(&mut self, child: InstallChild) -> Result<(), InstallError> {
        if self.sas.contains_key(&child.inbound) {
            return Err(InstallError::Spi);
        }
        let (inbound, is_outbound) = (child.inbound, child.is_outbound);
        let selectors = select::outbound(&child.local_ts, &child.remote_ts)
            .map_err(|error| InstallError::System(error.to_string()))?;
        let routes = self.shared.inside.routes_for(&child.remote_ts, child.path);
        let reqid = self.claims(|claims| claims.take_reqid(&child.local_ts, &child.remote_ts));
        let sa = Box::new(Sa::new(child, selectors, reqid, routes));
        if let Err(error) = self.try_install(inbound, &sa) {
            self.forget(&sa);
            return Err(error);
        }
        sa.routes.iter().for_each(|route| self.shared.inside.hold_route(*route));
        self.outbound.insert(sa.outbound, inbound);
        self.sas.insert(inbound, sa);
        if is_outbound {
            self.switch(inbound);
        }
        Ok(())
    }

    fn switch(&mut self, inbound: ChildSpi) {
        let Some(sa) = self.sas.get_mut(&inbound) else { return };
        let is_new = !std::mem::replace(&mut sa.is_outbound, true);
        let replaced = sa.replaces.take();
        let mut result = Ok(());
        if is_new && let Some(sa) = self.sas.get(&inbound) {
            for key in sa.keys_out() {
                let changed =
                    self.change(key, |claims| claims.claim(key, Owner::Sa(inbound), sa.template_out()));
                result = result.and(changed);
            }
        }
        if let Some(old) = replaced
            && let Some(sa) = self.sas.get_mut(&old)
            && std::mem::replace(&mut sa.is_outbound, false)
            && let Some(sa) = self.sas.get(&old)
        {
            for key in sa.keys_out() {
                let changed = self.change(key, |claims| claims.release(key, Owner::Sa(old)));
                result = result.and(changed);
            }
        }
        if let Err(error) = result {
            tracing::error!(%error, spi = %inbound, "the kernel does not send through a Child SA");
        }
    }

    fn redirect(&mut self, inbound: ChildSpi, outer: Outer) {
        let Outer { path, is_encapsulated, may_move } = outer;
        let Some(sa) = self.sas.get_mut(&inbound) else { return };
        let old = Before {
            inbound: sa.inbound,
            outbound: sa.outbound,
            path: std::mem::replace(&mut sa.path, path),
            is_encapsulated: std::mem::replace(&mut sa.is_encapsulated, is_encapsulated),
        };
        sa.told = path;
        sa.may_move = may_move;
        if old.path == path && old.is_encapsulated == is_encapsulated {
            return;
        }
        sa.inbound.destination = path.local.ip();
        sa.outbound.destination = path.remote.ip();
        self.shared.inside.shift(&mut sa.routes, path);
        self.outbound.remove(&old.outbound);
        self.outbound.insert(sa.outbound, inbound);
        let Some(sa) = self.sas.get(&inbound) else { return };
        // In first: what comes from there already is not lost. One that fails does not keep the other
        // from its way.
        let arrives = self.follow(inbound, sa, &old, true);
        let leaves = self.follow(inbound, sa, &old, false);
        let keys = sa.keys_in().map(|key| (key, sa.template_in()));
        let keys = keys.chain(sa.keys_out().map(|key| (key, sa.template_out())));
        let retargeted = keys
            .map(|(key, template)| {
                self.change(key, |claims| claims.retarget(key, Owner::Sa(inbound), template))
            })
            .fold(Ok(()), Result::and);
        if let Err(error) = arrives.and(leaves).and(retargeted) {
            tracing::error!(%error, spi = %inbound, "a Child SA of the kernel does not follow its peer");
        }
    }

    fn remove(&mut self, inbound: ChildSpi) {
        let Some(sa) = self.sas.remove(&inbound) else { return };
        self.outbound.remove(&sa.outbound);
        self.clear(inbound, &sa, &[sa.outbound, sa.inbound]);
        sa.routes.iter().for_each(|route| self.shared.inside.release_route(*route));
        self.forget(&sa);
    }

    fn watch(&mut self, trap: Trap) -> Result<(), InstallError> {
        self.set_trap(trap)
    }

    fn unwatch(&mut self, trap: TrapId) {
        if let Some(set) = self.traps.remove(&trap) {
            self.release_trap(&set);
        }
    }

    fn usage(&self, inbound: ChildSpi) -> Option<Usage> {
        let sa = self.sas.get(&inbound)?;
        let carried = |id| self.ask(id).ok().flatten().map_or([0; 4], |seen| seen.carried);
        let ([bytes_in, packets_in, ..], [bytes_out, packets_out, ..]) =
            (carried(sa.inbound), carried(sa.outbound));
        Some(Usage { bytes_in, bytes_out, packets_in, packets_out, idle: None })
    }
}

/// Why the kernel does not take an SA.
fn refused(sa: &Sa, error: io::Error) -> InstallError {
    match error.raw_os_error() {
        Some(libc::EEXIST) => InstallError::Spi,
        _ => InstallError::System(format!("{:#}", refusal(sa.inbound_keys.protection(), error))),
    }
}

fn refusal(protection: Protection, error: io::Error) -> anyhow::Error {
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::ENOENT) => {
            let cipher = wire::cipher_name(protection.encr());
            let integ = protection.integ().map(|integ| format!(" with {}", wire::integ_name(integ)));
            anyhow::anyhow!("the kernel has no {cipher}{}", integ.unwrap_or_default())
        }
        _ => explained(error),
    }
}

fn system(what: &str, error: io::Error) -> InstallError {
    InstallError::System(format!("{what} is refused: {:#}", explained(error)))
}

/// `XFRMNLGRP_ACQUIRE`, `_EXPIRE`, `_AEVENTS` and `_MAPPING`.
const GROUPS: [u32; 4] = [1, 2, 5, 8];
/// Pieces of events after which others have their turn.
const TURN: usize = 64;
/// Sequence numbers that are left out when an SA is made anew: more than can be sent meanwhile.
const LEFT_OUT: u64 = 1 << 20;
