//! IKE_AUTH: who is believed, who is not, and what both sides know afterwards.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::crypto::x509::builder::{KeyKind, Owner, Recipe};
use crate::crypto::x509::{AltName, Revocation, TrustStore};
use crate::ike::config::{Credential, LocalProof, RemoteProof};
use crate::ike::wire::{Auth, Id, Notify, NotifyContent, NotifyType, Payload, PayloadType, RawPayload};
use crate::ike::{CloseReason, Discard, Selection};
use crate::secret::Secret;
use crate::testing::pair::{name, prefix, profile};

fn key(text: &str) -> (LocalProof, RemoteProof) {
    let secret = Secret::from(text.as_bytes());
    (LocalProof::SharedKey(secret.clone()), RemoteProof::SharedKey(secret))
}

fn credential(owner: &Owner) -> LocalProof {
    LocalProof::Certificate(Arc::new(Credential { chain: vec![owner.certificate()], key: owner.key() }))
}

fn believes(root: &Owner) -> RemoteProof {
    let mut store = TrustStore::new(Revocation::Relaxed);
    store.add_anchor(root.certificate()).unwrap();
    RemoteProof::Certificate(Arc::new(store))
}

/// Both prove themselves by certificates with keys of this kind.
pub(super) fn certificates(kind: KeyKind) -> Plan {
    let root = Recipe::ca("root").issue(None);
    let mail = AltName::Rfc822("alice@example.net".into());
    let alice = Recipe::end_entity("CN=alice", &[mail]).key(kind).issue(Some(&root));
    let gateway = Recipe::gateway("vpn.example.net").key(kind).issue(Some(&root));
    Plan::with(
        profile("alice@example.net", "vpn.example.net", credential(&alice), believes(&root)),
        profile("vpn.example.net", "*@example.net", credential(&gateway), believes(&root)),
    )
}

/// The client's IKE_AUTH request, which has not arrived.
fn introduced(plan: Plan) -> (Pair, Flying) {
    let mut pair = plan.build();
    pair.initiate();
    pair.deliver();
    pair.deliver();
    let request = pair.take(End::Gateway);
    (pair, request)
}

/// What the gateway answers to an IKE_AUTH request that was changed under way.
fn answer_to(change: impl FnOnce(&mut Vec<Payload<'_>>)) -> (Pair, Plain) {
    let (mut pair, request) = introduced(open());
    let octets = Plain::open(&request.octets).with(change).seal();
    pair.put(&Flying { octets, ..request });
    let answer = pair.take(End::Client);
    assert!(pair.wire.is_empty());
    (pair, Plain::open(&answer.octets))
}

/// The gateway refuses with one notify, protected, and keeps nothing in the end.
fn assert_refused((mut pair, answer): (Pair, Plain), expected: &NotifyContent<'_>) {
    assert!(answer.is_protected);
    let [Payload::Notify(notify)] = &answer.payloads()[..] else { panic!("{answer:?}") };
    assert_eq!(notify.content().as_ref(), Ok(expected));
    assert_eq!(pair.gateway.endpoint.counts().established, 0);
    assert!(pair.gateway.plane.is_empty());
    assert_eq!(pair.gateway.pools.held(), 0);
    pair.pass(Duration::from_secs(31));
    assert_eq!(pair.gateway.endpoint.counts().half_open, 0);
}

const REFUSED: NotifyContent<'static> = NotifyContent::Plain(NotifyType::AuthenticationFailed);
const SYNTAX: NotifyContent<'static> = NotifyContent::Plain(NotifyType::InvalidSyntax);

// test of RFC 7427 §3, RFC 8420 §2
#[test]
fn both_may_prove_themselves_by_certificates_with_keys_of_every_kind() {
    for kind in [KeyKind::P256, KeyKind::Rsa, KeyKind::Ed25519([7; 32])] {
        let mut pair = certificates(kind).build();

        pair.establish();

        assert_eq!(&*sole(&pair, End::Client).remote_id, "vpn.example.net", "{kind:?}");
        assert_eq!(&*sole(&pair, End::Gateway).remote_id, "alice@example.net", "{kind:?}");
        assert_eq!(sole(&pair, End::Client).children.len(), 1);
    }
}

#[test]
fn one_may_have_a_certificate_and_the_other_a_key() {
    let root = Recipe::ca("root").issue(None);
    let gateway = Recipe::gateway("vpn.example.net").issue(Some(&root));
    let (local, remote) = key("a key");
    let plan = Plan::with(
        profile("alice@example.net", "vpn.example.net", local, believes(&root)),
        profile("vpn.example.net", "*", credential(&gateway), remote),
    );
    let mut pair = plan.build();

    pair.establish();

    assert_eq!(sole(&pair, End::Client).children.len(), 1);
}

// test of RFC 7383 §2.5
// FRG-01 FRG-03 FRG-13
#[test]
fn certificates_go_in_fragments_that_fit_both_ways() {
    for size in [576, 700, 1_280] {
        let mut plan = certificates(KeyKind::Rsa);
        for settings in [&mut plan.client, &mut plan.gateway] {
            settings.fragment_size = crate::ike::config::FragmentSize::new(size).unwrap();
        }
        let mut pair = plan.build();

        pair.establish();

        let is_of = |flying: &Flying, to| {
            let header = Header::decode(&flying.octets).unwrap();
            flying.to == to && header.exchange == ExchangeType::IkeAuth
        };
        for end in ENDS {
            let parts: Vec<&Flying> = pair.sent.iter().filter(|flying| is_of(flying, end)).collect();
            assert!(parts.len() > 1 || size == 1_280, "{} for {end:?}", parts.len());
            assert!(parts.iter().all(|part| part.octets.len() + 28 <= usize::from(size)));
        }
        assert_eq!(pair.sent.iter().filter(|flying| flying.octets[18] == 34).count(), 2, "never IKE_SA_INIT");
    }
}

// FRG-02
#[test]
fn a_peer_that_does_not_take_fragments_gets_none() {
    let mut plan = certificates(KeyKind::P256);
    plan.client.fragment_size = crate::ike::config::FragmentSize::LEAST;
    plan.gateway.fragment_size = crate::ike::config::FragmentSize::LEAST;
    let mut pair = plan.build();
    pair.initiate();
    pair.deliver();
    let answer = pair.take(End::Client);
    let plain = Plain::open(&answer.octets).with(|payloads| {
        payloads.retain(|payload| {
            !matches!(payload, Payload::Notify(notify) if notify.kind == NotifyType::FragmentationSupported)
        });
    });

    pair.put(&Flying { octets: plain.seal(), ..answer });

    assert_eq!(pair.wire.len(), 1, "one long message");
    assert!(pair.wire[0].octets.len() > 600);
}

/// The IKE_AUTH request in fragments of 60 octets.
fn in_fragments() -> (Pair, Plain, Vec<Flying>) {
    let (pair, request) = introduced(open());
    let plain = Plain::open(&request.octets);
    let parts = plain.fragments(60).into_iter();
    let parts = parts.map(|octets| Flying { octets, ..request.clone() }).collect();
    (pair, plain, parts)
}

// test of RFC 7383 §2.6
// FRG-04 FRG-05 FRG-06 FRG-07 FRG-09
#[test]
fn fragments_that_can_not_be_are_dropped_and_more_of_them_begin_anew() {
    let (mut pair, plain, parts) = in_fragments();
    assert!(parts.len() >= 3);
    let numbered = |number: u16, total: u16| {
        let mut flying = parts[0].clone();
        flying.octets[32..34].copy_from_slice(&number.to_be_bytes());
        flying.octets[34..36].copy_from_slice(&total.to_be_bytes());
        flying
    };
    for (number, total) in [(0, 3), (1, 0), (0, 0), (4, 3)] {
        pair.put(&numbered(number, total));
    }
    assert_eq!(pair.gateway.endpoint.counters().discards[Discard::Syntax.position()], 4);
    // Two of a message in few pieces.
    for octets in plain.fragments(120).into_iter().take(1) {
        pair.put(&Flying { octets, ..parts[0].clone() });
    }
    // Then in more: those count from now on, in any order, each once.
    for part in parts.iter().rev().take(parts.len() - 1) {
        pair.put(part);
        pair.put(part);
    }
    for octets in plain.fragments(120) {
        pair.put(&Flying { octets, ..parts[0].clone() });
    }
    assert!(pair.wire.is_empty());
    assert_eq!(pair.gateway.endpoint.counts().established, 0);

    pair.put(&parts[0]);

    pair.settle();
    pair.assert_in_step();
    assert_eq!(pair.gateway.endpoint.counts().established, 1);
}

// test of RFC 7383 §2.6.1
// FRG-10
#[test]
fn of_a_repeated_request_in_fragments_only_the_first_one_is_answered() {
    let (mut pair, _, parts) = in_fragments();
    for part in &parts {
        pair.put(part);
    }
    let answer = pair.take(End::Client);

    for part in &parts {
        pair.put(part);
    }

    assert_eq!(Vec::from(std::mem::take(&mut pair.wire)), [answer]);
    assert_eq!(pair.gateway.endpoint.counts().established, 1);
}

// FRG-11
#[test]
fn fragments_that_never_become_a_message_are_forgotten_with_the_half_open_sa() {
    let (mut pair, _, parts) = in_fragments();
    pair.put(&parts[0]);

    pair.pass(Duration::from_secs(31));

    assert_eq!(pair.gateway.endpoint.counts().half_open, 0);
}

// FRG-11
#[test]
fn fragments_that_never_become_a_message_do_not_disturb_an_sa() {
    let mut pair = opened();
    let flying = made_up(&pair, End::Client, ExchangeType::Informational, (Direction::Request, 2), |chain| {
        chain.push(&Payload::Vendor(crate::ike::wire::VendorId(vec![1; 300].into())))
    });
    let parts = Plain::open(&flying.octets).fragments(100);
    pair.put(&Flying { octets: parts[1].clone(), ..flying.clone() });
    pair.pass(Duration::from_secs(300));

    // A message of the same number that is whole.
    pair.put(&flying);

    assert_eq!(pair.wire.len(), 1);
    assert_eq!(pair.gateway.endpoint.counts().established, 1);
}

// FRG-12
#[test]
fn what_is_kept_of_fragments_is_bounded() {
    let (mut pair, plain, parts) = in_fragments();
    let part = vec![0; 1_000];
    for number in 2..=200 {
        let number = crate::ike::wire::FragmentNumber::new(number, 65_535).unwrap();
        pair.put(&Flying { octets: plain.fragment(number, &part), ..parts[0].clone() });
    }

    let dropped = pair.gateway.endpoint.counters().discards[Discard::Fragment.position()];
    assert!(dropped >= 199 - 66, "{dropped}");
}

// test of RFC 7296 §2.21.2
// AUT-01 AUT-03
#[test]
fn a_wrong_proof_is_refused_whatever_is_wrong_with_it() {
    let wrong = |payloads: &mut Vec<Payload<'_>>| {
        for payload in payloads {
            if let Payload::Auth(auth) = payload {
                auth.data.to_mut()[0] ^= 1;
            }
        }
    };
    assert_refused(answer_to(wrong), &REFUSED);
    let short = |payloads: &mut Vec<Payload<'_>>| {
        for payload in payloads {
            if let Payload::Auth(Auth { data, .. }) = payload {
                *data = data[..8].to_vec().into();
            }
        }
    };
    assert_refused(answer_to(short), &REFUSED);
    let somebody_else = |payloads: &mut Vec<Payload<'_>>| {
        for payload in payloads {
            if let Payload::IdI(id) = payload {
                *id = Id::Email("bob@example.net".into());
            }
        }
    };
    assert_refused(answer_to(somebody_else), &REFUSED);
}

// AUT-18
#[test]
fn a_signature_that_is_cut_or_too_long_is_refused() {
    let plan = || {
        let mut plan = certificates(KeyKind::P256);
        plan.provider = Provider::Null;
        plan
    };
    for change in [0, 1, 2] {
        let (mut pair, request) = introduced(plan());
        let plain = Plain::open(&request.octets).with(|payloads| {
            for payload in payloads {
                if let Payload::Auth(auth) = payload {
                    let data = auth.data.to_mut();
                    match change {
                        0 => data.truncate(data.len() - 1),
                        1 => data.push(0),
                        _ => data.truncate(1),
                    }
                }
            }
        });
        pair.put(&Flying { octets: plain.seal(), ..request });
        let answer = pair.take(End::Client);
        assert_refused((pair, Plain::open(&answer.octets)), &REFUSED);
    }
}

// test of RFC 7296 §2.15
// BAS-17
#[test]
fn reserved_octets_of_an_identity_are_ignored_and_yet_signed() {
    let (mut pair, request) = introduced(open());
    let mut plain = Plain::open(&request.octets);
    // The first payload is IDi: generic header, type, reserved octets.
    assert_eq!(plain.first, Some(PayloadType::IdI));
    plain.octets[5..8].copy_from_slice(&[1, 2, 3]);

    pair.put(&Flying { octets: plain.seal(), ..request });

    // The client has signed zeros: what came is not what it signed.
    let answer = pair.take(End::Client);
    assert_eq!(Plain::open(&answer.octets).notifies(), [NotifyType::AuthenticationFailed]);
}

// BAS-21
#[test]
fn an_identity_that_is_cut_or_nothing_is_refused() {
    for length in [0, 1, 3] {
        let (mut pair, request) = introduced(open());
        let plain = Plain::open(&request.octets);
        let raw: Vec<RawPayload<'_>> = plain.chain().iter().collect();
        let changed = Plain::new(plain.header, |chain| {
            for raw in &raw {
                let body = if raw.kind == PayloadType::IdI { &raw.body[..length] } else { raw.body };
                chain.push(&Payload::Unknown(RawPayload { body, ..*raw }))?;
            }
            Ok(())
        });
        pair.put(&Flying { octets: changed.seal(), ..request });
        let answer = pair.take(End::Client);
        assert_refused((pair, Plain::open(&answer.octets)), &SYNTAX);
    }
}

// test of RFC 7296 §2.21.2
// VER-12 VER-13
#[test]
fn a_payload_that_is_not_known_is_skipped_unless_it_is_critical() {
    let unknown = |kind, is_critical| {
        Payload::Unknown(RawPayload { kind: PayloadType::from(kind), is_critical, next: None, body: b"" })
    };
    for kind in [1, 32, 55, 255] {
        let (pair, answer) = answer_to(|payloads| payloads.push(unknown(kind, false)));
        assert_eq!(pair.gateway.endpoint.counts().established, 1);
        assert!(answer.kinds().contains(&PayloadType::Auth));
        let refused = answer_to(|payloads| payloads.push(unknown(kind, true)));
        assert_refused(refused, &NotifyContent::UnsupportedCriticalPayload(kind));
    }
}

// VER-10 VER-11
#[test]
fn a_payload_before_the_envelope_is_skipped_and_when_critical_the_datagram_is_dropped() {
    for is_critical in [false, true] {
        let (mut pair, request) = introduced(open());
        let mut octets = request.octets.clone();
        // A payload of type 255 between the header and the envelope.
        let kind = std::mem::replace(&mut octets[16], 255);
        let unknown = [kind, if is_critical { 0x80 } else { 0 }, 0, 4];
        octets.splice(28..28, unknown);
        let length = u32::try_from(octets.len()).unwrap();
        octets[24..28].copy_from_slice(&length.to_be_bytes());

        pair.put(&Flying { octets, ..request.clone() });

        if is_critical {
            assert!(pair.wire.is_empty());
            assert_eq!(pair.gateway.endpoint.counts().half_open, 1, "the real one may still come");
            pair.put(&request);
        }
        assert_eq!(pair.gateway.endpoint.counts().established, 1);
    }
}

// VER-14 AUT-02
#[test]
fn a_client_that_can_not_believe_the_answer_says_so_and_keeps_nothing() {
    type Change = fn(&mut Vec<Payload<'_>>);
    let changes: [(Change, Failure); 3] = [
        (
            |payloads| {
                payloads.push(Payload::Unknown(RawPayload {
                    kind: PayloadType::from(255),
                    is_critical: true,
                    next: None,
                    body: b"",
                }));
            },
            Failure::Syntax,
        ),
        (
            |payloads| {
                for payload in payloads {
                    if let Payload::Auth(auth) = payload {
                        auth.data.to_mut()[0] ^= 1;
                    }
                }
            },
            Failure::Authentication,
        ),
        (
            |payloads| {
                for payload in payloads {
                    if let Payload::IdR(id) = payload {
                        *id = Id::Fqdn("evil.example.net".into());
                    }
                }
            },
            Failure::OtherIdentity,
        ),
    ];
    for (change, failure) in changes {
        let (mut pair, request) = introduced(open());
        pair.put(&request);
        let answer = pair.take(End::Client);
        let octets = Plain::open(&answer.octets).with(change).seal();

        pair.put(&Flying { octets, ..answer });

        assert_eq!(failures(&pair.client.events), [failure]);
        assert_eq!(pair.client.endpoint.counts().half_open, 0);
        assert!(pair.client.plane.is_empty());
        // The gateway hears of it.
        pair.settle();
        assert_eq!(pair.closed(End::Gateway), [CloseReason::DeletedByPeer]);
        assert!(pair.gateway.plane.is_empty());
        assert_eq!(pair.gateway.pools.held(), 0);
    }
}

// AUT-04
#[test]
fn a_client_that_asks_for_another_gateway_is_told_that_there_is_none() {
    let asked = |payloads: &mut Vec<Payload<'_>>| {
        payloads.insert(1, Payload::IdR(Id::Fqdn("elsewhere.example.net".into())));
    };
    let (pair, answer) = answer_to(asked);
    assert_eq!(answer.notifies(), [NotifyType::AuthenticationFailed]);
    assert_eq!(failures(&pair.gateway.events), [Failure::NoProfile]);
    let right = |payloads: &mut Vec<Payload<'_>>| {
        payloads.insert(1, Payload::IdR(Id::Fqdn("vpn.example.net".into())));
    };
    let (pair, _) = answer_to(right);
    assert_eq!(pair.gateway.endpoint.counts().established, 1);
}

// AUT-19
#[test]
fn a_certificate_of_somebody_else_is_refused_by_both() {
    for end in ENDS {
        let root = Recipe::ca("root").issue(None);
        let alice =
            Recipe::end_entity("CN=alice", &[AltName::Rfc822("alice@example.net".into())]).issue(Some(&root));
        let gateway = Recipe::gateway("vpn.example.net").issue(Some(&root));
        let other = Recipe::gateway("other.example.net").issue(Some(&root));
        let (first, second) = match end {
            End::Client => (&other, &gateway),
            End::Gateway => (&alice, &other),
        };
        let mut pair = Plan::with(
            profile("alice@example.net", "vpn.example.net", credential(first), believes(&root)),
            profile("vpn.example.net", "*", credential(second), believes(&root)),
        )
        .build();

        pair.initiate();
        pair.settle();

        assert_eq!(failures(&pair.side(end.other()).events), [Failure::Certificate]);
        assert!(pair.client.plane.is_empty() && pair.gateway.plane.is_empty());
    }
}

#[test]
fn the_profile_that_fits_identity_and_proof_is_the_one_that_counts() {
    let (local, remote) = key("of the team");
    let (other_local, other_remote) = key("of everybody");
    let mut team = profile("vpn.example.net", "*@team.example.net", local, remote);
    team.name = name("team");
    team.local_ts = vec![prefix("10.2.0.0/16")];
    let (client_local, client_remote) = key("of the team");
    let mut client = profile("bob@team.example.net", "vpn.example.net", client_local, client_remote);
    client.remote_ts = vec![prefix("10.0.0.0/8")];
    let everybody = profile("vpn.example.net", "*", other_local, other_remote);
    let mut plan = Plan::with(client, everybody);
    plan.client_profile(|profile| profile.remote_ts = vec![prefix("10.0.0.0/8")]);
    team.pools = vec![name("ra4")];
    plan.gateway.profiles.insert(0, Arc::new(team));
    let mut pair = plan.build();

    pair.establish();

    let sa = sole(&pair, End::Gateway);
    assert_eq!(sa.profile, Some(name("team")));
    assert_eq!(*sa.children[0].local_ts, [prefix("10.2.0.0/16")]);
}

// RTX-04 AUT-01
#[test]
fn a_refusal_is_repeated_for_whoever_has_not_got_it_and_nothing_else_is_done() {
    let mut plan = open();
    plan.client_profile(|profile| profile.authentication.local = key("another key").0);
    let (mut pair, request) = introduced(plan);
    pair.put(&request);
    let refusal = pair.take(End::Client);

    for _ in 0..3 {
        pair.put(&request);
        assert_eq!(pair.take(End::Client), refusal);
    }
    // Another try on the same SA is none.
    let mut again = Plain::open(&request.octets);
    again.header.message_id = MessageId(2);
    pair.put(&Flying { octets: again.seal(), ..request });
    assert!(pair.wire.is_empty());
    assert_eq!(failures(&pair.gateway.events), [Failure::Authentication]);
    pair.put(&refusal);
    assert_eq!(failures(&pair.client.events), [Failure::PeerRefused]);
    pair.pass(Duration::from_secs(31));
    assert_eq!(pair.gateway.endpoint.counts().half_open, 0);
}

// BAS-28
#[test]
fn a_forged_request_leaves_the_half_open_sa_to_the_real_one() {
    let (mut pair, request) = introduced(Plan::shared_key());
    for at in [28, 40, 60, 100, request.octets.len() - 1] {
        let mut forged = request.clone();
        forged.octets[at] ^= 1;
        pair.put(&forged);
        assert!(pair.wire.is_empty());
        assert_eq!(pair.gateway.endpoint.counts().half_open, 1);
    }

    pair.put(&request);
    pair.settle();

    pair.assert_in_step();
    assert_eq!(sole(&pair, End::Client).children.len(), 1);
}

// test of RFC 7296 §2.4
// AUT-16
#[test]
fn a_client_that_comes_back_gets_its_address_and_its_old_sa_ends() {
    let mut pair = open().build();
    pair.establish();
    let address = sole(&pair, End::Gateway).addresses;
    // The client has crashed.
    let mut other = Plan { seed: 9, ..open() }.build();
    std::mem::swap(&mut pair.client, &mut other.client);

    pair.initiate();
    pair.settle();

    assert_eq!(sole(&pair, End::Gateway).addresses, address);
    assert_eq!(pair.closed(End::Gateway), [CloseReason::Superseded]);
    assert_eq!(pair.gateway.plane.len(), 1);
    assert_eq!(pair.gateway.pools.held(), 1);
    assert_eq!(pair.gateway.superseded.len(), 2, "the other workers are told each time");
    assert_eq!(pair.gateway.superseded[0], pair.gateway.superseded[1]);
}

// AUT-16
#[test]
fn another_worker_drops_its_sas_with_a_client_that_is_told_of() {
    let mut pair = opened();
    let holder = Arc::clone(&pair.gateway.superseded[0]);

    pair.step(End::Gateway, crate::ike::Input::Supersede { holder });

    assert_eq!(pair.closed(End::Gateway), [CloseReason::Superseded]);
    assert!(pair.gateway.plane.is_empty());
    assert_eq!(pair.gateway.pools.held(), 0);
    assert!(pair.wire.is_empty(), "the client knows");
    pair.step(End::Gateway, crate::ike::Input::Supersede { holder: Arc::from(&b"nobody"[..]) });
}

// AUT-17
#[test]
fn only_the_first_sa_with_a_peer_says_that_it_is_the_first() {
    let mut pair = opened();
    assert_eq!(pair.gateway.superseded.len(), 1);
    rekey_ike(&mut pair, End::Client);
    pair.settle();

    pair.initiate();
    pair.settle();

    assert_eq!(pair.gateway.superseded.len(), 1, "the second one does not end the first");
    assert_eq!(pair.sas(End::Client).len(), 2);
    assert_eq!(pair.sas(End::Gateway).len(), 2);
    assert_eq!(pair.gateway.pools.held(), 2);
}

// test of RFC 6023 §3
// AUT-15
#[test]
fn an_ike_sa_may_come_up_without_a_child_sa_and_get_one_later() {
    let (mut pair, request) = introduced(open());
    let plain = Plain::open(&request.octets).with(|payloads| {
        payloads.retain(|payload| {
            !matches!(payload, Payload::Sa(_) | Payload::TsI(_) | Payload::TsR(_) | Payload::Configuration(_))
        });
    });
    pair.put(&Flying { octets: plain.seal(), ..request });

    let answer = pair.take(End::Client);
    let kinds = Plain::open(&answer.octets).kinds();
    assert_eq!(kinds, [PayloadType::IdR, PayloadType::Auth]);
    assert_eq!(sole(&pair, End::Gateway).children, []);
    pair.put(&answer);
    let sa = sole(&pair, End::Client);
    assert_eq!(sa.children, []);
    let host = crate::ike::sa::child::host;
    let command = Command::NewChild {
        sa: sa.id,
        local_ts: vec![host(sa.local.ip())],
        remote_ts: vec![prefix("10.1.0.0/16")],
    };
    pair.command(End::Client, command);
    pair.settle();
    pair.assert_in_step();
    assert_eq!(sole(&pair, End::Client).children.len(), 1);
    let childless = pair.sent.iter().map(|flying| Plain::open(&flying.octets).notifies());
    let said = childless.filter(|notifies| notifies.contains(&NotifyType::ChildlessSupported)).count();
    assert_eq!(said, 1, "by the responder");
}

// BAS-20
#[test]
fn abilities_that_nobody_has_asked_for_are_ignored_in_an_answer() {
    let (mut pair, request) = introduced(open());
    pair.put(&request);
    let answer = pair.take(End::Client);
    let plain = Plain::open(&answer.octets).with(|payloads| {
        for kind in
            [NotifyType::FragmentationSupported, NotifyType::MobikeSupported, NotifyType::from(65_000)]
        {
            payloads.push(Payload::Notify(Notify::plain(kind)));
        }
    });

    pair.put(&Flying { octets: plain.seal(), ..answer });

    pair.assert_in_step();
    assert_eq!(sole(&pair, End::Client).children.len(), 1);
}

#[test]
fn what_is_cleared_before_it_is_up_is_gone_and_its_spi_free() {
    for steps in 0..3 {
        let mut pair = open().build();
        pair.initiate();
        for _ in 0..steps {
            pair.deliver();
        }
        pair.command(End::Client, Command::Clear(Selection::All));
        assert_eq!(pair.client.endpoint.counts(), crate::ike::CountSnapshot::default());
    }
}

#[test]
fn a_client_that_is_never_answered_gives_up_and_its_spi_is_free() {
    let (mut pair, request) = introduced(open());
    drop(request);
    for number in 0..200 {
        pair.fates.insert(number, crate::testing::pair::Fate::Lost);
    }

    pair.pass(Duration::from_secs(166));

    assert_eq!(failures(&pair.client.events), [Failure::Timeout]);
    assert_eq!(pair.client.endpoint.counts(), crate::ike::CountSnapshot::default());
}

#[test]
fn the_end_of_the_daemon_is_told_to_every_peer_at_once() {
    for end in ENDS {
        let mut pair = opened();
        let address = pair.gateway.pools.held();
        assert_eq!(address, 1);

        pair.command(end, Command::Shutdown);

        assert_eq!(pair.side(end).endpoint.counts(), crate::ike::CountSnapshot::default());
        assert_eq!(pair.closed(end), [CloseReason::Shutdown]);
        pair.settle();
        assert_eq!(pair.closed(end.other()), [CloseReason::DeletedByPeer]);
        assert_eq!(pair.gateway.pools.held(), 0);
        pair.assert_in_step();
    }
}
