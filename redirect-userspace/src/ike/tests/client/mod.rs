//! A client that is sent from one gateway to another.
//!
//! Letters with numbers name cases of the conformance table (`RDC-04`).

mod auth;
mod dial;
mod hybrid;
mod init;
mod limits;
mod live;
mod loss;
mod ticket;
mod two;
mod watch;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::crypto::Provider;
use crate::gateway::{GatewayAddress, GatewayAddresses};
use crate::ike::client::{LINGERING, LOCATING};
use crate::ike::config::{Connection, LocalProof, RemoteProof, Start, Upkeep};
use crate::ike::wire::{
    Direction, ExchangeType, Header, Message, MessageId, Notify, NotifyContent, NotifyType, OriginalRole,
    Payload, PayloadType, Version,
};
use crate::ike::{Command, Event, Failure, Redirect, RedirectRefusal, SaSnapshot, Selection};
use crate::secret::Secret;
use crate::testing::pair::{Plan, name, prefix, profile};
use crate::testing::plain::Plain;
use crate::testing::world::{CLIENT, Packet, World, at};

/// How long one remote is tried.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than the client ever waits between two rounds.
const ROUND: Duration = Duration::from_secs(61);

/// All clients of a gateway are to go elsewhere.
fn elsewhere(to: &str, grace: Duration) -> Command {
    let to = GatewayAddresses::new([to.parse().unwrap()]).ok();
    Command::Redirect(Redirect { selection: Selection::All, percent: 100, to, grace })
}

/// A client that follows redirects, with a connection that is kept up, and a gateway.
fn plan() -> Plan {
    let mut plan = Plan::shared_key();
    plan.client.follows_redirects = true;
    plan.connection(|connection| {
        connection.upkeep = Upkeep { start: Start::Auto, patience: Some(PATIENCE) };
    });
    plan
}

/// The same, with messages that can be read and made up.
fn open() -> Plan {
    Plan { provider: Provider::Null, ..plan() }
}

/// The client and so many gateways.
fn world(gateways: usize) -> World {
    World::new(plan(), gateways)
}

/// A second connection of the same client, by other credentials, with the same list.
fn twin() -> Connection {
    let key = || Secret::from(&b"a shared key of some length"[..]);
    let (ours, theirs) = (LocalProof::SharedKey(key()), RemoteProof::SharedKey(key()));
    let mut twin = profile("bob@example.net", "vpn.example.net", ours, theirs);
    twin.name = name("twin");
    twin.remote_ts = vec![prefix("10.1.0.0/16")];
    Connection {
        profile: Arc::new(twin),
        remotes: vec![(at(1), 500).into()],
        wants_ipv4: true,
        wants_ipv6: false,
        upkeep: Upkeep::default(),
    }
}

/// Lets a client with two connections bring both up.
fn both(mut plan: Plan, lead: impl FnOnce(&mut World)) -> World {
    plan.connection(|connection| connection.remotes = vec![(at(1), 500).into()]);
    plan.client.connections.push(Arc::new(twin()));
    let mut world = World::new(plan, 2);
    lead(&mut world);
    world.initiate();
    world.settle();
    let twin = Command::Initiate { connection: name("twin"), local: at(CLIENT) };
    world.command(CLIENT, twin);
    world.settle();
    world
}

/// An answer to an IKE_SA_INIT request that has nothing but a REDIRECT with this data.
fn answer(request: &Packet, data: &[u8]) -> Packet {
    let message = Message::decode(&request.octets).unwrap();
    let header = Header {
        spi_i: message.header.spi_i,
        spi_r: None,
        version: Version::V2,
        exchange: ExchangeType::IkeSaInit,
        sender: OriginalRole::Responder,
        direction: Direction::Response,
        message_id: MessageId::FIRST,
    };
    let notify = Notify { kind: NotifyType::Redirect, protocol: 0, spi: &[], data };
    let plain = Plain::new(header, |chain| chain.push(&Payload::Notify(notify)));
    let path = crate::ike::Path { local: request.path.remote, remote: request.path.local };
    Packet { path, octets: Plain { is_protected: false, ..plain }.seal() }
}

/// The nonce of a request.
fn nonce(request: &Packet) -> Vec<u8> {
    let message = Message::decode(&request.octets).unwrap();
    message.payloads.find(PayloadType::Nonce).unwrap().body.to_vec()
}

/// The data of a REDIRECT.
fn identity(to: &str) -> Vec<u8> {
    match to.parse().unwrap() {
        GatewayAddress::Ipv4(address) => [&[1, 4][..], &address.octets()].concat(),
        GatewayAddress::Ipv6(address) => [&[2, 16][..], &address.octets()].concat(),
        GatewayAddress::Fqdn(name) => {
            let name = name.as_str().as_bytes();
            [&[3, u8::try_from(name.len()).unwrap()][..], name].concat()
        }
    }
}

/// A true answer to a request: go there.
fn redirect(request: &Packet, to: &str) -> Packet {
    answer(request, &[identity(to), nonce(request)].concat())
}

/// Where a request says that it comes from.
fn redirected_from(request: &Packet) -> Option<IpAddr> {
    let message = Message::decode(&request.octets).unwrap();
    let notify = message.payloads.notify(NotifyType::RedirectedFrom)?;
    let NotifyContent::RedirectedFrom(from) = notify.content().unwrap() else { panic!("{notify:?}") };
    Some(from)
}

/// The IKE_SA_INIT requests to a gateway so far, repetitions not counted.
fn begun(world: &World, who: usize) -> Vec<Packet> {
    let mut found: Vec<Packet> = Vec::new();
    for packet in &world.sent {
        let message = Message::decode(&packet.octets).unwrap();
        let is_request = message.header.exchange == ExchangeType::IkeSaInit
            && message.header.direction == Direction::Request;
        if is_request && packet.path.local.ip() == at(who) && !found.contains(packet) {
            found.push(packet.clone());
        }
    }
    found
}

/// Where the client has gone, in order.
fn followed(events: &[Event]) -> Vec<(String, ExchangeType)> {
    let follows = |event: &Event| {
        if let Event::RedirectFollowed { to, exchange, .. } = event {
            Some((to.to_string(), *exchange))
        } else {
            None
        }
    };
    events.iter().filter_map(follows).collect()
}

/// Why it has not gone elsewhere.
fn refused(events: &[Event]) -> Vec<RedirectRefusal> {
    let refusal = |event: &Event| {
        if let Event::RedirectRefused { reason, .. } = event { Some(*reason) } else { None }
    };
    events.iter().filter_map(refusal).collect()
}

/// How often it has refused to, and why.
fn count(world: &mut World, reason: RedirectRefusal) -> u64 {
    world.client().endpoint.counters().redirects_refused[reason.position()]
}

/// Why connections have not come up.
fn failures(events: &[Event]) -> Vec<Failure> {
    super::failures(events)
}

/// The client's one SA.
fn sole(world: &World) -> SaSnapshot {
    let mut sas = world.sas(CLIENT);
    assert_eq!(sas.len(), 1, "one SA: {sas:?}");
    sas.remove(0)
}
