//! Keys that both sides have had before (`RFC 8784`): who uses one, who has to, and who does without.

use std::sync::Arc;

use super::*;
use crate::ike::config::{Ppk, Ppks};
use crate::ike::wire::{Notify, NotifyType, Payload};
use crate::secret::Secret;

fn key(id: &str, fill: u8) -> Arc<Ppk> {
    Arc::new(Ppk { id: id.as_bytes().into(), secret: Secret::new(vec![fill; 32]) })
}

const REQUIRED: bool = true;
const OPTIONAL: bool = false;

fn ppks(keys: &[(&str, u8)], is_required: bool) -> Option<Ppks> {
    (!keys.is_empty())
        .then(|| Ppks { keys: keys.iter().map(|(id, fill)| key(id, *fill)).collect(), is_required })
}

/// A client and a gateway with these keys.
fn with(plan: Plan, client: Option<Ppks>, gateway: Option<Ppks>) -> Plan {
    let mut plan = plan;
    plan.client_profile(|profile| profile.ppk = client);
    plan.gateway_profile(|profile| profile.ppk = gateway);
    plan
}

/// The notifies about it of all messages, in their order, after both have done what they do.
fn said(mut pair: Pair) -> (Pair, Vec<Vec<NotifyType>>) {
    pair.initiate();
    pair.settle();
    let is_about = |kind: &NotifyType| matches!(kind, UsePpk | PpkIdentity | NoPpkAuth);
    let said = pair
        .sent
        .iter()
        .map(|flying| Plain::open(&flying.octets).notifies().into_iter().filter(is_about).collect())
        .collect();
    (pair, said)
}

use NotifyType::{NoPpkAuth, PpkIdentity, UsePpk};

// test of RFC 8784 §3
#[test]
fn the_table_of_the_rfc_holds() {
    let (ours, others, none) = ([("a", 1)], [("b", 2)], []);
    let both = [("b", 2), ("a", 1)];
    let used = [vec![UsePpk], vec![UsePpk], vec![PpkIdentity, NoPpkAuth], vec![PpkIdentity]];
    let must = [vec![UsePpk], vec![UsePpk], vec![PpkIdentity], vec![PpkIdentity]];
    let not_known = [vec![UsePpk], vec![UsePpk], vec![PpkIdentity, NoPpkAuth], vec![]];
    let must_not_known = [vec![UsePpk], vec![UsePpk], vec![PpkIdentity], vec![]];
    let without = [vec![UsePpk], vec![], vec![], vec![]];
    let nothing: [Vec<NotifyType>; 4] = Default::default();
    for (client, gateway, expected, is_up) in [
        (ppks(&ours, OPTIONAL), ppks(&ours, OPTIONAL), &used[..], true),
        (ppks(&ours, OPTIONAL), ppks(&both, OPTIONAL), &used[..], true),
        (ppks(&ours, OPTIONAL), ppks(&ours, REQUIRED), &used[..], true),
        (ppks(&ours, REQUIRED), ppks(&ours, OPTIONAL), &must[..], true),
        (ppks(&ours, REQUIRED), ppks(&ours, REQUIRED), &must[..], true),
        // Its name is not known.
        (ppks(&ours, OPTIONAL), ppks(&others, OPTIONAL), &not_known[..], true),
        (ppks(&ours, OPTIONAL), ppks(&others, REQUIRED), &not_known[..], false),
        (ppks(&ours, REQUIRED), ppks(&others, OPTIONAL), &must_not_known[..], false),
        // The gateway has none, or the client.
        (ppks(&ours, OPTIONAL), ppks(&none, OPTIONAL), &without[..], true),
        (ppks(&ours, REQUIRED), ppks(&none, OPTIONAL), &without[..2], false),
        (ppks(&none, OPTIONAL), ppks(&ours, OPTIONAL), &nothing[..], true),
        (ppks(&none, OPTIONAL), ppks(&ours, REQUIRED), &nothing[..], false),
    ] {
        let what = format!("{client:?} and {gateway:?}");
        let (mut pair, said) = said(with(open(), client, gateway).build());
        assert_eq!(said, expected, "{what}");
        if is_up {
            assert_one_of_each(&mut pair, &what);
        } else {
            assert!(pair.sas(End::Client).is_empty(), "{what}");
            let seen = failures(&pair.client.events);
            assert!(matches!(seen[..], [Failure::PeerRefused | Failure::Authentication]), "{what}: {seen:?}");
        }
    }
}

#[test]
fn a_wrong_key_under_the_right_name_is_refused_even_where_none_is_needed() {
    for provider in [Provider::Real, Provider::Null] {
        for is_required in [OPTIONAL, REQUIRED] {
            let plan = Plan { provider, ..Plan::shared_key() };
            let client = ppks(&[("a", 1)], is_required);
            let mut pair = with(plan, client, ppks(&[("a", 2)], is_required)).build();
            pair.initiate();
            pair.settle();

            assert_eq!(failures(&pair.gateway.events), [Failure::Authentication]);
            for end in ENDS {
                assert!(pair.sas(end).is_empty());
            }
        }
    }
}

#[test]
fn the_keys_of_child_sas_are_made_of_it_and_so_is_everything_later() {
    let keys = |client: Option<Ppks>, gateway: Option<Ppks>| {
        let mut pair = with(Plan::shared_key(), client, gateway).build();
        pair.establish();
        let keys = |pair: &Pair| pair.client.plane.values().next().unwrap().outbound_keys.clone();
        let first = keys(&pair);
        assert_one_of_each(&mut pair, "rekeyed");
        (first, keys(&pair))
    };
    let with = |fill| keys(ppks(&[("a", fill)], OPTIONAL), ppks(&[("a", fill)], OPTIONAL));
    let (one, other) = (with(1), with(2));
    let none = keys(None, None);

    // Everything else is the same, seed among it.
    assert_ne!(one.0, other.0);
    assert_ne!(one.0, none.0);
    assert_ne!(one.1, other.1);
}

#[test]
fn a_key_is_for_those_profiles_that_have_it() {
    // The client's profile has another one: it is as if the key was not there.
    let mut plan = with(open(), ppks(&[("a", 1)], OPTIONAL), ppks(&[("b", 2)], OPTIONAL));
    let elsewhere = crate::testing::pair::profile(
        "vpn.example.net",
        "bob@example.net",
        crate::ike::config::LocalProof::SharedKey(Secret::from(&b"another"[..])),
        crate::ike::config::RemoteProof::SharedKey(Secret::from(&b"another"[..])),
    );
    let elsewhere = crate::ike::config::Profile { ppk: ppks(&[("a", 1)], REQUIRED), ..elsewhere };
    plan.gateway.profiles.insert(0, Arc::new(elsewhere));
    let (mut pair, said) = said(plan.build());

    assert_eq!(said[2..], [vec![PpkIdentity, NoPpkAuth], vec![]]);
    assert_one_of_each(&mut pair, "without");
}

/// The IKE_AUTH request of a client that can do without its key, with other payloads.
fn auth_with(client_must: bool, change: impl FnOnce(&mut Vec<Payload<'_>>)) -> Pair {
    let mut pair = with(open(), ppks(&[("a", 1)], client_must), ppks(&[("a", 1)], OPTIONAL)).build();
    pair.initiate();
    pair.deliver();
    pair.deliver();
    let request = pair.take(End::Gateway);
    let octets = Plain::open(&request.octets).with(change).seal();
    pair.put(&Flying { octets, ..request });
    pair.settle();
    pair
}

fn is(payload: &Payload<'_>, kind: NotifyType) -> bool {
    matches!(payload, Payload::Notify(notify) if notify.kind == kind)
}

#[test]
fn what_is_said_wrongly_of_it_is_refused() {
    type Change = fn(&mut Vec<Payload<'_>>);
    let changes: [(&str, Change, Failure); 6] = [
        ("no name", |all| all.retain(|one| !is(one, PpkIdentity)), Failure::Authentication),
        (
            "nothing at all",
            |all| all.retain(|one| !is(one, PpkIdentity) && !is(one, NoPpkAuth)),
            Failure::Authentication,
        ),
        (
            "another kind of name, and no proof without",
            |all| {
                all.retain(|one| !is(one, PpkIdentity) && !is(one, NoPpkAuth));
                all.push(Payload::Notify(Notify { data: &[1, b'a'], ..Notify::plain(PpkIdentity) }));
            },
            Failure::Authentication,
        ),
        (
            "another name, and a wrong proof without",
            |all| {
                all.retain(|one| !is(one, PpkIdentity) && !is(one, NoPpkAuth));
                all.push(Payload::Notify(Notify { data: &[2, b'z'], ..Notify::plain(PpkIdentity) }));
                all.push(Payload::Notify(Notify { data: &[7; 32], ..Notify::plain(NoPpkAuth) }));
            },
            Failure::Authentication,
        ),
        (
            "an empty name",
            |all| {
                all.retain(|one| !is(one, PpkIdentity));
                all.push(Payload::Notify(Notify { data: &[2], ..Notify::plain(PpkIdentity) }));
            },
            Failure::Syntax,
        ),
        (
            "a name of nothing",
            |all| {
                all.retain(|one| !is(one, PpkIdentity));
                all.push(Payload::Notify(Notify::plain(PpkIdentity)));
            },
            Failure::Syntax,
        ),
    ];
    for (what, change, failure) in changes {
        let pair = auth_with(OPTIONAL, change);
        assert_eq!(failures(&pair.gateway.events), [failure], "{what}");
        assert!(pair.sas(End::Client).is_empty(), "{what}");
    }
}

#[test]
fn a_client_that_must_have_one_believes_no_gateway_that_does_not_say_that_it_has_used_it() {
    for (is_required, is_up) in [(REQUIRED, false), (OPTIONAL, false)] {
        let mut pair = with(open(), ppks(&[("a", 1)], is_required), ppks(&[("a", 1)], OPTIONAL)).build();
        pair.initiate();
        for _ in 0..3 {
            pair.deliver();
        }
        let answer = pair.take(End::Client);
        let without = Plain::open(&answer.octets).with(|all| all.retain(|one| !is(one, PpkIdentity)));
        pair.put(&Flying { octets: without.seal(), ..answer });
        pair.settle();

        // Without the notify, the proof is not the right one either.
        assert_eq!(pair.sas(End::Client).len() == 1, is_up);
        assert_eq!(failures(&pair.client.events), [Failure::Authentication]);
        assert!(pair.gateway.plane.is_empty(), "and says so");
    }
}

#[test]
fn an_answer_without_it_ends_the_attempt_of_a_client_that_must_have_one() {
    let mut pair = with(open(), ppks(&[("a", 1)], REQUIRED), ppks(&[("a", 1)], OPTIONAL)).build();
    pair.initiate();
    pair.deliver();
    let answer = pair.take(End::Client);
    let without = Plain::open(&answer.octets).with(|all| all.retain(|one| !is(one, UsePpk)));

    pair.put(&Flying { octets: without.seal(), ..answer });

    assert_eq!(failures(&pair.client.events), [Failure::Authentication]);
    assert!(pair.wire.is_empty() && pair.sas(End::Client).is_empty());
}

#[test]
fn it_goes_with_further_key_exchanges_certificates_tickets_and_loss() {
    let both = || (ppks(&[("a", 1)], REQUIRED), ppks(&[("a", 1)], REQUIRED));
    let hybrid = || {
        let (client, gateway) = both();
        with(further::hybrid(Plan::shared_key(), further::HYBRID), client, gateway)
    };
    loss::each(hybrid, |_pair| {}, Pair::initiate, assert_one_of_each);

    let (client, gateway) = (ppks(&[("a", 1)], OPTIONAL), ppks(&[("a", 1)], OPTIONAL));
    let certificates = auth::certificates(crate::crypto::x509::builder::KeyKind::P256);
    let mut pair = with(certificates, client, gateway).build();
    pair.establish();
    assert_one_of_each(&mut pair, "certificates");
    // A gateway that does not know the name believes the proof without.
    let (client, gateway) = (ppks(&[("a", 1)], OPTIONAL), ppks(&[("b", 2)], OPTIONAL));
    let certificates = auth::certificates(crate::crypto::x509::builder::KeyKind::P256);
    let mut pair = with(certificates, client, gateway).build();
    pair.establish();
    assert_one_of_each(&mut pair, "certificates, without");

    let (client, gateway) = both();
    let mut pair = with(Plan::shared_key().resuming(), client, gateway).build();
    pair.establish();
    assert_eq!(pair.gateway.endpoint.counters().tickets_granted, 1);
}
