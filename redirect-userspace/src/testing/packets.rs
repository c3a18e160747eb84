//! Builders for Ethernet..IKE test packets.
//!
//! A builder starts from a well-formed request and lets a test change one thing. Lengths and
//! checksums are computed last, so that a test which wants a wrong one says so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use common::ike::{
    NOTIFY_REDIRECT_SUPPORTED, NOTIFY_REDIRECTED_FROM, PAYLOAD_KE, PAYLOAD_NONCE, PAYLOAD_NOTIFY, PAYLOAD_SA,
    PAYLOAD_VENDOR,
};

/// MAC address of the client.
pub const CLIENT_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x07];
/// MAC address the VIP is reached at: HSRP version 1, group 1.
pub const VIP_MAC: [u8; 6] = [0x00, 0x00, 0x0c, 0x07, 0xac, 0x01];

/// One payload of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Payload type.
    pub kind: u8,
    /// The octet with the critical bit.
    pub critical: u8,
    /// What follows the generic header.
    pub body: Vec<u8>,
    /// A length field other than the true one.
    pub length: Option<u16>,
}

impl Payload {
    /// A payload with the critical bit clear and a true length.
    #[must_use]
    pub fn new(kind: u8, body: impl Into<Vec<u8>>) -> Self {
        Self { kind, critical: 0, body: body.into(), length: None }
    }

    /// An SA payload: AES-GCM-16-256, PRF HMAC-SHA2-256, X25519.
    #[must_use]
    pub fn sa() -> Self {
        Self::new(
            PAYLOAD_SA,
            [
                [0, 0, 0, 0x24, 1, 1, 0, 3].as_slice(),
                &[3, 0, 0, 0x0c, 1, 0, 0, 0x14, 0x80, 0x0e, 1, 0],
                &[3, 0, 0, 8, 2, 0, 0, 5],
                &[0, 0, 0, 8, 4, 0, 0, 0x1f],
            ]
            .concat(),
        )
    }

    /// The same, after a proposal with ML-KEM-768 as an additional key exchange (RFC 9370).
    #[must_use]
    pub fn hybrid_sa() -> Self {
        let classic = Self::sa().body;
        let hybrid = [
            [2, 0, 0, 0x2c, 1, 1, 0, 4].as_slice(),
            &[3, 0, 0, 0x0c, 1, 0, 0, 0x14, 0x80, 0x0e, 1, 0],
            &[3, 0, 0, 8, 2, 0, 0, 5],
            &[3, 0, 0, 8, 4, 0, 0, 0x1f],
            &[0, 0, 0, 8, 6, 0, 0, 0x24],
        ]
        .concat();
        // The classic one is the second one then.
        let second = classic.iter().enumerate().map(|(at, octet)| if at == 4 { 2 } else { *octet });
        Self::new(PAYLOAD_SA, hybrid.into_iter().chain(second).collect::<Vec<u8>>())
    }

    /// What [`Self::strongswan`] is with additional key exchanges and a key from before.
    #[must_use]
    pub fn hybrid() -> Vec<Self> {
        let mut payloads = Self::strongswan();
        if let Some(first) = payloads.first_mut() {
            *first = Self::hybrid_sa();
        }
        let end = payloads.len().saturating_sub(1);
        payloads.splice(end..end, [Self::notify(16438, &[]), Self::notify(16435, &[])]);
        payloads
    }

    /// A KE payload for `group` with `octets` of public value.
    #[must_use]
    pub fn ke(group: u16, octets: usize) -> Self {
        let mut body = group.to_be_bytes().to_vec();
        body.extend([0, 0]);
        body.extend((0..octets).map(|i| 0x40_u8.wrapping_add(i.to_le_bytes()[0])));
        Self::new(PAYLOAD_KE, body)
    }

    /// A nonce of `octets` octets: 0, 1, 2, …
    #[must_use]
    pub fn nonce(octets: usize) -> Self {
        Self::new(PAYLOAD_NONCE, (0..octets).map(|i| i.to_le_bytes()[0]).collect::<Vec<u8>>())
    }

    /// A notify without SPI.
    #[must_use]
    pub fn notify(kind: u16, data: &[u8]) -> Self {
        let [high, low] = kind.to_be_bytes();
        Self::new(PAYLOAD_NOTIFY, [&[0, 0, high, low], data].concat())
    }

    /// REDIRECT_SUPPORTED.
    #[must_use]
    pub fn redirect_supported() -> Self {
        Self::notify(NOTIFY_REDIRECT_SUPPORTED, &[])
    }

    /// REDIRECTED_FROM an address.
    #[must_use]
    pub fn redirected_from(from: IpAddr) -> Self {
        match from {
            IpAddr::V4(from) => {
                Self::notify(NOTIFY_REDIRECTED_FROM, &[[1, 4].as_slice(), &from.octets()].concat())
            }
            IpAddr::V6(from) => {
                Self::notify(NOTIFY_REDIRECTED_FROM, &[[2, 16].as_slice(), &from.octets()].concat())
            }
        }
    }

    /// A vendor ID.
    #[must_use]
    pub fn vendor(id: &[u8]) -> Self {
        Self::new(PAYLOAD_VENDOR, id)
    }

    /// The payloads of strongSwan 5.9.8's first request, in its order.
    #[must_use]
    pub fn strongswan() -> Vec<Self> {
        vec![
            Self::sa(),
            Self::ke(31, 32),
            Self::nonce(32),
            Self::notify(16388, &[0x11; 20]),
            Self::notify(16389, &[0x22; 20]),
            Self::notify(16430, &[]),
            Self::notify(16431, &[0, 2, 0, 3, 0, 4, 0, 5]),
            Self::redirect_supported(),
        ]
    }

    /// The payloads of Apple's clients, whose first notify is REDIRECT_SUPPORTED.
    #[must_use]
    pub fn apple() -> Vec<Self> {
        vec![
            Self::sa(),
            Self::ke(14, 256),
            Self::nonce(16),
            Self::redirect_supported(),
            Self::notify(16388, &[0x11; 20]),
            Self::notify(16389, &[0x22; 20]),
            Self::notify(16430, &[]),
        ]
    }

    /// The payloads of Windows' built-in client: no REDIRECT_SUPPORTED, four vendor IDs.
    #[must_use]
    pub fn windows() -> Vec<Self> {
        vec![
            Self::sa(),
            Self::ke(2, 128),
            Self::nonce(48),
            Self::notify(16388, &[0x11; 20]),
            Self::notify(16389, &[0x22; 20]),
            Self::vendor(&[1; 20]),
            Self::vendor(&[2; 16]),
            Self::vendor(&[3; 16]),
            Self::vendor(&[4; 20]),
        ]
    }
}

/// A frame to be built. Fields are public: a test changes what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Destination MAC address.
    pub destination_mac: [u8; 6],
    /// Source MAC address.
    pub source_mac: [u8; 6],
    /// VLAN tags: EtherType and control field.
    pub vlans: Vec<(u16, u16)>,
    /// An EtherType other than the true one.
    pub ethertype: Option<u16>,
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// IPv4 flags and fragment offset.
    pub fragment: u16,
    /// IPv4 options, a multiple of four octets.
    pub options: Vec<u8>,
    /// An IP protocol other than UDP.
    pub protocol: u8,
    /// Added to the IP total (payload) length.
    pub ip_length_error: i16,
    /// XORed into the IPv4 header checksum.
    pub ip_checksum_error: u16,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Added to the UDP length.
    pub udp_length_error: i16,
    /// Send UDP checksum 0.
    pub no_udp_checksum: bool,
    /// Non-ESP marker, if any.
    pub marker: Option<[u8; 4]>,
    /// UDP payload instead of an IKE message.
    pub raw: Option<Vec<u8>>,
    /// Initiator's SPI.
    pub spi_i: u64,
    /// Responder's SPI.
    pub spi_r: u64,
    /// IKE version octet.
    pub version: u8,
    /// Exchange type.
    pub exchange: u8,
    /// Flags.
    pub flags: u8,
    /// Message ID.
    pub message_id: u32,
    /// Added to the IKE length.
    pub ike_length_error: i32,
    /// Payload chain.
    pub payloads: Vec<Payload>,
    /// A next-payload value at the end of the chain other than 0.
    pub last_next_payload: u8,
    /// Octets after the last payload, inside the message.
    pub trailing: Vec<u8>,
    /// Octets after the IP packet (Ethernet padding).
    pub padding: Vec<u8>,
}

impl Packet {
    /// strongSwan's first request from `source` to `destination`, port 500.
    #[must_use]
    pub fn request(source: impl Into<IpAddr>, destination: impl Into<IpAddr>) -> Self {
        Self {
            destination_mac: VIP_MAC,
            source_mac: CLIENT_MAC,
            vlans: Vec::new(),
            ethertype: None,
            source: source.into(),
            destination: destination.into(),
            fragment: 0x4000,
            options: Vec::new(),
            protocol: 17,
            ip_length_error: 0,
            ip_checksum_error: 0,
            source_port: 500,
            destination_port: 500,
            udp_length_error: 0,
            no_udp_checksum: false,
            marker: None,
            raw: None,
            spi_i: 0x1122_3344_5566_7788,
            spi_r: 0,
            version: 0x20,
            exchange: 34,
            flags: 0x08,
            message_id: 0,
            ike_length_error: 0,
            payloads: Payload::strongswan(),
            last_next_payload: 0,
            trailing: Vec::new(),
            padding: Vec::new(),
        }
    }

    /// The same request behind the non-ESP marker on port 4500.
    #[must_use]
    pub fn nat_t(mut self) -> Self {
        self.source_port = 4500;
        self.destination_port = 4500;
        self.marker = Some([0; 4]);
        self
    }

    /// With other payloads.
    #[must_use]
    pub fn with_payloads(mut self, payloads: Vec<Payload>) -> Self {
        self.payloads = payloads;
        self
    }

    /// The IKE message.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let mut chain = Vec::new();
        for (index, payload) in self.payloads.iter().enumerate() {
            let next = self.payloads.get(index + 1).map_or(self.last_next_payload, |next| next.kind);
            let length = payload.length.unwrap_or_else(|| clip(payload.body.len() + 4));
            chain.extend([next, payload.critical]);
            chain.extend(length.to_be_bytes());
            chain.extend(&payload.body);
        }
        chain.extend(&self.trailing);
        let first = self.payloads.first().map_or(self.last_next_payload, |first| first.kind);
        let length = i32::from(clip(chain.len() + 28)) + self.ike_length_error;
        let mut message = Vec::with_capacity(chain.len() + 28);
        message.extend(self.spi_i.to_be_bytes());
        message.extend(self.spi_r.to_be_bytes());
        message.extend([first, self.version, self.exchange, self.flags]);
        message.extend(self.message_id.to_be_bytes());
        message.extend(length.to_be_bytes());
        message.extend(chain);
        message
    }

    /// The frame.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let mut payload = self.marker.map(Vec::from).unwrap_or_default();
        payload.extend(self.raw.clone().unwrap_or_else(|| self.message()));
        let udp = self.udp(&payload);
        let mut frame = Vec::new();
        frame.extend(self.destination_mac);
        frame.extend(self.source_mac);
        for (ethertype, control) in &self.vlans {
            frame.extend(ethertype.to_be_bytes());
            frame.extend(control.to_be_bytes());
        }
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend(self.ethertype.unwrap_or(0x0800).to_be_bytes());
                frame.extend(self.ipv4(source, destination, udp.len()));
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend(self.ethertype.unwrap_or(0x86dd).to_be_bytes());
                frame.extend(self.ipv6(source, destination, udp.len()));
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
        }
        frame.extend(udp);
        frame.extend(&self.padding);
        frame
    }

    fn ipv4(&self, source: Ipv4Addr, destination: Ipv4Addr, payload: usize) -> Vec<u8> {
        let words = 5 + self.options.len() / 4;
        let total = clip(payload + words * 4).wrapping_add_signed(self.ip_length_error);
        let mut header = vec![0x40 | words.to_le_bytes()[0], 0];
        header.extend(total.to_be_bytes());
        header.extend([0x12, 0x34]);
        header.extend(self.fragment.to_be_bytes());
        header.extend([63, self.protocol, 0, 0]);
        header.extend(source.octets());
        header.extend(destination.octets());
        header.extend(&self.options);
        let checksum = !sum(&header) ^ self.ip_checksum_error;
        if let Some(field) = header.get_mut(10..12) {
            field.copy_from_slice(&checksum.to_be_bytes());
        }
        header
    }

    fn ipv6(&self, source: Ipv6Addr, destination: Ipv6Addr, payload: usize) -> Vec<u8> {
        let length = clip(payload).wrapping_add_signed(self.ip_length_error);
        let mut header = vec![0x60, 0, 0, 0];
        header.extend(length.to_be_bytes());
        header.extend([self.protocol, 63]);
        header.extend(source.octets());
        header.extend(destination.octets());
        header
    }

    fn udp(&self, payload: &[u8]) -> Vec<u8> {
        let length = clip(payload.len() + 8).wrapping_add_signed(self.udp_length_error);
        let mut udp = Vec::with_capacity(payload.len() + 8);
        udp.extend(self.source_port.to_be_bytes());
        udp.extend(self.destination_port.to_be_bytes());
        udp.extend(length.to_be_bytes());
        udp.extend([0, 0]);
        udp.extend(payload);
        if !self.no_udp_checksum {
            let checksum = udp_checksum(self.source, self.destination, &udp);
            if let Some(field) = udp.get_mut(6..8) {
                field.copy_from_slice(&checksum.to_be_bytes());
            }
        }
        udp
    }
}

/// The Internet checksum of `octets` before complementing, in the plainest way.
#[must_use]
pub fn sum(octets: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in octets.chunks(2) {
        let high = pair.first().copied().unwrap_or(0);
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([high, low]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum.to_be_bytes().last_chunk().copied().map_or(0, u16::from_be_bytes)
}

/// The checksum field of a UDP datagram whose own field holds 0 (`RFC 768`, `RFC 8200 §8.1`).
#[must_use]
pub fn udp_checksum(source: IpAddr, destination: IpAddr, udp: &[u8]) -> u16 {
    let mut pseudo = Vec::new();
    for address in [source, destination] {
        match address {
            IpAddr::V4(address) => pseudo.extend(address.octets()),
            IpAddr::V6(address) => pseudo.extend(address.octets()),
        }
    }
    pseudo.extend([0, 17]);
    pseudo.extend(clip(udp.len()).to_be_bytes());
    pseudo.extend(udp);
    match !sum(&pseudo) {
        0 => 0xffff,
        checksum => checksum,
    }
}

fn clip(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}
