//! A gate in memory, and the requests that come to it.

use common::cookie::{Key, LENGTH, NONCE, Sender};
use common::gate::Gated;
use common::ike::NOTIFY_COOKIE;
use common::inet::Address;
use common::maps::{Gate, Vip};

use super::fixtures::World;
use super::packets::{Packet, Payload};

/// What the gate's maps hold while a packet is decided.
#[derive(Clone, Debug)]
pub struct GateWorld {
    /// What it works by.
    pub gate: Gate,
    /// The addresses that are gated.
    pub addresses: Vec<Vip>,
}

impl GateWorld {
    /// Closed, for the addresses that are the VIPs of the fixtures.
    #[must_use]
    pub fn closed() -> Self {
        let addresses = World::towards(0).vips;
        let mut gate = Gate::new();
        gate.control.armed = 1;
        gate.control.vips = u32::try_from(addresses.len()).unwrap_or(0);
        let key = |number: u64| Key { halves: [number ^ 0x5eed, number.rotate_left(17) ^ 0xfeed], number };
        gate.keys = [key(6), key(7)];
        gate.current = 7;
        Self { gate, addresses }
    }

    /// The key that cookies are made with.
    #[must_use]
    pub const fn current(&self) -> &Key {
        let [even, odd] = &self.gate.keys;
        if self.gate.current & 1 == 0 { even } else { odd }
    }

    /// The cookie for a request; `None` where it has no nonce.
    #[must_use]
    pub fn cookie(key: &Key, request: &Packet) -> Option<[u8; LENGTH]> {
        let nonce = request.payloads.iter().find(|payload| payload.kind == common::ike::PAYLOAD_NONCE)?;
        let nonce: &[u8; NONCE] = nonce.body.first_chunk()?;
        let address = match request.source {
            std::net::IpAddr::V4(address) => Address::V4(address.octets()),
            std::net::IpAddr::V6(address) => Address::V6(address.octets()),
        };
        let source = Vip::new(address).address;
        Some(key.cookie(&Sender { source, spi_i: request.spi_i.to_be_bytes(), nonce: *nonce }))
    }

    /// The request with a cookie in front.
    #[must_use]
    pub fn bringing(mut request: Packet, cookie: &[u8]) -> Packet {
        request.payloads.insert(0, Payload::notify(NOTIFY_COOKIE, cookie));
        request
    }
}

impl Gated for GateWorld {
    fn gate(&self) -> Option<&Gate> {
        Some(&self.gate)
    }

    fn address(&self, index: u32) -> Option<&Vip> {
        self.addresses.get(usize::try_from(index).ok()?)
    }
}
