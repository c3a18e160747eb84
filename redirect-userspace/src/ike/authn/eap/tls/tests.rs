//! Both sides against each other, and against what nobody should send.

use std::sync::Arc;
use std::time::Duration;

use super::frame::{Arrival, Framing, nothing};
use super::*;
use crate::crypto::tls::{Expected, Party, Session, Versions};
use crate::crypto::x509::builder::{Owner, Recipe};
use crate::crypto::x509::{AltName, ChainError, Revocation, TrustStore};
use crate::ike::identity::parse_pattern;
use crate::time::UnixTime;

/// 2030-01-01.
const NOW: UnixTime = UnixTime::from_epoch(Duration::from_secs(1_893_456_000));

struct World {
    root: Owner,
    gateway: Owner,
    alice: Owner,
}

impl World {
    fn new() -> Self {
        let root = Recipe::ca("root").issue(None);
        let gateway = Recipe::gateway("gw.example.net").issue(Some(&root));
        let alice = [AltName::Rfc822("alice@example.net".into())];
        let alice = Recipe::end_entity("CN=Alice", &alice).issue(Some(&root));
        Self { root, gateway, alice }
    }

    /// A client with this certificate, that wants a server of this name.
    fn peer(&self, owner: &Owner, versions: Versions, server: &str, most: usize) -> Peer {
        let patterns = [parse_pattern(server).unwrap()];
        let expected: Expected = Arc::new(move |certificate| is_expected(&patterns, certificate));
        Peer::new(&party(owner, &self.root, versions), expected, NOW, most).unwrap()
    }

    /// A gateway that was told this identity.
    fn server(&self, owner: &Owner, said: &'static str, most: usize) -> Server {
        let expected: Expected =
            Arc::new(|certificate| Agreement::Certified.allows(said.as_bytes(), certificate));
        Server::new(&party(owner, &self.root, Versions::Both), expected, NOW, most).unwrap()
    }

    fn pair(&self, versions: Versions, most: usize) -> (Peer, Server) {
        let peer = self.peer(&self.alice, versions, "gw.example.net", most);
        (peer, self.server(&self.gateway, "alice@example.net", most))
    }
}

fn party(owner: &Owner, root: &Owner, versions: Versions) -> Party {
    let mut trust = TrustStore::new(Revocation::Relaxed);
    trust.add_anchor(root.certificate()).unwrap();
    let credential = Credential { chain: vec![owner.certificate()], key: owner.key() };
    Party::new(Arc::new(credential), Arc::new(trust), versions)
}

/// How a conversation ended on both sides, and how many packets it took. A client that has an end
/// still says its last word, and one that has none hears of the failure.
#[derive(Debug)]
struct Talk {
    peer: Result<Done, EapTlsError>,
    server: Result<Done, EapTlsError>,
    packets: usize,
}

impl Talk {
    fn errors(self) -> (EapTlsError, EapTlsError) {
        (self.peer.unwrap_err(), self.server.unwrap_err())
    }
}

/// Lets both talk. Each packet goes through `change` with its number, the start being 0.
fn talk(mut peer: Peer, mut server: Server, mut change: impl FnMut(usize, &mut Vec<u8>)) -> Talk {
    let mut packet = Server::start();
    let mut packets = 0;
    let mut pass = |packet: &mut Vec<u8>| {
        change(packets, packet);
        packets += 1;
    };
    let (peer_end, server_end) = loop {
        pass(&mut packet);
        let mut done = None;
        packet = match peer.step(&packet) {
            Step::Send(packet) => packet,
            Step::Done(mut end) => {
                let last = end.last.take().unwrap();
                done = Some(end);
                last
            }
            // A client that cannot go on says nothing, and the gateway waits in vain.
            Step::Failed(error) => break (Err(error), Err(EapTlsError::Incomplete)),
        };
        pass(&mut packet);
        let server_end = match server.step(&packet) {
            Step::Send(next) => {
                assert!(done.is_none(), "the client is done before the gateway is");
                packet = next;
                continue;
            }
            Step::Done(done) => Ok(done),
            Step::Failed(error) => Err(error),
        };
        let unexpected = || peer.refused().cloned().unwrap_or(EapTlsError::Incomplete);
        break (done.ok_or_else(unexpected), server_end);
    };
    Talk { peer: peer_end, server: server_end, packets }
}

fn untouched(_number: usize, _packet: &mut Vec<u8>) {}

// test of RFC 5216 §2.1.1 and §2.1.5, RFC 9190 §2.1.1
#[test]
fn both_sides_have_the_same_key_however_small_the_packets_are() {
    let world = World::new();
    for (versions, most, packets) in [
        (Versions::Only12, FRAGMENT, 6),
        (Versions::Only13, FRAGMENT, 6),
        (Versions::Both, 60_000, 6),
        (Versions::Only12, 100, 20),
        (Versions::Only13, 100, 20),
    ] {
        let (peer, server) = world.pair(versions, most);

        let talk = talk(peer, server, untouched);

        let (at_peer, at_server) = (talk.peer.unwrap(), talk.server.unwrap());
        assert_eq!((at_peer.msk.len(), at_server.msk.len()), (64, 64));
        assert_eq!(at_peer.msk, at_server.msk, "{versions:?}");
        assert_eq!(*at_server.certificate, world.alice.certificate());
        assert_eq!(*at_peer.certificate, world.gateway.certificate());
        assert!(
            if most == 100 { talk.packets > packets } else { talk.packets == packets },
            "{}",
            talk.packets
        );
    }
}

#[test]
fn each_conversation_has_a_key_of_its_own() {
    let world = World::new();
    let key = || {
        let (peer, server) = world.pair(Versions::Both, FRAGMENT);
        talk(peer, server, untouched).server.unwrap().msk
    };

    assert_ne!(key(), key());
}

// test of RFC 5216 §2.1.3
#[test]
fn a_client_that_is_refused_is_told_by_an_alert() {
    let world = World::new();
    let expired = Recipe::gateway("alice").valid("20260101000000Z", "20270101000000Z");
    let expired = expired.issue(Some(&world.root));
    let foreign = Recipe::gateway("alice").issue(None);
    let bob = Recipe::gateway("bob.example.net").issue(Some(&world.root));
    for (owner, refused, alert) in [
        (&expired, TlsError::Chain(ChainError::Expired), "CertificateExpired"),
        (&foreign, TlsError::Chain(ChainError::UnknownCa), "UnknownCA"),
        (&bob, TlsError::SomebodyElse("CN=bob.example.net".into()), "AccessDenied"),
    ] {
        for versions in [Versions::Only12, Versions::Only13] {
            for most in [FRAGMENT, 60] {
                let peer = world.peer(owner, versions, "*", FRAGMENT);
                let server = world.server(&world.gateway, "alice", most);

                assert_eq!(
                    talk(peer, server, untouched).errors(),
                    (TlsError::Alert(alert.into()).into(), refused.clone().into()),
                    "{versions:?}"
                );
            }
        }
    }
}

#[test]
fn a_gateway_that_is_refused_is_told_by_an_alert() {
    let world = World::new();
    let expired = Recipe::gateway("gw.example.net").valid("20260101000000Z", "20270101000000Z");
    let expired = expired.issue(Some(&world.root));
    let foreign = Recipe::gateway("gw.example.net").issue(None);
    let other = Recipe::gateway("gw.example.org").issue(Some(&world.root));
    for (owner, refused, alert) in [
        (&expired, TlsError::Chain(ChainError::Expired), "CertificateExpired"),
        (&foreign, TlsError::Chain(ChainError::UnknownCa), "UnknownCA"),
        (&other, TlsError::SomebodyElse("CN=gw.example.org".into()), "AccessDenied"),
    ] {
        for versions in [Versions::Only12, Versions::Only13] {
            let peer = world.peer(&world.alice, versions, "gw.example.net", 100);
            let server = world.server(owner, "alice", FRAGMENT);

            assert_eq!(
                talk(peer, server, untouched).errors(),
                (refused.clone().into(), TlsError::Alert(alert.into()).into()),
                "{versions:?}"
            );
        }
    }
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let world = World::new();
    for versions in [Versions::Only12, Versions::Only13] {
        let mut trust = TrustStore::new(Revocation::Relaxed);
        trust.add_anchor(world.root.certificate()).unwrap();
        let nobody = Credential { chain: Vec::new(), key: world.alice.key() };
        let nobody = Party::new(Arc::new(nobody), Arc::new(trust), versions);
        let peer = Peer::new(&nobody, Arc::new(|_| true), NOW, FRAGMENT).unwrap();

        let talk = talk(peer, world.server(&world.gateway, "", FRAGMENT), untouched);

        assert_eq!(talk.server.unwrap_err(), TlsError::NoCertificate.into(), "{versions:?}");
        assert!(matches!(talk.peer, Err(EapTlsError::Tls(TlsError::Alert(_)))), "{:?}", talk.peer);
    }
}

#[test]
fn whoever_is_cut_off_at_any_octet_is_nobody() {
    let world = World::new();
    for versions in [Versions::Only12, Versions::Only13] {
        for number in 0..6 {
            // As far as the packets go, but not at each octet: that takes minutes.
            for length in (0..8).chain((8..2_000).step_by(41)) {
                let (peer, server) = world.pair(versions, 60_000);
                let mut was_cut = false;

                let talk = talk(peer, server, |at, packet| {
                    if at == number && length < packet.len() {
                        packet.truncate(length);
                        was_cut = true;
                    }
                });

                if !was_cut {
                    assert!(talk.peer.is_ok() && talk.server.is_ok());
                    break;
                }
                assert!(talk.server.is_err(), "{versions:?}: {number} {length}");
                // The client's last word comes after its end.
                assert!(talk.peer.is_err() || number == 5, "{versions:?}: {number} {length}");
            }
        }
    }
}

/// Whether an octet is the type or version of a record, which TLS does not protect everywhere.
fn is_in_head(packet: &[u8], at: usize) -> bool {
    let mut start = 1;
    while let Some(&[_, _, _, high, low]) = packet.get(start..start + 5) {
        if (start..start + 3).contains(&at) {
            return true;
        }
        start += 5 + usize::from(u16::from_be_bytes([high, low]));
    }
    false
}

#[test]
fn one_wrong_octet_is_enough() {
    let world = World::new();
    for versions in [Versions::Only12, Versions::Only13] {
        for number in 1..5 {
            for at in (1..2_000).step_by(37) {
                let (peer, server) = world.pair(versions, 60_000);
                let (mut was_changed, mut is_protected) = (false, true);

                let talk = talk(peer, server, |packet_number, packet| {
                    if packet_number == number
                        && let Some(octet) = packet.get_mut(at)
                    {
                        *octet ^= 1;
                        was_changed = true;
                        is_protected = !is_in_head(packet, at);
                    }
                });

                if !was_changed {
                    break;
                }
                if !is_protected {
                    continue;
                }
                assert!(talk.peer.is_err(), "{versions:?}: {number} {at} {talk:?}");
                // What becomes of its own last word the gateway does not learn here, but in IKE.
                assert!(talk.server.is_err() || number == 4, "{versions:?}: {number} {at} {talk:?}");
            }
        }
    }
}

#[test]
fn what_comes_twice_or_too_late_ends_it() {
    let world = World::new();
    for versions in [Versions::Only12, Versions::Only13] {
        for number in 2..5 {
            let (peer, server) = world.pair(versions, 60_000);
            let mut sent: Vec<Vec<u8>> = Vec::new();

            let talk = talk(peer, server, |at, packet| {
                sent.push(packet.clone());
                if at == number {
                    *packet = sent[at - 2].clone();
                }
            });

            assert!(talk.server.is_err() && talk.peer.is_err(), "{versions:?}: {number}");
        }
    }
}

#[test]
fn the_gateway_does_not_take_silence_for_an_answer() {
    let world = World::new();
    let (_, mut server) = world.pair(Versions::Both, FRAGMENT);
    assert!(matches!(server.step(&nothing()), Step::Failed(EapTlsError::Incomplete)));
    // And nothing brings it back.
    assert!(matches!(server.step(&nothing()), Step::Failed(EapTlsError::Beyond)));
    let (_, mut server) = world.pair(Versions::Both, FRAGMENT);
    assert!(matches!(server.step(&[0x20]), Step::Failed(EapTlsError::Frame(FrameError::Start))));
    let (mut peer, _) = world.pair(Versions::Both, FRAGMENT);
    assert!(matches!(peer.step(&nothing()), Step::Failed(EapTlsError::Incomplete)));
}

/// What the client makes of a gateway that ends TLS 1.3 with these octets of data, if any.
fn ended_with(data: &[u8]) -> Step {
    let world = World::new();
    let mut peer = world.peer(&world.alice, Versions::Only13, "*", 60_000);
    let gateway = party(&world.gateway, &world.root, Versions::Only13);
    let mut session: Session = gateway.server(Arc::new(|_| true), NOW).unwrap();
    let mut framing = Framing::new(60_000);
    let mut packet = Server::start();
    while !session.is_open() {
        match peer.step(&packet) {
            Step::Send(packet) => match framing.receive(&packet).unwrap() {
                Arrival::Message(message) => session.receive(&message).unwrap(),
                other @ (Arrival::Start | Arrival::Reply(_) | Arrival::Nothing) => panic!("{other:?}"),
            },
            other @ (Step::Done(_) | Step::Failed(_)) => panic!("{other:?}"),
        }
        packet = framing.send(session.to_send());
    }
    session.write(data).unwrap();
    let end = session.to_send();
    peer.step(&framing.send(end))
}

// test of RFC 9190 §2.5
#[test]
fn nothing_but_an_octet_of_zero_ends_tls_13() {
    assert!(matches!(ended_with(&[0]), Step::Done(_)));
    for wrong in [&[1][..], &[0, 0], b"hello"] {
        assert!(matches!(ended_with(wrong), Step::Failed(EapTlsError::Commitment)), "{wrong:?}");
    }
    let much = ended_with(&[0; 100]);
    // What is wrong with it shows before anybody looks at it.
    assert!(matches!(much, Step::Send(_)), "{much:?}");
    let nothing = ended_with(&[]);
    assert!(matches!(nothing, Step::Failed(EapTlsError::Incomplete)), "{nothing:?}");
}
