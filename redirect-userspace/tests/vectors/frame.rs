//! A plain look at frames, with slices and no shared parser; and the decision, judged.

use std::net::IpAddr;

use common::decide::{Verdict, decide};
use common::inet::Address;
use common::maps::Vip;
use common::reason::Reason;
use redirect_userspace::testing::fixtures::World;
use redirect_userspace::testing::packets::Packet;

use crate::judge::judge;

/// A UDP datagram.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) payload: Vec<u8>,
}

impl Datagram {
    /// The one in an Ethernet frame; `None` for fragments and for everything that is not UDP.
    pub(crate) fn of(frame: &[u8]) -> Option<Self> {
        let ip = frame.get(14..)?;
        let (source, destination, udp) = match (frame.get(12..14)?, ip.first()? >> 4) {
            ([0x08, 0x00], 4) => {
                let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
                let is_fragment = ip.get(6)? & 0x3f != 0 || *ip.get(7)? != 0;
                let udp = ip.get(usize::from(ip[0] & 15) * 4..total)?;
                (v4(ip.get(12..16)?), v4(ip.get(16..20)?), (ip[9] == 17 && !is_fragment).then_some(udp)?)
            }
            ([0x86, 0xdd], 6) => {
                let length = usize::from(u16::from_be_bytes([*ip.get(4)?, *ip.get(5)?]));
                let udp = ip.get(40..40 + length)?;
                (v6(&ip[8..24]), v6(&ip[24..40]), (ip[6] == 17).then_some(udp)?)
            }
            _ => return None,
        };
        let header = udp.get(..8)?;
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        Some(Self {
            source,
            destination,
            source_port: u16::from_be_bytes([header[0], header[1]]),
            destination_port: u16::from_be_bytes([header[2], header[3]]),
            payload: udp.get(8..length)?.to_vec(),
        })
    }

    /// The IKE message inside: on port 4500 it stands behind the marker.
    pub(crate) fn message(&self) -> &[u8] {
        match self.payload.get(..4) {
            Some([0, 0, 0, 0]) if self.source_port == 4500 || self.destination_port == 4500 => {
                &self.payload[4..]
            }
            _ => &self.payload,
        }
    }

    /// The same datagram with another IKE message, in a frame.
    pub(crate) fn carrying(&self, message: &[u8]) -> Vec<u8> {
        let marker = self.payload.len() - self.message().len();
        let mut packet = Packet::request(self.source, self.destination);
        packet.source_port = self.source_port;
        packet.destination_port = self.destination_port;
        packet.raw = Some([&self.payload[..marker], message].concat());
        packet.build()
    }
}

/// Every slot leads to `gateway`, and the only VIP is the frame's own destination, if it has one.
pub(crate) fn world(frame: &[u8], gateway: u16) -> World {
    let mut world = World::towards(gateway);
    if let Some(vip) = destination(frame) {
        world.vips = vec![Vip::new(vip)];
        world.control.vips = 1;
    }
    world
}

/// Decides about a frame; judges the reply, or that the frame is untouched.
pub(crate) fn decided(name: &str, frame: &[u8], world: &World) -> Reason {
    let mut packet = frame.to_vec();
    let verdict = decide(packet.as_mut_slice(), world);
    match verdict {
        Verdict::Pass(_) | Verdict::Drop(_) => {
            assert_eq!(packet, frame, "{name}: a frame that is not answered is untouched");
        }
        Verdict::Redirect { gateway, length } => {
            judge(frame, &packet[..length], &world.gateways[gateway as usize])
                .unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        }
    }
    verdict.reason()
}

/// A name, and what belongs to it.
pub(crate) type Named<T> = (String, T);

fn destination(frame: &[u8]) -> Option<Address> {
    match frame.get(12..14)? {
        [0x08, 0x00] => Some(Address::V4(frame.get(30..34)?.try_into().ok()?)),
        [0x86, 0xdd] => Some(Address::V6(frame.get(38..54)?.try_into().ok()?)),
        _ => None,
    }
}

fn v4(octets: &[u8]) -> IpAddr {
    <[u8; 4]>::try_from(octets).unwrap().into()
}

fn v6(octets: &[u8]) -> IpAddr {
    <[u8; 16]>::try_from(octets).unwrap().into()
}
