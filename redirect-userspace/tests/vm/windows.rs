//! A client like those that Windows has built in, with FreeRADIUS behind our gateway: by the same
//! configuration file as in namespaces, where no kernel has to have ESP.

use xtask::lab::gateway::Scene;
use xtask::lab::gateway::windows::{ADDRESS, GATEWAY, PASSWORD, Windows};
use xtask::lab::strongswan::Sa;
use xtask::lab::traffic;

use crate::{PATIENCE, charon, connect, inbound, inside, is_clean, listed, wait_for_new_keys};

/// Octets of a transfer in each direction.
const BULK: usize = 256 << 10;

#[test]
#[ignore = "needs the virtual machine: cargo xtask test vm"]
fn a_windows_client_comes_up_through_freeradius_and_the_kernel_carries_its_packets() {
    let scene = Scene::with(1, charon()).unwrap();
    let mut windows = Windows::start(&scene).unwrap();
    let visitor = &scene.visitors[0];
    let (client, own) = (visitor.charon.namespace(), ADDRESS.parse().unwrap());
    let (inside, identity) = (inside(false), Windows::identity());

    let tunnel = connect(visitor, &windows.connection(visitor, "windows", PASSWORD).unwrap());

    assert_eq!(tunnel.remote_id, GATEWAY);
    assert!(tunnel.virtual_addresses.contains(&own), "{tunnel:?}");
    let carrier = windows.gateway.control().redirect().unwrap().dataplane.unwrap();
    assert_eq!((carrier.name.as_str(), carrier.reason), ("kernel", None));
    let states = listed(&scene.site, "state").unwrap();
    assert_eq!(states.len(), 2, "{states:?}");
    traffic::transfer((client, own), (&scene.site, inside), BULK).unwrap();
    let user = identity.replace('\\', "\\\\");
    let start = [("Acct-Status-Type", "Start"), ("User-Name", &user), ("Framed-IP-Address", ADDRESS)];
    let start = windows.radius.wait_for_record(&start, PATIENCE).unwrap();
    assert_eq!(start["Calling-Station-Id"], visitor.address4.to_string(), "{start:?}");

    // With new keys the kernel counts from the beginning, and the server is told the sum.
    let old = inbound(&windows.gateway, &identity);
    visitor.charon.rekey("windows", Sa::Child).unwrap();
    wait_for_new_keys(&windows.gateway, &identity, &old);
    traffic::transfer((client, own), (&scene.site, inside), BULK).unwrap();

    visitor.charon.terminate("windows", Sa::Ike).unwrap();
    let stop = [("Acct-Status-Type", "Stop"), ("Acct-Session-Id", &*start["Acct-Session-Id"])];
    let stop = windows.radius.wait_for_record(&stop, PATIENCE).unwrap();
    assert_eq!(stop["Acct-Terminate-Cause"], "User-Request", "{stop:?}");
    for octets in ["Acct-Input-Octets", "Acct-Output-Octets"] {
        let count: usize = stop[octets].parse().unwrap();
        assert!(count > 2 * BULK, "{octets}: {stop:?}");
    }
    is_clean(&scene.site);

    // A password that the server does not have lets nobody in, and nothing into the kernel.
    let mut wrong = windows.connection(visitor, "windows", "wrong").unwrap();
    wrong.name = "wrong".to_owned();
    visitor.charon.add_client(&wrong).unwrap();
    visitor.charon.initiate("wrong").unwrap();
    windows.gateway.wait_for_event("sa-refused", &["eap-failed"], PATIENCE).unwrap();
    is_clean(&scene.site);

    windows.gateway.stop().unwrap();
}
