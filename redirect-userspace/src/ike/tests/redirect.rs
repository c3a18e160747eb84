//! The gateway sends clients elsewhere: in IKE_SA_INIT, in IKE_AUTH, while the SA is up.

use std::sync::Arc;
use std::time::Duration;

use crate::gateway::{EmptySlot, GatewayAddress, GatewayAddresses, GatewayIndex, LlgTable};
use crate::ike::config::Settings;
use crate::ike::redirect::{Target, Targets};
use crate::ike::wire::{Message, Notify, NotifyContent, NotifyType, encode_message};
use crate::ike::{CloseReason, Command, Drain, Event, Input, SaState, Selection};
use crate::testing::pair::{End, Flying, Pair, Plan};

const ELSEWHERE: &str = "192.0.2.3";

/// A table of two members, this node and another one; every slot leads to the one with this index.
pub(super) fn targets(index: u16, vips: &[&str]) -> Input<'static> {
    let slots = vec![GatewayIndex::new(index); common::maps::SLOTS].into();
    let table = LlgTable { generation: 1, slots, empty: EmptySlot::Keep };
    let member = |text: &str, is_self| {
        let address: GatewayAddress = text.parse().unwrap();
        Some(Target { addresses: GatewayAddresses::new([address]).unwrap(), is_self })
    };
    let members = vec![member("192.0.2.1", true), member(ELSEWHERE, false)];
    let vips = vips.iter().map(|vip| vip.parse().unwrap()).collect();
    Input::Targets(Arc::new(Targets::new(&table, members, 0x9e37_79b9_7f4a_7c15, vips)))
}

/// Lets the request of a client that does not follow redirects say that it does.
fn follow(pair: &mut Pair) {
    let Some(Flying { octets, .. }) = pair.wire.front_mut() else { panic!("no request") };
    let message = Message::decode(octets).unwrap();
    let header = message.header;
    let payloads: Vec<_> =
        message.payloads.iter().map(|raw| crate::ike::wire::Payload::decode(&raw).unwrap()).collect();
    let changed = encode_message(Vec::new(), &header, |chain| {
        payloads.iter().try_for_each(|payload| chain.push(payload))?;
        chain.plain(NotifyType::RedirectSupported)
    });
    *octets = changed.unwrap();
}

fn redirected(events: &[Event]) -> Option<&GatewayAddress> {
    events.iter().find_map(|event| if let Event::Redirected { to, .. } = event { Some(to) } else { None })
}

// test of RFC 5685 §3
#[test]
fn a_request_to_the_vip_is_answered_with_a_redirect_and_its_nonce_and_nothing_is_kept() {
    let mut pair = Plan::shared_key().build();
    pair.step(End::Gateway, targets(1, &["192.0.2.1"]));
    pair.initiate();
    follow(&mut pair);
    let request = pair.wire[0].octets.clone();

    pair.deliver();

    let answer = &pair.wire[0].octets;
    let message = Message::decode(answer).unwrap();
    let ni = Message::decode(&request).unwrap().payloads.find(crate::ike::wire::PayloadType::Nonce).unwrap();
    let notify: Notify<'_> = message.payloads.notify(NotifyType::Redirect).unwrap();
    let NotifyContent::Redirect { gateway, nonce } = notify.content().unwrap() else { panic!("{notify:?}") };
    assert_eq!(gateway, ELSEWHERE.parse().unwrap());
    assert_eq!(nonce.unwrap().as_slice(), ni.body);
    assert_eq!((message.header.spi_r, message.payloads.iter().count()), (None, 1));
    assert!(answer.len() < request.len());
    assert_eq!(pair.gateway.endpoint.counts(), crate::ike::CountSnapshot::default());
}

#[test]
fn a_client_that_does_not_follow_is_served_and_so_is_one_that_comes_to_this_node() {
    for (vips, follows) in [(vec!["192.0.2.1"], false), (vec!["192.0.2.9"], true)] {
        let mut pair = Plan::shared_key().build();
        pair.step(End::Gateway, targets(1, &vips));
        pair.initiate();
        if follows {
            follow(&mut pair);
        }

        pair.deliver();

        assert_eq!(pair.gateway.endpoint.counts().half_open, 1, "{vips:?}");
    }
}

#[test]
fn a_client_whose_slot_leads_here_is_served() {
    let mut pair = Plan::shared_key().build();
    pair.step(End::Gateway, targets(0, &["192.0.2.1"]));
    pair.initiate();
    follow(&mut pair);

    pair.deliver();

    assert_eq!(pair.gateway.endpoint.counts().half_open, 1);
}

/// A pair whose client has said that it follows redirects, by a request that its AUTH covers as
/// well.
fn following(mut plan: Plan) -> Pair {
    plan.client.follows_redirects = true;
    plan.build()
}

// test of RFC 5685 §6
#[test]
fn a_client_is_redirected_in_ike_auth_once_it_is_known_and_gets_no_child_sa() {
    let mut plan = Plan::shared_key();
    plan.gateway_profile(|profile| profile.redirect_auth = true);
    let ignoring = Settings { follows_redirects: false, ..plan.client.clone() };
    let mut pair = following(plan);
    pair.step(End::Gateway, targets(1, &[]));

    pair.initiate();
    // It has said that it goes, and stays.
    pair.step(End::Client, Input::Configure(Arc::new(ignoring)));
    pair.settle();

    let [sa] = &pair.sas(End::Gateway)[..] else { panic!("one SA") };
    assert_eq!((sa.state, sa.children.len(), sa.addresses.len()), (SaState::Redirected, 0, 0));
    assert!(pair.gateway.plane.is_empty());
    assert_eq!(redirected(&pair.events(End::Gateway)), Some(&ELSEWHERE.parse().unwrap()));
    pair.pass(Duration::from_secs(60));
    assert!(pair.sas(End::Gateway).is_empty(), "it is not kept for ever");
}

// test of RFC 5685 §5
#[test]
fn a_live_client_is_told_once_and_its_sa_ends_after_its_grace() {
    let mut pair = following(Plan::shared_key());
    pair.step(End::Gateway, targets(1, &[]));
    pair.initiate();
    pair.settle();
    pair.events(End::Gateway);
    let grace = Duration::from_secs(20);
    let command = Command::Redirect { selection: Selection::All, to: None, grace };

    pair.command(End::Gateway, command.clone());
    pair.command(End::Gateway, command);
    assert_eq!(pair.wire.len(), 1);
    pair.settle();

    assert_eq!(redirected(&pair.events(End::Gateway)), Some(&ELSEWHERE.parse().unwrap()));
    assert_eq!(pair.gateway.plane.len(), 1, "traffic goes on");
    pair.pass(Duration::from_secs(19));
    assert_eq!(pair.sas(End::Gateway).len(), 1);
    pair.pass(Duration::from_secs(2));
    assert!(pair.sas(End::Gateway).is_empty() && pair.sas(End::Client).is_empty());
    let closed = pair
        .events(End::Gateway)
        .into_iter()
        .find_map(|event| if let Event::Closed { reason, .. } = event { Some(reason) } else { None });
    assert_eq!(closed, Some(CloseReason::Redirected));
}

#[test]
fn a_client_that_does_not_follow_is_not_told_and_stays_until_the_deadline_of_a_drain() {
    let mut pair = Plan::shared_key().build();
    pair.step(End::Gateway, targets(1, &[]));
    pair.initiate();
    pair.settle();
    let grace = Duration::from_secs(20);

    pair.command(End::Gateway, Command::Redirect { selection: Selection::All, to: None, grace });
    assert!(pair.wire.is_empty());
    let drain = Drain { pace: Duration::from_millis(100), grace, deadline: Some(Duration::from_secs(60)) };
    pair.command(End::Gateway, Command::Drain(drain));
    pair.pass(Duration::from_secs(59));
    assert_eq!(pair.sas(End::Gateway).len(), 1);
    pair.pass(Duration::from_secs(2));

    assert!(pair.sas(End::Gateway).is_empty() && pair.sas(End::Client).is_empty());
}

#[test]
fn a_drain_that_is_called_off_leaves_the_rest_in_peace() {
    let mut pair = following(Plan::shared_key());
    pair.initiate();
    pair.settle();
    let drain = Drain {
        pace: Duration::from_millis(100),
        grace: Duration::from_secs(20),
        deadline: Some(Duration::from_secs(60)),
    };
    // Nowhere to go: nobody is told.
    pair.command(End::Gateway, Command::Drain(drain));
    pair.pass(Duration::from_secs(10));
    assert!(pair.gateway.endpoint.is_draining());
    pair.command(End::Gateway, Command::Undrain);
    pair.step(End::Gateway, targets(1, &[]));
    pair.pass(Duration::from_secs(100));

    assert_eq!(pair.sas(End::Gateway)[0].state, SaState::Established);
    assert!(!pair.gateway.endpoint.is_draining());
}
