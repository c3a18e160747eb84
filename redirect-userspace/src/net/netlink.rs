//! Orders and questions to the kernel about interfaces and addresses, answered on the spot.
//!
//! The kernel carries an order out within the call that sends it, so that its answer is there
//! already when we come to read it: several orders cost one call and no turn of an event loop.

#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel has a hundred attributes; we read ten")]

use std::io;
use std::net::IpAddr;

use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, InfoData, InfoKind, InfoXfrm, LinkAttribute, LinkFlags, LinkInfo,
    LinkLayerType, LinkMessage,
};
use rtnetlink::packet_route::rule::RuleMessage;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::{Socket, protocols::NETLINK_ROUTE};

use crate::hsrp::MacAddress;

/// A socket for orders and questions, one at a time.
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// Something the kernel is to do.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) message: RouteNetlinkMessage,
    /// `NLM_F_*` besides those that every order has.
    pub(super) flags: u16,
}

impl Order {
    pub(super) const fn new(message: RouteNetlinkMessage) -> Self {
        Self { message, flags: 0 }
    }
}

/// How an interface is named in a question.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which<'a> {
    Index(u32),
    Name(&'a str),
}

impl Netlink {
    /// A socket in the network namespace of this thread.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        // Lets the kernel pick the addresses of one interface out of all. Without it we do.
        let _since_linux_4_20 = socket.set_netlink_get_strict_chk(true);
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Has orders carried out, each whatever becomes of the others, and tells what became of them.
    ///
    /// # Errors
    ///
    /// The kernel cannot be asked.
    pub(super) fn carry_out(&mut self, orders: Vec<Order>) -> io::Result<Vec<io::Result<()>>> {
        if orders.is_empty() {
            return Ok(Vec::new());
        }
        let first = self.sequence.wrapping_add(1);
        let mut results: Vec<Option<io::Result<()>>> = orders.iter().map(|_| None).collect();
        let mut octets = Vec::new();
        for Order { message, flags } in orders {
            self.append(&mut octets, message, NLM_F_REQUEST | NLM_F_ACK | flags);
        }
        self.socket.send(&octets, 0)?;
        while results.iter().any(Option::is_none) {
            self.receive()?;
            for message in Messages(&self.buffer).flatten() {
                let NetlinkPayload::Error(answer) = message.payload else { continue };
                let place = usize::try_from(message.header.sequence_number.wrapping_sub(first)).ok();
                if let Some(result) = place.and_then(|place| results.get_mut(place)) {
                    *result = Some(match answer.code {
                        None => Ok(()),
                        Some(_) => Err(answer.to_io()),
                    });
                }
            }
        }
        Ok(results.into_iter().flatten().collect())
    }

    /// Has one order carried out.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub(super) fn do_one(&mut self, order: Order) -> io::Result<()> {
        self.carry_out(vec![order])?.pop().unwrap_or(Ok(()))
    }

    /// What the kernel knows of an interface; `None` when there is none.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub(super) fn link(&mut self, which: Which<'_>) -> io::Result<Option<Link>> {
        Ok(self.link_message(which)?.as_ref().map(Link::read))
    }

    /// Packets that have come in through an interface and gone out, and octets; `None` when there is
    /// none.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub(super) fn counts(&mut self, which: Which<'_>) -> io::Result<Option<[u64; 4]>> {
        let message = self.link_message(which)?;
        Ok(message.map(|message| {
            let counts = message.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::Stats64(it) => Some([it.rx_packets, it.tx_packets, it.rx_bytes, it.tx_bytes]),
                _ => None,
            });
            counts.unwrap_or_default()
        }))
    }

    fn link_message(&mut self, which: Which<'_>) -> io::Result<Option<LinkMessage>> {
        let mut question = LinkMessage::default();
        match which {
            Which::Index(index) => question.header.index = index,
            Which::Name(name) => question.attributes.push(LinkAttribute::IfName(name.to_owned())),
        }
        let mut octets = Vec::new();
        let sequence = self.append(&mut octets, RouteNetlinkMessage::GetLink(question), NLM_F_REQUEST);
        self.socket.send(&octets, 0)?;
        loop {
            self.receive()?;
            let Some(message) = answers_to(sequence, &self.buffer).next() else { continue };
            let error = match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                    return Ok(Some(link));
                }
                NetlinkPayload::Error(error) => error.to_io(),
                _ => return Err(io::ErrorKind::InvalidData.into()),
            };
            return match error.raw_os_error() {
                Some(nix::libc::ENODEV) => Ok(None),
                _ => Err(error),
            };
        }
    }

    /// Every interface of the namespace.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub(super) fn links(&mut self) -> io::Result<Vec<Link>> {
        let answers = self.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        Ok(answers
            .iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewLink(link) => Some(Link::read(link)),
                _ => None,
            })
            .collect())
    }

    /// The addresses of one interface, or of all.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub(super) fn addresses(&mut self, interface: Option<u32>) -> io::Result<Vec<Address>> {
        let mut question = AddressMessage::default();
        question.header.index = interface.unwrap_or_default();
        let answers = self.dump(&RouteNetlinkMessage::GetAddress(question))?;
        Ok(answers
            .iter()
            .filter_map(|answer| match answer {
                RouteNetlinkMessage::NewAddress(address) => Address::read(address),
                _ => None,
            })
            .filter(|address| interface.is_none_or(|interface| interface == address.interface))
            .collect())
    }

    /// The rules by which tables of routes are chosen, of both families.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub(super) fn rules(&mut self) -> io::Result<Vec<RuleMessage>> {
        let mut rules = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut question = RuleMessage::default();
            question.header.family = family;
            let answers = self.dump(&RouteNetlinkMessage::GetRule(question))?;
            rules.extend(answers.into_iter().filter_map(|answer| match answer {
                RouteNetlinkMessage::NewRule(rule) => Some(rule),
                _ => None,
            }));
        }
        Ok(rules)
    }

    fn dump(&mut self, question: &RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut attempts = DUMP_ATTEMPTS;
        loop {
            attempts -= 1;
            let (answers, is_torn) = self.dump_once(question.clone())?;
            // Something changed while the kernel was listing: entries may be missing.
            if !is_torn || attempts == 0 {
                return Ok(answers);
            }
        }
    }

    fn dump_once(&mut self, question: RouteNetlinkMessage) -> io::Result<(Vec<RouteNetlinkMessage>, bool)> {
        let mut octets = Vec::new();
        let sequence = self.append(&mut octets, question, NLM_F_REQUEST | NLM_F_DUMP);
        self.socket.send(&octets, 0)?;
        let mut answers = Vec::new();
        let mut is_torn = false;
        loop {
            self.receive()?;
            for message in answers_to(sequence, &self.buffer) {
                is_torn |= message.header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => answers.push(answer),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::Done(_) => return Ok((answers, is_torn)),
                    _ => {}
                }
            }
        }
    }

    fn append(&mut self, octets: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let at = octets.len();
        octets.resize(at + message.buffer_len(), 0);
        if let Some(place) = octets.get_mut(at..) {
            message.serialize(place);
        }
        // The next message starts on a boundary.
        octets.resize(octets.len().next_multiple_of(ALIGNMENT), 0);
        self.sequence
    }

    /// Reads what the kernel sent in one piece.
    fn receive(&mut self) -> io::Result<()> {
        loop {
            self.buffer.clear();
            self.buffer.reserve(BUFFER);
            match self.socket.recv(&mut self.buffer, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map(drop),
            }
        }
    }
}

fn answers_to(sequence: u32, octets: &[u8]) -> impl Iterator<Item = NetlinkMessage<RouteNetlinkMessage>> {
    Messages(octets).flatten().filter(move |answer| answer.header.sequence_number == sequence)
}

/// The messages in what the kernel sent; `None` for one that we cannot read.
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl Iterator for Messages<'_> {
    type Item = Option<NetlinkMessage<RouteNetlinkMessage>>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::try_from(u32::from_ne_bytes(*self.0.first_chunk()?)).ok()?;
        let message = self.0.get(..length).filter(|message| message.len() >= HEADER)?;
        self.0 = self.0.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some(NetlinkMessage::deserialize(message).ok())
    }
}

/// An interface, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) alias: Option<String>,
    pub(super) mac: Option<MacAddress>,
    /// Switched on by the operator.
    pub(super) is_enabled: bool,
    /// Switched on and connected.
    pub(super) is_running: bool,
    pub(super) is_ethernet: bool,
    /// For a macvlan: the interface below it.
    pub(super) macvlan_parent: Option<u32>,
    /// It leads to the kernel's SAs of this number.
    pub(super) xfrm: Option<u32>,
    pub(super) arp: ArpConduct,
    /// Forwards IPv6 packets.
    pub(super) is_router: bool,
}

/// How an interface deals with addresses of other interfaces in ARP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ArpConduct {
    /// `arp_ignore`
    pub(super) ignore: i32,
    /// `arp_announce`
    pub(super) announce: i32,
}

impl Link {
    pub(super) fn read(message: &LinkMessage) -> Self {
        let flags = message.header.flags;
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            alias: None,
            mac: None,
            is_enabled: flags.contains(LinkFlags::Up),
            is_running: flags.contains(LinkFlags::Up | LinkFlags::Running | LinkFlags::LowerUp),
            is_ethernet: message.header.link_layer_type == LinkLayerType::Ether,
            macvlan_parent: None,
            xfrm: None,
            arp: ArpConduct::default(),
            is_router: false,
        };
        let mut parent = None;
        let mut is_macvlan = false;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
                LinkAttribute::Address(octets) => {
                    link.mac = octets.as_slice().try_into().ok().map(MacAddress);
                }
                LinkAttribute::Link(index) => parent = Some(*index),
                LinkAttribute::LinkInfo(infos) => {
                    is_macvlan = infos.iter().any(|info| matches!(info, LinkInfo::Kind(InfoKind::MacVlan)));
                    link.xfrm = infos.iter().find_map(if_id);
                }
                LinkAttribute::AfSpecUnspec(families) => families.iter().for_each(|it| link.read_family(it)),
                _ => {}
            }
        }
        link.macvlan_parent = parent.filter(|_| is_macvlan);
        link
    }

    fn read_family(&mut self, family: &AfSpecUnspec) {
        match family {
            AfSpecUnspec::Inet(parts) => {
                for part in parts {
                    if let AfSpecInet::DevConf(conf) = part {
                        self.arp = ArpConduct { ignore: conf.arp_ignore, announce: conf.arp_announce };
                    }
                }
            }
            AfSpecUnspec::Inet6(parts) => {
                for part in parts {
                    if let AfSpecInet6::DevConf(conf) = part {
                        self.is_router = conf.forwarding != 0;
                    }
                }
            }
            _ => {}
        }
    }
}

/// The number of an xfrm interface.
fn if_id(info: &LinkInfo) -> Option<u32> {
    let LinkInfo::Data(InfoData::Xfrm(parts)) = info else { return None };
    parts.iter().find_map(|part| match part {
        InfoXfrm::IfId(number) => Some(*number),
        _ => None,
    })
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) interface: u32,
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
    /// Who has added it, where that is said.
    pub(super) protocol: u8,
    /// Not the first of its network.
    pub(super) is_secondary: bool,
    /// In use, and not just being tried.
    pub(super) is_usable: bool,
}

impl Address {
    fn read(message: &AddressMessage) -> Option<Self> {
        let (mut local, mut peer, mut protocol) = (None, None, 0);
        let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(address) => local = Some(*address),
                AddressAttribute::Address(address) => peer = Some(*address),
                AddressAttribute::Flags(all) => flags = *all,
                AddressAttribute::Protocol(by) => protocol = u8::from(*by),
                _ => {}
            }
        }
        Some(Self {
            interface: message.header.index,
            // On a point-to-point link the two differ; elsewhere IPv6 has only the other one.
            address: local.or(peer)?,
            prefix: message.header.prefix_len,
            protocol,
            is_secondary: flags.contains(AddressFlags::Secondary),
            is_usable: !flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed),
        })
    }
}

/// The kernel sends no more than 32 KiB at once.
pub(super) const BUFFER: usize = 1 << 16;
/// Octets of `nlmsghdr`.
const HEADER: usize = 16;
const ALIGNMENT: usize = 4;
/// How often a listing is asked for again because something changed meanwhile.
const DUMP_ATTEMPTS: u32 = 5;
