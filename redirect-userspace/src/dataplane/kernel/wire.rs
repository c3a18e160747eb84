//! What the kernel is told about SAs and policies: structures and attributes in the host's order.
//!
//! Written here and not with a library's types: messages with keys are built in one buffer that
//! never moves and is zeroed afterwards, which types that own their keys in vectors cannot promise.
//!
//! # Picture
//!
//! ```text
//! NEWSA, UPDSA          xfrm_usersa_info (224) │ attributes: algorithms, encapsulation, window, if_id
//! DELSA, GETSA          xfrm_usersa_id (24)    │ if_id
//! UPDPOLICY             xfrm_userpolicy_info (168) │ template, if_id
//! DELPOLICY             xfrm_userpolicy_id (64)    │ if_id
//! attribute             length (2) │ type (2) │ value, up to the next multiple of 4
//! ```
//!
//! # References
//!
//! `include/uapi/linux/xfrm.h`

use std::net::IpAddr;

use crate::crypto::cipher::{Encr, TrafficKeys};
use crate::crypto::integ::Integ;
use crate::net::xfrm::Request;
use crate::secret::Secret;

/// `XFRM_MSG_*`
pub(super) mod kind {
    pub(in crate::dataplane::kernel) const NEW_SA: u16 = 0x10;
    pub(in crate::dataplane::kernel) const DEL_SA: u16 = 0x11;
    pub(in crate::dataplane::kernel) const GET_SA: u16 = 0x12;
    pub(in crate::dataplane::kernel) const NEW_POLICY: u16 = 0x13;
    pub(in crate::dataplane::kernel) const DEL_POLICY: u16 = 0x14;
    pub(in crate::dataplane::kernel) const GET_POLICY: u16 = 0x15;
    pub(in crate::dataplane::kernel) const ACQUIRE: u16 = 0x17;
    pub(in crate::dataplane::kernel) const EXPIRE: u16 = 0x18;
    pub(in crate::dataplane::kernel) const UPD_POLICY: u16 = 0x19;
    pub(in crate::dataplane::kernel) const UPD_SA: u16 = 0x1a;
    pub(in crate::dataplane::kernel) const NEW_AE: u16 = 0x1e;
    pub(in crate::dataplane::kernel) const MAPPING: u16 = 0x26;
}

/// `XFRMA_*`
pub(super) mod attribute {
    pub(in crate::dataplane::kernel) const CRYPT: u16 = 2;
    pub(in crate::dataplane::kernel) const ENCAP: u16 = 4;
    pub(in crate::dataplane::kernel) const TEMPLATE: u16 = 5;
    pub(in crate::dataplane::kernel) const LIFETIME: u16 = 9;
    pub(in crate::dataplane::kernel) const REPLAY: u16 = 10;
    pub(in crate::dataplane::kernel) const REPLAY_THRESHOLD: u16 = 11;
    pub(in crate::dataplane::kernel) const TIMER_THRESHOLD: u16 = 12;
    pub(in crate::dataplane::kernel) const AEAD: u16 = 18;
    pub(in crate::dataplane::kernel) const AUTH_TRUNCATED: u16 = 20;
    pub(in crate::dataplane::kernel) const REPLAY_ESN: u16 = 23;
    pub(in crate::dataplane::kernel) const SET_MARK: u16 = 29;
    pub(in crate::dataplane::kernel) const IF_ID: u16 = 31;
    pub(in crate::dataplane::kernel) const MAPPING_THRESHOLD: u16 = 32;
}

/// Octets of the structures.
pub(super) const SELECTOR: usize = 56;
pub(super) const SA_INFO: usize = 224;
pub(super) const SA_ID: usize = 24;
pub(super) const POLICY_INFO: usize = 168;
pub(super) const POLICY_ID: usize = 64;

/// Longest message: two keys, and a window of [`MAX_WINDOW`] numbers.
const MAX_MESSAGE: usize = 2_048;
/// Widest replay window: the kernel takes more, but nobody needs it.
pub(super) const MAX_WINDOW: u32 = 4_096;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const ESP: u8 = 50;
const MODE_TUNNEL: u8 = 1;
/// `XFRM_STATE_AF_UNSPEC`: inner packets of both families; `XFRM_STATE_ESN`.
const FLAG_ANY_FAMILY: u8 = 32;
const FLAG_ESN: u8 = 128;
/// `UDP_ENCAP_ESPINUDP`
const ENCAP_UDP: u16 = 2;
/// `XFRM_INF`: no limit.
const UNLIMITED: u64 = u64::MAX;
/// Time between two signs of life of an SA that receives (jiffies): from half a second to five.
const ALIVE: u32 = 500;
/// Seconds between two reports that a peer's address has changed.
const MAPPING: u32 = 1;
const NAME: usize = 64;
const ICV_BITS: u32 = 128;

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Direction {
    /// To this machine.
    In = 0,
    /// From this machine or through it.
    Out = 1,
    /// Through this machine.
    Forward = 2,
}

impl Direction {
    pub(super) const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::In),
            1 => Some(Self::Out),
            2 => Some(Self::Forward),
            _ => None,
        }
    }
}

/// Addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Network {
    pub(super) address: IpAddr,
    pub(super) length: u8,
}

/// Numbers that share the bits of a mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PortMask {
    pub(super) value: u16,
    pub(super) mask: u16,
}

/// Packets that a policy is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Selector {
    pub(super) source: Network,
    pub(super) destination: Network,
    /// 0 = any.
    pub(super) protocol: u8,
    pub(super) source_port: PortMask,
    pub(super) destination_port: PortMask,
}

/// What an SA is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct StateId {
    pub(super) destination: IpAddr,
    pub(super) spi: u32,
}

/// What a policy demands of packets, or does with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Template {
    /// 0 = any of the SAs with `reqid`.
    pub(super) spi: u32,
    /// Outer addresses; an unspecified source is any.
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) reqid: u32,
}

/// How much an SA carries: until it is to be replaced, and until it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) soft: u64,
    pub(super) hard: u64,
}

impl Limit {
    pub(super) const NONE: Self = Self { soft: UNLIMITED, hard: UNLIMITED };
}

/// Where an SA's sequence numbers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Which of the last numbers have come: as the kernel has it.
    pub(super) bitmap: Vec<u32>,
}

/// One direction of a Child SA.
#[derive(Clone, Copy, Debug)]
pub(super) struct State<'a> {
    pub(super) id: StateId,
    pub(super) source: IpAddr,
    pub(super) keys: &'a TrafficKeys,
    pub(super) reqid: u32,
    pub(super) is_extended: bool,
    /// Numbers that may come out of order; at most [`MAX_WINDOW`].
    pub(super) window: u32,
    /// Ports of the UDP datagrams around it: the sender's, the receiver's.
    pub(super) encapsulation: Option<(u16, u16)>,
    pub(super) is_inbound: bool,
    pub(super) bytes: Limit,
    pub(super) packets: Limit,
    /// Where it goes on; from the beginning if absent.
    pub(super) numbers: Option<&'a Numbers>,
    /// What it has carried so far: bytes, packets, and when it was made and first used.
    pub(super) carried: Option<[u64; 4]>,
}

/// The octets of a message.
struct Writer(Vec<u8>);

impl Writer {
    fn new() -> Self {
        // Never longer: what is moved would leave a copy behind.
        Self(Vec::with_capacity(MAX_MESSAGE))
    }

    fn put(&mut self, octets: &[u8]) -> &mut Self {
        debug_assert!(self.0.len() + octets.len() <= MAX_MESSAGE, "the message would move");
        self.0.extend_from_slice(octets);
        self
    }

    fn u8(&mut self, number: u8) -> &mut Self {
        self.put(&[number])
    }

    fn u16(&mut self, number: u16) -> &mut Self {
        self.put(&number.to_ne_bytes())
    }

    fn u32(&mut self, number: u32) -> &mut Self {
        self.put(&number.to_ne_bytes())
    }

    fn u64(&mut self, number: u64) -> &mut Self {
        self.put(&number.to_ne_bytes())
    }

    fn zeros(&mut self, count: usize) -> &mut Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    /// `xfrm_address_t`
    fn address(&mut self, address: IpAddr) -> &mut Self {
        match address {
            IpAddr::V4(address) => self.put(&address.octets()).zeros(12),
            IpAddr::V6(address) => self.put(&address.octets()),
        }
    }

    /// `struct xfrm_id`
    fn id(&mut self, id: StateId) -> &mut Self {
        self.address(id.destination).put(&id.spi.to_be_bytes()).u8(ESP).zeros(3)
    }

    /// `struct xfrm_selector`
    fn selector(&mut self, selector: &Selector) -> &mut Self {
        let Selector { source, destination, protocol, source_port, destination_port } = selector;
        self.address(destination.address).address(source.address);
        for port in [destination_port, source_port] {
            self.put(&port.value.to_be_bytes()).put(&port.mask.to_be_bytes());
        }
        self.u16(family(destination.address)).u8(destination.length).u8(source.length);
        self.u8(*protocol).zeros(3 + 4 + 4)
    }

    /// `struct xfrm_lifetime_cfg`: time is IKE's business.
    fn limits(&mut self, bytes: Limit, packets: Limit) -> &mut Self {
        self.u64(bytes.soft).u64(bytes.hard).u64(packets.soft).u64(packets.hard).zeros(32)
    }

    fn attribute(&mut self, kind: u16, write: impl FnOnce(&mut Self)) -> &mut Self {
        let at = self.0.len();
        self.u16(0).u16(kind);
        write(self);
        let length = u16::try_from(self.0.len() - at).unwrap_or(u16::MAX);
        for (place, octet) in self.0.iter_mut().skip(at).zip(length.to_ne_bytes()) {
            *place = octet;
        }
        let padding = self.0.len().next_multiple_of(4) - self.0.len();
        self.zeros(padding)
    }

    /// A key with the name of its algorithm and its length in bits.
    fn algorithm(&mut self, name: &str, key: &[u8], icv_bits: Option<u32>) {
        self.put(name.as_bytes()).zeros(NAME.saturating_sub(name.len()));
        self.u32(u32::try_from(key.len() * 8).unwrap_or(u32::MAX));
        if let Some(bits) = icv_bits {
            self.u32(bits);
        }
        self.put(key);
    }

    fn finish(self, kind: u16) -> Request {
        Request { kind, body: Secret::new(self.0) }
    }
}

/// The number of a family.
const fn family(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

/// The kernel's name of a cipher.
pub(super) const fn cipher_name(encr: Encr) -> &'static str {
    match encr {
        Encr::AesCbc128 | Encr::AesCbc256 => "cbc(aes)",
        Encr::AesGcm128 | Encr::AesGcm256 => "rfc4106(gcm(aes))",
        Encr::ChaCha20Poly1305 => "rfc7539esp(chacha20,poly1305)",
    }
}

/// The kernel's name of an HMAC.
pub(super) const fn integ_name(integ: Integ) -> &'static str {
    match integ {
        Integ::HmacSha1_96(_) => "hmac(sha1)",
        Integ::HmacSha256_128 => "hmac(sha256)",
        Integ::HmacSha384_192 => "hmac(sha384)",
        Integ::HmacSha512_256 => "hmac(sha512)",
    }
}

/// Other ports are around an SA that is there.
pub(super) fn update_state(state: &State<'_>, if_id: u32, set_mark: Option<u32>) -> Request {
    Request { kind: kind::UPD_SA, ..new_state(state, if_id, set_mark) }
}

/// An SA is to be there from now on.
pub(super) fn new_state(state: &State<'_>, if_id: u32, set_mark: Option<u32>) -> Request {
    let mut writer = Writer::new();
    writer.zeros(SELECTOR).id(state.id).address(state.source);
    writer.limits(state.bytes, state.packets);
    // Current lifetime, statistics, and a number that only acquisitions have.
    writer.zeros(32 + 12 + 4);
    writer.u32(state.reqid).u16(family(state.id.destination)).u8(MODE_TUNNEL).u8(0);
    writer.u8(FLAG_ANY_FAMILY | if state.is_extended { FLAG_ESN } else { 0 }).zeros(7);

    let (encr_key, integ_key) = state.keys.expose();
    let protection = state.keys.protection();
    let name = cipher_name(protection.encr());
    match protection.integ() {
        None => {
            writer.attribute(attribute::AEAD, |it| it.algorithm(name, encr_key, Some(ICV_BITS)));
        }
        Some(integ) => {
            let bits = u32::try_from(integ.icv_length() * 8).unwrap_or(u32::MAX);
            let integ = integ_name(integ);
            writer.attribute(attribute::AUTH_TRUNCATED, |it| it.algorithm(integ, integ_key, Some(bits)));
            writer.attribute(attribute::CRYPT, |it| it.algorithm(name, encr_key, None));
        }
    }
    if let Some((from, to)) = state.encapsulation {
        writer.attribute(attribute::ENCAP, |it| {
            it.u16(ENCAP_UDP).put(&from.to_be_bytes()).put(&to.to_be_bytes()).zeros(2 + 16);
        });
    }
    writer.attribute(attribute::REPLAY_ESN, |it| window(it, state));
    if let Some(carried) = state.carried {
        writer.attribute(attribute::LIFETIME, |it| {
            carried.iter().for_each(|number| {
                it.u64(*number);
            });
        });
    }
    // As soon as anybody listens to it the kernel reports every second packet of an SA that does not
    // say otherwise.
    writer.attribute(attribute::REPLAY_THRESHOLD, |it| {
        it.u32(u32::MAX);
    });
    writer.attribute(attribute::TIMER_THRESHOLD, |it| {
        it.u32(if state.is_inbound { ALIVE } else { 0 });
    });
    if !state.is_inbound
        && let Some(mark) = set_mark
    {
        writer.attribute(attribute::SET_MARK, |it| {
            it.u32(mark);
        });
    }
    writer.attribute(attribute::IF_ID, |it| {
        it.u32(if_id);
    });
    if state.is_inbound && state.encapsulation.is_some() {
        writer.attribute(attribute::MAPPING_THRESHOLD, |it| {
            it.u32(MAPPING);
        });
    }
    writer.finish(kind::NEW_SA)
}

/// `struct xfrm_replay_state_esn`, which goes without extended numbers as well.
fn window(writer: &mut Writer, state: &State<'_>) {
    let window = if state.is_inbound { state.window.clamp(1, MAX_WINDOW) } else { 32 };
    let words = window.div_ceil(32);
    let (sent, received) = state.numbers.map_or((0, 0), |numbers| (numbers.sent, numbers.received));
    let (sent, received) = (halves(sent), halves(received));
    writer.u32(words).u32(sent.1).u32(received.1).u32(sent.0).u32(received.0).u32(window);
    let known = state.numbers.map(|numbers| numbers.bitmap.as_slice()).unwrap_or_default();
    let known = known.iter().copied().chain(std::iter::repeat(0));
    for word in known.take(usize::try_from(words).unwrap_or(0)) {
        writer.u32(word);
    }
}

/// The upper and the lower half of a sequence number.
pub(super) fn halves(number: u64) -> (u32, u32) {
    let half = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    (half(number >> 32), half(number))
}

/// An SA is to be gone.
pub(super) fn delete_state(id: StateId, if_id: u32) -> Request {
    state_id(kind::DEL_SA, id, if_id)
}

/// How is an SA?
pub(super) fn get_state(id: StateId, if_id: u32) -> Request {
    state_id(kind::GET_SA, id, if_id)
}

fn state_id(kind: u16, id: StateId, if_id: u32) -> Request {
    let mut writer = Writer::new();
    writer.address(id.destination).put(&id.spi.to_be_bytes()).u16(family(id.destination)).u8(ESP).zeros(1);
    writer.attribute(attribute::IF_ID, |it| {
        it.u32(if_id);
    });
    writer.finish(kind)
}

/// Which SAs are there?
pub(super) fn list_states() -> Request {
    Request { kind: kind::GET_SA, body: Secret::new(Vec::new()) }
}

/// Which policies are there?
pub(super) fn list_policies() -> Request {
    Request { kind: kind::GET_POLICY, body: Secret::new(Vec::new()) }
}

/// A policy is to be there from now on, in the place of one for the same packets.
pub(super) fn update_policy(
    direction: Direction,
    selector: &Selector,
    priority: u32,
    template: &Template,
    if_id: u32,
) -> Request {
    let mut writer = Writer::new();
    writer.selector(selector).limits(Limit::NONE, Limit::NONE).zeros(32);
    writer.u32(priority).u32(0).u8(direction as u8).zeros(7);
    writer.attribute(attribute::TEMPLATE, |it| {
        it.id(StateId { destination: template.destination, spi: template.spi });
        it.u16(family(template.destination)).zeros(2).address(template.source).u32(template.reqid);
        // Any of the algorithms: the SA has those that were agreed upon.
        it.u8(MODE_TUNNEL).zeros(3).u32(u32::MAX).u32(u32::MAX).u32(u32::MAX);
    });
    writer.attribute(attribute::IF_ID, |it| {
        it.u32(if_id);
    });
    writer.finish(kind::UPD_POLICY)
}

/// A policy is to be gone.
pub(super) fn delete_policy(direction: Direction, selector: &Selector, if_id: u32) -> Request {
    let mut writer = Writer::new();
    writer.selector(selector).u32(0).u8(direction as u8).zeros(3);
    writer.attribute(attribute::IF_ID, |it| {
        it.u32(if_id);
    });
    writer.finish(kind::DEL_POLICY)
}
