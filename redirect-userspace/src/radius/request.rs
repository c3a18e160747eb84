//! What servers are asked and told.
//!
//! # References
//!
//! `RFC 2865 §5`, `RFC 2866 §5`, `RFC 2869 §5`, `RFC 3579 §3`, `RFC 3162 §2`.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::config::Server;
use super::wire::{AttributeList, Authenticator, Code, Kind, TooLong, write_accounting, write_request};
use crate::time::Now;

/// Where a client is, and where it has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Station {
    /// Our address.
    pub local: SocketAddr,
    /// The client's address: that of its network, or of its NAT.
    pub remote: SocketAddr,
    /// The profile that serves it.
    pub profile: Arc<str>,
}

/// What a client says, for a server to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Whose conversation it belongs to.
    pub conversation: u64,
    /// Who the client says it is.
    pub user: Vec<u8>,
    /// Its EAP packet.
    pub packet: Vec<u8>,
    /// Where it is.
    pub station: Station,
    /// What its session will be called in accounting.
    pub session: Arc<str>,
}

/// What a session has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Octets that came from the client.
    pub octets_in: u64,
    /// Octets that went to it.
    pub octets_out: u64,
    /// Packets that came from it.
    pub packets_in: u64,
    /// Packets that went to it.
    pub packets_out: u64,
}

/// What a record of accounting says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The session has begun.
    Start,
    /// It goes on.
    Interim,
    /// It is over.
    Stop(Cause),
}

/// Why a session is over (`RFC 2866 §5.10`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The client has gone.
    UserRequest,
    /// The client does not answer.
    LostCarrier,
    /// Nothing was carried for too long.
    IdleTimeout,
    /// Its time was over.
    SessionTimeout,
    /// An operator has ended it.
    AdminReset,
    /// The daemon ends.
    AdminReboot,
    /// Something is wrong.
    NasError,
    /// The gateway wants it elsewhere.
    NasRequest,
}

impl Cause {
    const fn to_wire(self) -> u32 {
        match self {
            Self::UserRequest => 1,
            Self::LostCarrier => 2,
            Self::IdleTimeout => 4,
            Self::SessionTimeout => 5,
            Self::AdminReset => 6,
            Self::AdminReboot => 7,
            Self::NasError => 9,
            Self::NasRequest => 10,
        }
    }
}

/// A record of accounting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which session: no two of a gateway have the same name, ever.
    pub session: Arc<str>,
    /// What is said about it.
    pub status: Status,
    /// Whose it is.
    pub user: Arc<[u8]>,
    /// Where the client is.
    pub station: Station,
    /// The address that it has.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// What the server that let it in wants to see again.
    pub class: Arc<[Vec<u8>]>,
    /// How long the session has lasted.
    pub lasted: Duration,
    /// What it has carried.
    pub carried: Use,
}

/// What is to be sent, to whatever server.
#[derive(Clone, Debug)]
pub(super) struct Unsent {
    code: Code,
    attributes: AttributeList,
    /// When what it tells of was, for accounting.
    told_at: Option<Now>,
}

impl Unsent {
    /// An Access-Request.
    pub(super) fn access(question: &Question, state: Option<&[u8]>) -> Self {
        let mut list = AttributeList::default();
        list.push(Kind::USER_NAME, &named(&question.user, &question.station));
        list.push_number(Kind::SERVICE_TYPE, FRAMED);
        list.push_number(Kind::FRAMED_MTU, EAP_MTU);
        station(&mut list, &question.station);
        list.push(Kind::ACCT_SESSION_ID, question.session.as_bytes());
        if let Some(state) = state {
            list.push(Kind::STATE, state);
        }
        list.push_split(Kind::EAP_MESSAGE, &question.packet);
        Self { code: Code::AccessRequest, attributes: list, told_at: None }
    }

    /// An Accounting-Request about something that is so now.
    pub(super) fn accounting(now: Now, record: &Record) -> Self {
        let mut list = AttributeList::default();
        let (status, cause) = match record.status {
            Status::Start => (1, None),
            Status::Stop(cause) => (2, Some(cause)),
            Status::Interim => (3, None),
        };
        list.push_number(Kind::ACCT_STATUS_TYPE, status);
        list.push(Kind::ACCT_SESSION_ID, record.session.as_bytes());
        list.push(Kind::USER_NAME, &named(&record.user, &record.station));
        list.push_number(Kind::SERVICE_TYPE, FRAMED);
        list.push_number(Kind::ACCT_AUTHENTIC, BY_RADIUS);
        station(&mut list, &record.station);
        if let Some(address) = record.ipv4 {
            list.push(Kind::FRAMED_IP_ADDRESS, &address.octets());
        }
        if let Some(address) = record.ipv6 {
            list.push(Kind::FRAMED_IPV6_ADDRESS, &address.octets());
        }
        record.class.iter().for_each(|class| list.push(Kind::CLASS, class));
        let wall = now.wall.since_epoch().as_secs();
        list.push_number(Kind::EVENT_TIMESTAMP, low(wall));
        if record.status != Status::Start {
            carried(&mut list, record);
        }
        if let Some(cause) = cause {
            list.push_number(Kind::ACCT_TERMINATE_CAUSE, cause.to_wire());
        }
        Self { code: Code::AccountingRequest, attributes: list, told_at: Some(now) }
    }

    /// A Status-Server.
    pub(super) fn probe() -> Self {
        Self { code: Code::StatusServer, attributes: AttributeList::default(), told_at: None }
    }

    /// What it is.
    pub(super) const fn code(&self) -> Code {
        self.code
    }

    /// Whether it fits into a packet to this server.
    pub(super) fn fits(&self, server: &Server) -> bool {
        let others = 2 + server.nas_identifier.len() + if self.told_at.is_some() { 6 } else { 0 };
        self.attributes.fits(others)
    }

    /// What is sent to a server now, and what its answer must be given with.
    ///
    /// # Errors
    ///
    /// It does not fit into a packet.
    pub(super) fn write(
        &self,
        now: Now,
        server: &Server,
        identifier: u8,
        random: Authenticator,
    ) -> Result<(Vec<u8>, Authenticator), TooLong> {
        let mut list = AttributeList::default();
        list.push(Kind::NAS_IDENTIFIER, server.nas_identifier.as_bytes());
        list.append(&self.attributes);
        match self.told_at {
            Some(told_at) => {
                list.push_number(Kind::ACCT_DELAY_TIME, low(now.mono.since(told_at.mono).as_secs()));
                write_accounting(identifier, &list, &server.secret)
            }
            None => {
                let octets = write_request((self.code, identifier), &random, &list, &server.secret)?;
                Ok((octets, random))
            }
        }
    }
}

/// A name that can be sent.
// RFC 3579 §2.1: without an identity it is what Calling-Station-Id is.
fn named<'a>(user: &'a [u8], station: &Station) -> Cow<'a, [u8]> {
    if user.is_empty() { text(station.remote).into_bytes().into() } else { user.into() }
}

/// An address in words: without the port, which a NAT may change at any time.
fn text(address: SocketAddr) -> String {
    address.ip().to_canonical().to_string()
}

/// Attributes that say where a client is.
fn station(list: &mut AttributeList, station: &Station) {
    match station.local.ip().to_canonical() {
        IpAddr::V4(address) => list.push(Kind::NAS_IP_ADDRESS, &address.octets()),
        IpAddr::V6(address) => list.push(Kind::NAS_IPV6_ADDRESS, &address.octets()),
    }
    list.push_number(Kind::NAS_PORT_TYPE, VIRTUAL);
    list.push(Kind::NAS_PORT_ID, station.profile.as_bytes());
    list.push(Kind::CALLED_STATION_ID, text(station.local).as_bytes());
    list.push(Kind::CALLING_STATION_ID, text(station.remote).as_bytes());
}

/// How much, and for how long.
fn carried(list: &mut AttributeList, record: &Record) {
    let Use { octets_in, octets_out, packets_in, packets_out } = record.carried;
    list.push_number(Kind::ACCT_SESSION_TIME, low(record.lasted.as_secs()));
    list.push_number(Kind::ACCT_INPUT_OCTETS, low(octets_in));
    list.push_number(Kind::ACCT_OUTPUT_OCTETS, low(octets_out));
    list.push_number(Kind::ACCT_INPUT_PACKETS, low(packets_in));
    list.push_number(Kind::ACCT_OUTPUT_PACKETS, low(packets_out));
    list.push_number(Kind::ACCT_INPUT_GIGAWORDS, low(octets_in >> 32));
    list.push_number(Kind::ACCT_OUTPUT_GIGAWORDS, low(octets_out >> 32));
}

/// The last 32 bits.
fn low(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default()
}

/// Service-Type: IP packets are carried (`RFC 2865 §5.6`).
const FRAMED: u32 = 2;
/// NAS-Port-Type: no port that one could touch (`RFC 2865 §5.41`).
const VIRTUAL: u32 = 5;
/// Acct-Authentic: a server of RADIUS has let the client in (`RFC 2866 §5.6`).
const BY_RADIUS: u32 = 1;
/// Octets of EAP that fit into an IKE message and a packet of RADIUS without fragments of either
/// (`RFC 3579 §2.4`).
const EAP_MTU: u32 = 1_020;
