//! Whether the kernel can carry ESP: SAs of every kind are made and removed again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Context as _;

use super::wire::{self, Limit, State, StateId};
use super::{Terms, explained, gone, refusal};
use crate::crypto::cipher::{Encr, Protection, TrafficKeys};
use crate::crypto::integ::Integ;
use crate::net::xfrm::Orders;
use crate::net::xfrm_link;

/// Tries everything that SAs may need, and leaves nothing behind. What was left by an earlier run is
/// removed first.
///
/// # Errors
///
/// What the kernel cannot do, or this process may not.
pub fn probe(terms: &Terms) -> anyhow::Result<()> {
    super::sweep(terms)?;
    let mut orders = Orders::open().map_err(explained)?;
    let hosts: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    for (host, encapsulation) in hosts.into_iter().zip([None, Some((4_500, 4_500))]) {
        for protection in protections() {
            attempt(&mut orders, terms, host, encapsulation, protection)?;
        }
    }
    let tun = xfrm_link::create(&terms.name, terms.mtu, terms.if_id)?;
    drop(tun);
    xfrm_link::remove(&terms.name, terms.if_id).map(drop)
}

fn attempt(
    orders: &mut Orders,
    terms: &Terms,
    host: IpAddr,
    encapsulation: Option<(u16, u16)>,
    protection: Protection,
) -> anyhow::Result<()> {
    let (encr, integ) = (vec![1; protection.encr_key_length()], vec![2; protection.integ_key_length()]);
    let keys = TrafficKeys::new(protection, &encr, &integ)?;
    let id = StateId { destination: host, spi: SPI };
    let state = State {
        id,
        source: host,
        keys: &keys,
        reqid: 1,
        is_extended: true,
        window: terms.window,
        encapsulation,
        is_inbound: true,
        bytes: Limit::NONE,
        packets: Limit::NONE,
        numbers: None,
        carried: None,
    };
    let made = orders.carry_out(&wire::new_state(&state, terms.if_id, terms.mark));
    made.map_err(|error| refusal(protection, error))?;
    gone(orders.carry_out(&wire::delete_state(id, terms.if_id))).context("removing a test SA")
}

/// Every cipher, and the HMAC that goes with those that need one.
fn protections() -> impl Iterator<Item = Protection> {
    Encr::ALL.into_iter().filter_map(|encr| {
        let integ = (!encr.is_aead()).then_some(Integ::HmacSha256_128);
        Protection::new(encr, integ).ok()
    })
}

/// Below those that IKE gives.
const SPI: u32 = 0xff;
