//! `[[ike.pool]]`: addresses that clients are given.

use std::net::IpAddr;
use std::ops::Range;

use super::selector::last_of;
use super::{Reading, name};
use crate::config::ClientPrefix;
use crate::config::error::{Problems, place};
use crate::config::reader::{At, Section, similar};
use crate::ike::config::Name;

/// A pool of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressPool {
    /// Its name.
    pub name: Name,
    /// Its addresses: [`Pool::new`](crate::ike::pool::Pool::new) makes a pool of every one.
    pub subnet: ClientPrefix,
    /// Name servers of those who get one of them.
    pub dns: Vec<IpAddr>,
}

/// The pools of the file.
pub(super) struct Pools {
    read: Vec<Placed>,
    /// Whether there are names that could not be read.
    is_any_nameless: bool,
    /// Names of pools that could not be read otherwise.
    broken: Vec<Name>,
}

struct Placed {
    pool: AddressPool,
    name: Range<usize>,
}

impl Pools {
    /// Reads all pools.
    pub(super) fn new(ike: &mut Section<'_>, reading: &mut Reading<'_>) -> Self {
        let mut pools = Self { read: Vec::new(), is_any_nameless: false, broken: Vec::new() };
        for mut section in ike.sections("pool", reading.problems) {
            let name = name(&mut section, reading.problems);
            let subnet = section.parsed::<ClientPrefix>("subnet", reading.problems);
            let subnet = section.required("subnet", subnet, reading.problems);
            let dns = addresses(&mut section, "dns", reading.problems);
            section.finish(reading.problems);
            match (name, subnet) {
                (Some(name), Some(subnet)) => {
                    pools.check(&name, &subnet, reading);
                    let pool = AddressPool { name: name.value, subnet: subnet.value, dns };
                    pools.read.push(Placed { pool, name: name.span });
                }
                (Some(name), None) => pools.broken.push(name.value),
                (None, _) => pools.is_any_nameless = true,
            }
        }
        pools
    }

    /// Refuses a second pool of a name, and addresses that are in another one: two clients would
    /// have the same.
    fn check(&self, name: &At<Name>, subnet: &At<ClientPrefix>, reading: &mut Reading<'_>) {
        for Placed { pool, name: earlier } in &self.read {
            let line = place(reading.text, earlier.start).0;
            if pool.name == name.value {
                let message = format!("pool \"{}\" is already defined in line {line}", pool.name);
                reading.problems.add(&name.span, message);
            }
            if overlap(&pool.subnet, &subnet.value) {
                let message = format!("{} overlaps pool \"{}\" in line {line}", subnet.value, pool.name);
                reading.problems.add(&subnet.span, message);
            }
        }
    }

    /// The pool that is meant, if there is one. That there is none is a mistake.
    pub(super) fn find(&self, text: &At<&str>, problems: &mut Problems) -> Option<&AddressPool> {
        let found = self.read.iter().find(|placed| placed.pool.name.as_str() == text.value);
        let is_broken = self.broken.iter().any(|name| name.as_str() == text.value);
        if found.is_none() && !is_broken && !self.is_any_nameless {
            let names: Vec<_> = self.read.iter().map(|placed| placed.pool.name.as_str()).collect();
            let hint = similar(text.value, &names).map(|name| format!(", did you mean \"{name}\"?"));
            let hint = hint.unwrap_or_default();
            problems.add(&text.span, format!("no [[ike.pool]] has the name {:?}{hint}", text.value));
        }
        found.map(|placed| &placed.pool)
    }

    /// All that could be read.
    pub(super) fn into_all(self) -> Vec<AddressPool> {
        self.read.into_iter().map(|placed| placed.pool).collect()
    }
}

/// Whether two prefixes have an address in common.
fn overlap(one: &ClientPrefix, other: &ClientPrefix) -> bool {
    let is_same_family = one.network().is_ipv4() == other.network().is_ipv4();
    is_same_family && one.network() <= last_of(other) && other.network() <= last_of(one)
}

/// A list of addresses, each once.
pub(super) fn addresses(
    section: &mut Section<'_>,
    key: &'static str,
    problems: &mut Problems,
) -> Vec<IpAddr> {
    let list = section.strings(key, problems).map(|list| list.value).unwrap_or_default();
    let mut addresses = Vec::new();
    for text in list {
        match text.value.parse::<IpAddr>() {
            Ok(address) if addresses.contains(&address) => {
                problems.add(&text.span, format!("{address} is listed twice"));
            }
            Ok(address) => addresses.push(address),
            Err(_) => problems.add(&text.span, format!("{:?}: not an IP address", text.value)),
        }
    }
    addresses
}
