//! Child SAs: proposals, traffic selectors, addresses, groups, and refusals that leave the IKE SA.

use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::ike::config::Guidance;
use crate::ike::pool::Pool;
use crate::ike::wire::{
    Attribute, Configuration, ConfigurationType, KeyExchangeMethod, Notify, NotifyContent, NotifyType,
    Payload, PayloadType, Ports, RawPayload, TrafficSelector, TrafficSelectors,
};
use crate::ike::{CloseReason, Selection};
use crate::testing::pair::{name, prefix};

/// What the gateway answers to an IKE_AUTH request that was changed under way; then the client has the
/// answer too.
fn auth_with(plan: Plan, change: impl FnOnce(&mut Vec<Payload<'_>>)) -> (Pair, Plain) {
    let mut pair = plan.build();
    pair.initiate();
    pair.deliver();
    pair.deliver();
    let request = pair.take(End::Gateway);
    let octets = Plain::open(&request.octets).with(change).seal();
    pair.put(&Flying { octets, ..request });
    let answer = pair.take(End::Client);
    pair.put(&answer);
    (pair, Plain::open(&answer.octets))
}

fn selectors(change: impl Fn(&mut Vec<TrafficSelector>)) -> impl FnOnce(&mut Vec<Payload<'_>>) {
    move |payloads| {
        for payload in payloads {
            if let Payload::TsR(selectors) = payload {
                change(&mut selectors.0);
            }
        }
    }
}

/// The IKE SA is up on both sides, and no Child SA: both know why.
fn assert_childless((mut pair, answer): (Pair, Plain), told: NotifyType, failure: Failure) {
    assert_eq!(answer.kinds(), [PayloadType::IdR, PayloadType::Auth, PayloadType::Notify]);
    assert_eq!(answer.notifies(), [told]);
    for end in ENDS {
        assert_eq!(sole(&pair, end).children, []);
        assert!(pair.side(end).plane.is_empty());
    }
    assert_eq!(failures(&pair.gateway.events), [failure]);
    assert_eq!(failures(&pair.client.events), [Failure::PeerRefused]);
    assert_eq!(pair.gateway.pools.held(), 0, "an address without a Child SA is of no use");
    pair.command(End::Client, Command::Clear(Selection::All));
    pair.settle();
    assert_eq!(pair.closed(End::Gateway), [CloseReason::DeletedByPeer]);
}

// test of RFC 7296 §2.21.2
// AUT-05
#[test]
fn esp_that_is_not_ours_leaves_the_ike_sa_up() {
    let mut plan = open();
    plan.client.esp_proposals = vec!["aes256gcm16".parse().unwrap()];
    assert_childless(auth_with(plan, |_payloads| {}), NotifyType::NoProposalChosen, Failure::NoProposal);
}

// test of RFC 7296 §2.9
// AUT-06
#[test]
fn selectors_of_which_nothing_is_ours_leave_the_ike_sa_up() {
    let other = selectors(|selectors| *selectors = vec![prefix("172.16.0.0/12")]);
    assert_childless(auth_with(open(), other), NotifyType::TsUnacceptable, Failure::Selectors);
}

// test of RFC 7296 §3.15.4
#[test]
fn a_pool_without_an_address_left_leaves_the_ike_sa_up() {
    let mut plan = open();
    plan.gateway_profile(|profile| profile.pools = vec![name("none")]);
    assert_childless(auth_with(plan, |_payloads| {}), NotifyType::InternalAddressFailure, Failure::NoAddress);
}

// test of RFC 7296 §2.9
// AUT-07 AUT-09
#[test]
fn selectors_are_narrowed_to_what_both_want_and_the_first_one_stays_first() {
    let narrowed = |offered: Vec<TrafficSelector>| {
        let (pair, _) = auth_with(open(), selectors(move |selectors| selectors.clone_from(&offered)));
        sole(&pair, End::Gateway).children[0].local_ts.iter().map(ToString::to_string).collect::<Vec<_>>()
    };

    assert_eq!(narrowed(vec![prefix("10.0.0.0/8")]), ["10.1.0.0/16", "10.2.0.0/16"]);
    assert_eq!(narrowed(vec![prefix("10.2.3.4/32"), prefix("10.0.0.0/8")])[0], "10.2.3.4/32");
    assert_eq!(narrowed(vec![prefix("10.2.3.0/24")]), ["10.2.3.0/24"]);
    let TrafficSelector::Ip { addresses, .. } = prefix("10.1.0.0/16") else { panic!() };
    let ssh = TrafficSelector::Ip { protocol: 6, ports: Ports::range(22, 22).unwrap(), addresses };
    assert_eq!(narrowed(vec![ssh.clone()]), [ssh.to_string()]);
}

// AUT-07
#[test]
fn a_client_takes_less_than_it_has_offered() {
    let mut plan = open();
    plan.client_profile(|profile| profile.remote_ts = vec![prefix("0.0.0.0/0")]);
    let mut pair = plan.build();

    pair.establish();

    let child = &sole(&pair, End::Client).children[0];
    assert_eq!(*child.remote_ts, [prefix("10.1.0.0/16"), prefix("10.2.0.0/16")]);
    assert_eq!(child.local_ts[0].to_string(), "10.99.0.1/32");
}

// test of RFC 7296 §2.9
// AUT-08 AUT-10
#[test]
fn a_child_sa_for_more_than_was_offered_is_disowned_and_the_ike_sa_stays() {
    let mut pair = open().build();
    pair.initiate();
    for _ in 0..3 {
        pair.deliver();
    }
    let answer = pair.take(End::Client);
    let wide = Plain::open(&answer.octets).with(|payloads| {
        for payload in payloads {
            if let Payload::TsR(selectors) = payload {
                *selectors = TrafficSelectors(vec![prefix("0.0.0.0/0")]);
            }
        }
    });

    pair.put(&Flying { octets: wide.seal(), ..answer });

    assert!(pair.client.plane.is_empty());
    assert_eq!(failures(&pair.client.events), [Failure::Selectors]);
    let delete = Plain::open(&pair.wire[0].octets);
    assert_eq!(delete.kinds(), [PayloadType::Delete]);
    pair.settle();
    pair.assert_in_step();
    assert!(pair.gateway.plane.is_empty(), "the gateway is rid of it");
    assert_eq!((sole(&pair, End::Client).children, sole(&pair, End::Gateway).children), (vec![], vec![]));
}

// AUT-10
#[test]
fn another_child_sa_for_more_than_was_offered_is_disowned_too() {
    for end in ENDS {
        for rekeys in [false, true] {
            let mut pair = opened();
            let sa = sole(&pair, end);
            if rekeys {
                rekey_child(&mut pair, end);
            } else {
                let (local_ts, remote_ts) =
                    (sa.children[0].local_ts.to_vec(), sa.children[0].remote_ts.to_vec());
                pair.command(end, Command::NewChild { sa: sa.id, local_ts, remote_ts });
            }
            pair.deliver();
            let answer = pair.take(end);
            let wide = Plain::open(&answer.octets).with(|payloads| {
                for payload in payloads {
                    if let Payload::TsI(selectors) | Payload::TsR(selectors) = payload {
                        *selectors = TrafficSelectors(vec![prefix("0.0.0.0/0")]);
                    }
                }
            });

            pair.put(&Flying { octets: wide.seal(), ..answer });
            pair.settle();

            assert_eq!(failures(&pair.side(end).events), [Failure::Selectors]);
            assert_eq!(pair.side(end).plane.len(), 1);
            // The one that was to be replaced waits at the gateway for its end.
            pair.assert_in_step();
        }
    }
}

// test of RFC 7296 §2.9
// AUT-11
#[test]
fn a_selector_of_a_type_that_is_not_known_is_ignored_and_not_returned() {
    let unknown = |payloads: &mut Vec<Payload<'_>>| {
        // Type 200 of 8 octets before what was there.
        for payload in payloads.iter_mut() {
            if let Payload::TsR(selectors) = payload {
                let mut body = vec![2, 0, 0, 0, 200, 0, 0, 8, 1, 2, 3, 4];
                let mut out = crate::codec::Writer::new();
                selectors.encode(&mut out).unwrap();
                body.extend_from_slice(&out.as_slice()[4..]);
                *selectors = TrafficSelectors::decode(&body).unwrap();
                assert_eq!(selectors.0.len(), 2);
            }
        }
    };
    let (pair, _) = auth_with(open(), unknown);

    let [only] = &*sole(&pair, End::Client).children[0].remote_ts else { panic!("one") };
    assert_eq!(only.to_string(), "10.1.0.0/16");
}

// AUT-12
#[test]
fn no_selectors_at_all_are_refused() {
    let mut pair = open().build();
    pair.initiate();
    pair.deliver();
    pair.deliver();
    let request = pair.take(End::Gateway);
    let plain = Plain::open(&request.octets);
    let raw: Vec<RawPayload<'_>> = plain.chain().iter().collect();
    let none = Plain::new(plain.header, |chain| {
        for raw in &raw {
            let body: &[u8] = if raw.kind == PayloadType::TsR { &[0, 0, 0, 0] } else { raw.body };
            chain.push(&Payload::Unknown(RawPayload { body, ..*raw }))?;
        }
        Ok(())
    });

    pair.put(&Flying { octets: none.seal(), ..request });

    let answer = Plain::open(&pair.take(End::Client).octets);
    let told = answer.notifies();
    assert!(told == [NotifyType::TsUnacceptable] || told == [NotifyType::InvalidSyntax], "{told:?}");
    assert!(pair.gateway.plane.is_empty());
    // Without one of the payloads the message is malformed.
    let mut pair = open().build();
    pair.initiate();
    pair.deliver();
    pair.deliver();
    let request = pair.take(End::Gateway);
    let without = Plain::open(&request.octets)
        .with(|payloads| payloads.retain(|payload| !matches!(payload, Payload::TsR(_))));
    pair.put(&Flying { octets: without.seal(), ..request });
    let answer = Plain::open(&pair.take(End::Client).octets);
    assert_eq!(answer.notifies(), [NotifyType::InvalidSyntax]);
}

// AUT-13
#[test]
fn a_selector_that_was_never_filled_in_is_refused() {
    let zero = selectors(|selectors| *selectors = vec![prefix("0.0.0.0/32")]);
    assert_childless(auth_with(open(), zero), NotifyType::TsUnacceptable, Failure::Selectors);
}

// test of RFC 7296 §1.3.1
// AUT-14
#[test]
fn transport_mode_is_answered_with_a_tunnel() {
    let wish = |payloads: &mut Vec<Payload<'_>>| {
        payloads.push(Payload::Notify(Notify::plain(NotifyType::UseTransportMode)));
    };
    let (pair, answer) = auth_with(open(), wish);

    assert!(!answer.notifies().contains(&NotifyType::UseTransportMode));
    assert_eq!(sole(&pair, End::Gateway).children.len(), 1);
}

// test of RFC 7296 §2.19
#[test]
fn a_client_is_told_what_it_has_asked_for_and_nothing_else() {
    let plan = || {
        let mut plan = open();
        plan.gateway_profile(|profile| {
            profile.guidance = Guidance {
                dns: vec!["10.1.0.53".parse().unwrap(), "2001:db8::53".parse().unwrap()],
                subnets4: vec![crate::ike::wire::Ipv4Prefix::new([10, 1, 0, 0].into(), 16).unwrap()],
                subnets6: vec![],
                domains: vec!["example.net".into()],
            };
        });
        plan
    };
    let asked = |attributes: Vec<Attribute<'static>>| {
        let (_, answer) = auth_with(plan(), |payloads| {
            for payload in payloads {
                if let Payload::Configuration(request) = payload {
                    request.attributes.clone_from(&attributes);
                }
            }
        });
        let payloads = answer.payloads();
        let reply = payloads.iter().find_map(|payload| {
            if let Payload::Configuration(reply) = payload { Some(reply.clone()) } else { None }
        });
        let Configuration { kind, attributes } = reply.expect("a reply");
        assert_eq!(kind, ConfigurationType::Reply);
        attributes.iter().map(|attribute| format!("{attribute:?}")).collect::<Vec<_>>()
    };

    let all = asked(vec![Attribute::Ip4Address(None), Attribute::Ip4Dns(None), Attribute::Ip4Subnet(None)]);
    assert_eq!(all.len(), 3, "{all:?}");
    let few = asked(vec![Attribute::Ip4Address(None)]);
    assert_eq!(few.len(), 1, "{few:?}");
}

// test of RFC 7296 §2.19
#[test]
fn addresses_are_given_until_there_are_none_and_come_back() {
    let mut plan = open();
    plan.gateway_profile(|profile| profile.pools = vec![name("small")]);
    let mut pair = plan.build();
    pair.gateway.pools.with(|pools| pools.add(name("small"), Pool::new([10, 98, 0, 0].into(), 30).unwrap()));
    for _ in 0..3 {
        pair.initiate();
        pair.settle();
    }

    let given: Vec<Vec<IpAddr>> = pair.sas(End::Gateway).into_iter().map(|sa| sa.addresses).collect();
    assert_eq!(given, [vec![[10, 98, 0, 1].into()], vec![IpAddr::from([10, 98, 0, 2])], vec![]]);
    assert_eq!(failures(&pair.gateway.events), [Failure::NoAddress]);

    let id = pair.sas(End::Client)[0].id;
    pair.command(End::Client, Command::Clear(Selection::Id(id)));
    pair.settle();
    assert_eq!(pair.gateway.pools.held(), 1);
    pair.initiate();
    pair.settle();
    assert_eq!(pair.gateway.pools.held(), 2);
}

// test of RFC 7296 §2.19
#[test]
fn the_address_that_a_client_asks_for_is_given_if_it_is_free() {
    let wish = |payloads: &mut Vec<Payload<'_>>| {
        for payload in payloads {
            if let Payload::Configuration(request) = payload {
                request.attributes = vec![Attribute::Ip4Address(Some([10, 99, 0, 77].into()))];
            }
        }
    };
    let (pair, _) = auth_with(open(), wish);

    assert_eq!(sole(&pair, End::Gateway).addresses, [IpAddr::from([10, 99, 0, 77])]);
}

#[test]
fn an_address_stays_with_the_client_when_its_keys_change() {
    let mut pair = opened();
    for end in ENDS {
        rekey_ike(&mut pair, end);
        pair.settle();
        assert_eq!(pair.gateway.pools.held(), 1);
        assert_eq!(sole(&pair, End::Gateway).addresses.len(), 1);
        assert_eq!(sole(&pair, End::Client).addresses.len(), 1);
    }
    pair.command(End::Gateway, Command::Clear(Selection::All));
    pair.settle();
    assert_eq!(pair.gateway.pools.held(), 0);
}

fn with_groups(client: &str, gateway: &str) -> Plan {
    let mut plan = open();
    plan.client.esp_proposals = vec![client.parse().unwrap()];
    plan.gateway.esp_proposals = vec![gateway.parse().unwrap()];
    plan
}

// test of RFC 7296 §1.3
// KEX-08
#[test]
fn another_group_that_is_wanted_for_a_child_sa_is_taken_once() {
    let mut pair = with_groups("aes128gcm16-ecp256-x25519", "aes128gcm16-x25519").build();
    pair.establish();

    rekey_child(&mut pair, End::Client);
    pair.deliver();
    let refusal = Plain::open(&pair.wire[0].octets);
    let wanted = NotifyContent::InvalidKePayload(KeyExchangeMethod::Curve25519);
    assert_eq!(refusal.chain().notifies().next().unwrap().content(), Ok(wanted));
    pair.settle();

    assert_eq!(pair.client.endpoint.counters().child_rekeys, 1);
    assert_one_of_each(&mut pair, "with its group");
}

// KEX-08
#[test]
fn a_peer_that_wants_one_group_after_the_other_gets_none_for_now() {
    let mut pair = with_groups("aes128gcm16-ecp256-x25519", "aes128gcm16-x25519-ecp256").build();
    pair.establish();
    rekey_child(&mut pair, End::Client);
    for wanted in [KeyExchangeMethod::Curve25519, KeyExchangeMethod::Ecp256] {
        let request = pair.take(End::Gateway);
        let mut header = Plain::open(&request.octets).header;
        header.direction = Direction::Response;
        header.sender = OriginalRole::Responder;
        let refusal = Plain::new(header, |chain| chain.notify(&NotifyContent::InvalidKePayload(wanted)));
        let path = crate::ike::Path { local: request.path.remote, remote: request.path.local };
        pair.put(&Flying { to: End::Client, path, octets: refusal.seal() });
    }

    assert!(pair.wire.is_empty());
    assert_eq!(failures(&pair.client.events), [Failure::OtherGroup]);
    assert_eq!(sole(&pair, End::Client).children.len(), 1);
    assert!(sole(&pair, End::Client).children[0].rekey_in.is_some(), "it is tried again");
}

// KEX-05 KEX-08
#[test]
fn a_group_that_was_not_offered_is_not_gone_along_with() {
    for act in [rekey_child, rekey_ike] {
        let mut pair = with_groups("aes128gcm16-ecp256", "aes128gcm16-ecp256").build();
        pair.establish();
        act(&mut pair, End::Client);
        let request = pair.take(End::Gateway);
        let mut header = Plain::open(&request.octets).header;
        header.direction = Direction::Response;
        header.sender = OriginalRole::Responder;
        let refusal = Plain::new(header, |chain| {
            chain.notify(&NotifyContent::InvalidKePayload(KeyExchangeMethod::Modp1024))
        });
        let path = crate::ike::Path { local: request.path.remote, remote: request.path.local };

        pair.put(&Flying { to: End::Client, path, octets: refusal.seal() });

        assert!(pair.wire.is_empty());
        let sa = sole(&pair, End::Client);
        assert_eq!(failures(&pair.client.events), [Failure::OtherGroup]);
        assert!(sa.rekey_in.is_some() || sa.children[0].rekey_in.is_some(), "it is tried again");
    }
}

// test of RFC 6989 §2.5
// BAS-10
#[test]
fn a_wrong_public_value_in_a_protected_exchange_ends_the_sa() {
    for end in ENDS {
        for act in [rekey_child, rekey_ike] {
            let mut pair = with_groups("aes128gcm16-x25519", "aes128gcm16-x25519").build();
            pair.establish();
            act(&mut pair, end);
            let request = pair.take(end.other());
            let short = Plain::open(&request.octets).with(|payloads| {
                for payload in payloads {
                    if let Payload::KeyExchange(public) = payload {
                        public.data = vec![1; 31].into();
                    }
                }
            });

            pair.put(&Flying { octets: short.seal(), ..request });

            assert_eq!(Plain::open(&pair.wire[0].octets).notifies(), [NotifyType::InvalidSyntax]);
            assert_eq!(pair.closed(end.other()), [CloseReason::ProtocolError]);
            pair.settle();
            assert_eq!(pair.closed(end), [CloseReason::ProtocolError]);
            pair.assert_in_step();
        }
    }
}

// test of RFC 6989 §2.5
#[test]
fn a_wrong_public_value_in_an_answer_makes_us_delete_the_sa() {
    for end in ENDS {
        let mut pair = with_groups("aes128gcm16-x25519", "aes128gcm16-x25519").build();
        pair.establish();
        rekey_child(&mut pair, end);
        pair.deliver();
        let answer = pair.take(end);
        let short = Plain::open(&answer.octets).with(|payloads| {
            for payload in payloads {
                if let Payload::KeyExchange(public) = payload {
                    public.data = vec![1; 31].into();
                }
            }
        });

        pair.put(&Flying { octets: short.seal(), ..answer });
        pair.settle();

        assert_eq!(pair.closed(end), [CloseReason::ProtocolError]);
        pair.pass(Duration::from_secs(300));
        pair.assert_in_step();
        assert!(pair.gateway.plane.is_empty());
    }
}

// test of RFC 7296 §2.21.3
// VER-15
#[test]
fn a_critical_payload_that_is_not_known_is_refused_and_the_sa_stays() {
    for end in ENDS {
        let mut pair = opened();
        rekey_child(&mut pair, end);
        let request = pair.take(end.other());
        let unknown = RawPayload { kind: PayloadType::from(255), is_critical: true, next: None, body: b"" };
        let plain = Plain::open(&request.octets).with(|payloads| payloads.push(Payload::Unknown(unknown)));

        pair.put(&Flying { octets: plain.seal(), ..request });

        let answer = Plain::open(&pair.wire[0].octets);
        let content = answer.chain().notifies().next().unwrap().content();
        assert_eq!(content, Ok(NotifyContent::UnsupportedCriticalPayload(255)));
        pair.settle();
        pair.assert_in_step();
        assert_eq!(sole(&pair, end).children.len(), 1);
    }
}

// test of RFC 7296 §2.21.3
// BAS-29 BAS-30
#[test]
fn a_request_that_can_not_be_read_ends_the_sa_on_both_sides_without_a_delete() {
    for end in ENDS {
        let mut pair = opened();
        rekey_child(&mut pair, end);
        let request = pair.take(end.other());
        let plain = Plain::open(&request.octets).with(|payloads| {
            payloads.retain(|payload| !matches!(payload, Payload::Nonce(_)));
        });
        pair.put(&Flying { octets: plain.seal(), ..request });

        assert_eq!(Plain::open(&pair.wire[0].octets).notifies(), [NotifyType::InvalidSyntax]);
        assert_eq!(pair.closed(end.other()), [CloseReason::ProtocolError]);
        pair.settle();
        assert_eq!(pair.closed(end), [CloseReason::ProtocolError]);
        pair.assert_in_step();
        assert!(pair.client.plane.is_empty());
    }
    // A nonce that is too short, and a chain that does not fill its envelope.
    for change in [0, 1] {
        let mut pair = opened();
        let flying =
            made_up(&pair, End::Client, ExchangeType::CreateChildSa, (Direction::Request, 2), |chain| {
                chain.plain(NotifyType::InitialContact)
            });
        let mut plain = Plain::open(&flying.octets);
        match change {
            0 => plain.octets.push(7),
            _ => plain.octets[3] = 3,
        }
        pair.put(&Flying { octets: plain.seal(), ..flying });
        assert_eq!(Plain::open(&pair.wire[0].octets).notifies(), [NotifyType::InvalidSyntax]);
        assert_eq!(pair.closed(End::Gateway), [CloseReason::ProtocolError]);
    }
}

// test of RFC 7296 §3.10.1
// BAS-31
#[test]
fn an_error_that_is_not_known_fails_the_request_and_leaves_the_sa() {
    for act in [rekey_child, rekey_ike] {
        let mut pair = opened();
        act(&mut pair, End::Client);
        let request = pair.take(End::Gateway);
        let mut header = Plain::open(&request.octets).header;
        header.direction = Direction::Response;
        header.sender = OriginalRole::Responder;
        let refusal = Plain::new(header, |chain| chain.plain(NotifyType::from(16_383)));
        let path = crate::ike::Path { local: request.path.remote, remote: request.path.local };

        pair.put(&Flying { to: End::Client, path, octets: refusal.seal() });

        assert!(pair.wire.is_empty());
        assert_eq!(sole(&pair, End::Client).children.len(), 1);
        assert_eq!(pair.client.endpoint.counters().failures[Failure::PeerRefused.position()], 1);
    }
}

#[test]
fn two_child_sas_of_one_ike_sa_are_rekeyed_and_inherited_together() {
    let mut pair = opened();
    let sa = sole(&pair, End::Client);
    let (local_ts, remote_ts) = (sa.children[0].local_ts.to_vec(), sa.children[0].remote_ts.to_vec());
    pair.command(End::Client, Command::NewChild { sa: sa.id, local_ts, remote_ts });
    pair.settle();
    let before: Vec<_> = sole(&pair, End::Gateway).children.iter().map(|child| child.inbound).collect();

    for end in ENDS {
        rekey_child(&mut pair, end);
        pair.settle();
        rekey_ike(&mut pair, end);
        pair.settle();
    }

    let after: Vec<_> = sole(&pair, End::Gateway).children.iter().map(|child| child.inbound).collect();
    assert_eq!((before.len(), after.len()), (2, 2));
    assert!(after.iter().all(|spi| !before.contains(spi)));
    assert_eq!(pair.gateway.endpoint.counts().children, 2);
}
