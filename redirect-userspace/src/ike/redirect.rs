//! Where clients can be sent: what the cluster says about its members.
//!
//! # References
//!
//! `RFC 5685 §3` (in IKE_SA_INIT), `§5` (while it is up), `§6` (in IKE_AUTH).

use std::net::IpAddr;

use common::maps::{Prefix, SLOTS, slot};

use super::wire::SpiI;
use crate::gateway::{EmptySlot, GatewayAddress, GatewayAddresses, GatewayIndex, LlgTable};

/// The members of the cluster and which of them is least loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// Which member each slot leads to, as the fast path has it; `None` leads nowhere.
    slots: Box<[Option<u16>]>,
    /// The members, by their index.
    members: Vec<Option<Target>>,
    /// What a client's SPI is mixed with, as the fast path does it.
    multiplier: u64,
    /// Addresses on which clients are redirected in IKE_SA_INIT: those of the cluster, while this
    /// node has them.
    vips: Vec<IpAddr>,
    /// Clients that may be redirected; empty = all.
    clients: Vec<Prefix>,
    /// What becomes of a client whose slot leads nowhere.
    empty: EmptySlot,
    /// Whether this node says who serves whom. Others only know where to send those who have to go.
    is_decisive: bool,
}

/// What becomes of an IKE_SA_INIT request that came from a client which follows redirects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnInit {
    /// This node serves it.
    Keep,
    /// It gets no answer, and tries again later.
    Refuse,
    /// It is sent there.
    To(GatewayAddress),
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where clients are sent.
    pub addresses: GatewayAddresses,
    /// Whether it is this node.
    pub is_self: bool,
}

impl Targets {
    /// Takes over the table of the fast path, the members that it leads to, by their index, and the
    /// addresses of the cluster that this node has.
    #[must_use]
    pub fn new(table: &LlgTable, members: Vec<Option<Target>>, multiplier: u64, vips: Vec<IpAddr>) -> Self {
        let slots = table.slots.iter().map(|slot| slot.map(GatewayIndex::value)).collect();
        Self { slots, members, multiplier, vips, clients: Vec::new(), empty: table.empty, is_decisive: true }
    }

    /// What a node knows that does not decide who serves whom: where those go who have to leave it.
    #[must_use]
    pub fn for_leaving(
        slots: &[Option<GatewayIndex>],
        members: Vec<Option<Target>>,
        multiplier: u64,
    ) -> Self {
        let slots = slots.iter().map(|slot| slot.map(GatewayIndex::value)).collect();
        Self {
            slots,
            members,
            multiplier,
            vips: Vec::new(),
            clients: Vec::new(),
            empty: EmptySlot::Keep,
            is_decisive: false,
        }
    }

    /// Redirects no other clients than these while they begin; empty = all.
    #[must_use]
    pub fn only(self, clients: Vec<Prefix>) -> Self {
        Self { clients, ..self }
    }

    /// Whether a client at this address may be redirected while it begins.
    #[must_use]
    pub fn accepts(&self, client: IpAddr) -> bool {
        let (family, address) = match client {
            IpAddr::V4(address) => (4, u128::from(address.to_bits()) << 96),
            IpAddr::V6(address) => (6, address.to_bits()),
        };
        let is_within = |prefix: &Prefix| {
            let [network, mask] = [prefix.address, prefix.mask].map(u128::from_be_bytes);
            prefix.family == family && address & mask == network
        };
        self.clients.is_empty() || self.clients.iter().any(is_within)
    }

    /// Whether somebody who has to leave would find another node.
    #[must_use]
    pub fn leads_away(&self) -> bool {
        self.slots.iter().flatten().any(|index| self.member(*index).is_some_and(|member| !member.is_self))
    }

    fn member(&self, index: u16) -> Option<&Target> {
        self.members.get(usize::from(index))?.as_ref()
    }

    /// What becomes of a client whose IKE_SA_INIT request came to `to`. `from` is the gateway that has
    /// sent it here, if one has.
    #[must_use]
    pub fn on_init(&self, spi: SpiI, to: IpAddr, client: IpAddr, from: Option<IpAddr>) -> OnInit {
        // Two members would send it to and fro.
        let is_sent = from.is_some_and(|from| self.is_of_cluster(from));
        if !self.vips.contains(&to) || is_sent || !self.accepts(client) {
            return OnInit::Keep;
        }
        if self.empty == EmptySlot::Refuse && self.slots.get(self.position(spi)) == Some(&None) {
            return OnInit::Refuse;
        }
        self.choose(spi, to).map_or(OnInit::Keep, OnInit::To)
    }

    /// Whether an address is the cluster's or a member's: whoever was sent here by it stays.
    #[must_use]
    pub fn is_of_cluster(&self, address: IpAddr) -> bool {
        self.vips.contains(&address) || self.has(address)
    }

    fn position(&self, spi: SpiI) -> usize {
        // As the fast path reads it.
        slot(u64::from_le_bytes(spi.to_octets()), self.multiplier) & (SLOTS - 1)
    }

    /// Where the table sends a client with this SPI that came on an address like `seen`: somewhere
    /// else than here, by an address of the same family or by name.
    #[must_use]
    pub fn choose(&self, spi: SpiI, seen: IpAddr) -> Option<GatewayAddress> {
        if !self.is_decisive {
            return None;
        }
        let at = self.position(spi);
        let member = self.member((*self.slots.get(at)?)?)?;
        if member.is_self { None } else { member.addresses.for_peer_of(seen) }
    }

    /// Somewhere else than here for a client that has to go: the table's choice, or the next slot's
    /// after it that leads away.
    #[must_use]
    pub fn away(&self, spi: SpiI, seen: IpAddr) -> Option<GatewayAddress> {
        let at = self.position(spi);
        let (before, after) = self.slots.split_at_checked(at)?;
        after.iter().chain(before).flatten().find_map(|index| {
            let member = self.member(*index)?;
            if member.is_self { None } else { member.addresses.for_peer_of(seen) }
        })
    }

    /// Whether an address is a member's.
    fn has(&self, address: IpAddr) -> bool {
        self.members.iter().flatten().any(|member| match address {
            IpAddr::V4(address) => member.addresses.ipv4() == Some(address),
            IpAddr::V6(address) => member.addresses.ipv6() == Some(address),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    fn member(addresses: &[&str], is_self: bool) -> Option<Target> {
        let addresses = addresses.iter().map(|text| text.parse::<GatewayAddress>().unwrap());
        Some(Target { addresses: GatewayAddresses::new(addresses).unwrap(), is_self })
    }

    fn targets(slots: &[Option<u16>]) -> Targets {
        let slots = (0..SLOTS).map(|at| slots[at % slots.len()].and_then(GatewayIndex::new)).collect();
        let table = LlgTable { generation: 1, slots, empty: EmptySlot::Keep };
        let members = vec![
            member(&["10.50.0.11", "fd50::11"], true),
            member(&["10.50.0.12"], false),
            member(&["gw3.example.net"], false),
        ];
        Targets::new(&table, members, 0x9e37_79b9_7f4a_7c15, vec![V4])
    }

    fn spi(number: u64) -> SpiI {
        SpiI(NonZeroU64::new(number).unwrap())
    }

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 50, 0, 5));
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0xfd50, 0, 0, 0, 0, 0, 0, 5));

    #[test]
    fn a_client_is_sent_where_its_slot_leads_and_never_here() {
        let there = Some("10.50.0.12".parse().unwrap());

        assert_eq!(targets(&[Some(1)]).choose(spi(7), V4), there);
        assert_eq!(targets(&[Some(0)]).choose(spi(7), V4), None);
        assert_eq!(targets(&[None]).choose(spi(7), V4), None);
        assert_eq!(targets(&[Some(1)]).choose(spi(7), V6), None, "no address of its family");
        assert_eq!(targets(&[Some(2)]).choose(spi(7), V6), Some("gw3.example.net".parse().unwrap()));
        assert_eq!(Targets::default().choose(spi(7), V4), None);
    }

    #[test]
    fn whoever_has_to_go_goes_where_the_next_slot_leads_away() {
        let there = Some("10.50.0.12".parse().unwrap());

        for number in 1..200 {
            assert_eq!(targets(&[Some(0), None, Some(0), Some(1)]).away(spi(number), V4), there);
        }
        assert_eq!(targets(&[Some(0), None]).away(spi(7), V4), None);
        assert_eq!(Targets::default().away(spi(7), V4), None);
    }

    #[test]
    fn a_node_that_does_not_decide_sends_away_only_those_who_have_to_go() {
        let slots: Vec<_> = (0..SLOTS).map(|_| GatewayIndex::new(1)).collect();
        let members = targets(&[Some(1)]).members;

        let targets = Targets::for_leaving(&slots, members, 1);

        assert_eq!(targets.choose(spi(7), V4), None);
        assert_eq!(targets.away(spi(7), V4), Some("10.50.0.12".parse().unwrap()));
        assert!(targets.leads_away() && !Targets::default().leads_away());
    }

    #[test]
    fn only_requests_to_the_vip_are_redirected_and_no_client_is_sent_back() {
        let there = OnInit::To("10.50.0.12".parse().unwrap());
        let (member, client) = (Some("10.50.0.12".parse().unwrap()), "192.0.2.7".parse().unwrap());
        let targets = targets(&[Some(1)]);

        assert_eq!(targets.on_init(spi(7), V4, client, None), there);
        assert_eq!(targets.on_init(spi(7), V4, client, Some("192.0.2.1".parse().unwrap())), there);
        assert_eq!(targets.on_init(spi(7), "10.50.0.11".parse().unwrap(), client, None), OnInit::Keep);
        assert_eq!(targets.on_init(spi(7), V4, client, member), OnInit::Keep);
        assert_eq!(targets.on_init(spi(7), V4, client, Some(V4)), OnInit::Keep);
    }

    #[test]
    fn clients_that_are_not_accepted_are_kept() {
        let prefix = |family, network: &[u8], mask: &[u8]| {
            let octets = |from: &[u8]| {
                let mut octets = [0; 16];
                octets[..from.len()].copy_from_slice(from);
                octets
            };
            Prefix { family, address: octets(network), mask: octets(mask) }
        };
        let clients =
            vec![prefix(4, &[192, 0, 2, 0], &[255, 255, 255, 0]), prefix(6, &[0xfd, 0x50], &[0xff, 0xff])];
        let targets = targets(&[Some(1)]).only(clients);
        let becomes = |client: &str| targets.on_init(spi(7), V4, client.parse().unwrap(), None);

        assert_eq!(becomes("192.0.2.7"), OnInit::To("10.50.0.12".parse().unwrap()));
        assert_eq!(becomes("192.0.3.7"), OnInit::Keep);
        assert!(targets.accepts("fd50::7".parse().unwrap()) && !targets.accepts("fd51::7".parse().unwrap()));
    }

    #[test]
    fn a_client_whose_slot_leads_nowhere_is_kept_or_refused_as_the_table_says() {
        let kept = targets(&[None]);
        let refused = Targets { empty: EmptySlot::Refuse, ..kept.clone() };
        let client = "192.0.2.7".parse().unwrap();

        assert_eq!(kept.on_init(spi(7), V4, client, None), OnInit::Keep);
        assert_eq!(refused.on_init(spi(7), V4, client, None), OnInit::Refuse);
        assert_eq!(refused.on_init(spi(7), "10.50.0.11".parse().unwrap(), client, None), OnInit::Keep);
        let own = Targets { slots: targets(&[Some(0)]).slots, ..refused };
        assert_eq!(own.on_init(spi(7), V4, client, None), OnInit::Keep);
    }

    #[test]
    fn the_members_addresses_are_known() {
        let targets = targets(&[Some(1)]);

        assert!(targets.has("10.50.0.12".parse().unwrap()) && targets.has("fd50::11".parse().unwrap()));
        assert!(!targets.has(V4));
    }
}
