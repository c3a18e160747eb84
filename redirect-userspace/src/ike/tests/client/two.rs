//! Two clients that are sent from one gateway to another one, and the addresses that they get there.
//!
//! Both are connections of one endpoint here, so that whatever is left of one would be in the way of
//! the other.

use super::*;
use crate::ike::Leases as _;
use crate::ike::lease::LeaseRequest;
use crate::ike::pool::Pool;
use crate::testing::world::Who;

/// Both clients with SAs with the first gateway of two, which have a pool of the same network.
fn both_up() -> World {
    both(plan(), |world| {
        for who in [1, 2] {
            world.sides[who].pools.with(|pools| {
                pools.retain(|_| false);
                pools.add(name("ra4"), Pool::new([10, 99, 0, 0].into(), 24).unwrap());
            });
        }
    })
}

/// The addresses of alice and of bob, which they have with this gateway and nobody else.
fn addresses(world: &World, who: Who) -> [IpAddr; 2] {
    assert_eq!(world.with(), [who, who]);
    let (ours, theirs) = (world.sas(CLIENT), world.sas(who));
    ["alice@example.net", "bob@example.net"].map(|holder| {
        let sa = ours.iter().find(|sa| sa.local_id.contains(holder)).unwrap();
        let other = theirs.iter().find(|sa| sa.remote_id.contains(holder)).unwrap();
        assert_eq!(sa.addresses, other.addresses, "{holder}");
        let [address] = sa.addresses[..] else { panic!("one address: {:?}", sa.addresses) };
        address
    })
}

/// The first gateway sends its clients to the second one, one after the other.
fn send_away(world: &mut World, holders: [&str; 2]) {
    for holder in holders {
        let sas = world.sas(1);
        let id = sas.iter().find(|sa| sa.remote_id.contains(holder)).unwrap().id;
        let to = GatewayAddresses::new([at(2).to_string().parse().unwrap()]).ok();
        let grace = Duration::from_secs(60);
        let redirect = Redirect { selection: Selection::Id(id), percent: 100, to, grace };
        world.command(1, Command::Redirect(redirect));
        world.settle();
    }
    world.pass(LINGERING);
}

/// Nothing is left of what was before: no SA, no policy, no address.
fn assert_nothing_stale(world: &World) {
    assert!(world.sas(1).is_empty());
    assert!(world.sides[1].plane.is_empty());
    assert_eq!([1, 2].map(|who: Who| world.sides[who].pools.held()), [0, 2]);
    let (ours, theirs) = (&world.sides[CLIENT].plane, &world.sides[2].plane);
    assert_eq!((ours.len(), theirs.len()), (2, 2));
    for child in ours.values() {
        let peer = theirs.get(&child.outbound).unwrap();
        assert_eq!((&peer.local_ts, &peer.remote_ts), (&child.remote_ts, &child.local_ts));
        assert_eq!(peer.inbound_keys, child.outbound_keys);
    }
}

// RDX-17
#[test]
fn rdx_17_two_clients_have_the_addresses_that_they_had_when_they_come_in_the_same_order() {
    let mut world = both_up();
    let before = addresses(&world, 1);
    assert_ne!(before[0], before[1]);

    send_away(&mut world, ["alice", "bob"]);

    assert_eq!(addresses(&world, 2), before);
    assert_nothing_stale(&world);
}

// RDX-18: each asks for the address that it has, so that the order does not matter (libreswan has each
// get the other's).
#[test]
fn rdx_18_two_clients_have_the_addresses_that_they_had_in_whichever_order_they_come() {
    let mut world = both_up();
    let before = addresses(&world, 1);

    send_away(&mut world, ["bob", "alice"]);

    assert_eq!(addresses(&world, 2), before);
    assert_nothing_stale(&world);
}

// RDX-18: and where the gateway knows better, because they have been there before.
#[test]
fn rdx_18_two_clients_that_get_the_address_of_the_other_leave_nothing_of_their_own_behind() {
    for order in [["alice", "bob"], ["bob", "alice"]] {
        let mut world = both_up();
        let before = addresses(&world, 1);
        let holders = world.sides[1].pools.with(|pools| {
            let (_, pool) = pools.iter().next().unwrap();
            before.map(|address| pool.holder(address).unwrap().to_vec())
        });
        // They were there before, each with the address that the other one has now.
        world.sides[2].pools.with(|pools| {
            let pool = name("ra4");
            let leases = [(&holders[0], before[1]), (&holders[1], before[0])].map(|(holder, address)| {
                let (is_ipv6, takes_over, former) = (false, false, None);
                let wanted = Some(address);
                let request = LeaseRequest { pool: &pool, holder, is_ipv6, wanted, takes_over, former };
                pools.lease(&request).unwrap()
            });
            leases.into_iter().for_each(|lease| pools.release(lease));
        });

        send_away(&mut world, order);

        assert_eq!(addresses(&world, 2), [before[1], before[0]], "{order:?}");
        assert_nothing_stale(&world);
    }
}
