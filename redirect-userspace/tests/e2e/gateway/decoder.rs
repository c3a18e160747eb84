//! tshark as an independent reader of what the gateway sends, with the keys.

use xtask::lab::capture::{Capture, Frame};
use xtask::lab::gateway::{Scene, Settings, addresses};
use xtask::lab::keys;
use xtask::lab::pki::{Key, Pki, Validity};
use xtask::lab::strongswan::{self, Sa};

use super::{connect, family, rekeyed};
use crate::{GOOD, PATIENCE};

/// tshark's numbers of payloads: IDr, AUTH, Delete, and the configuration.
const ID_R: &str = "36";
const AUTH: &str = "39";
const DELETE: &str = "42";
const CONFIGURATION: &str = "47";
/// tshark's numbers of exchanges.
const IKE_AUTH: &str = "35";
const CREATE_CHILD_SA: &str = "36";
const INFORMATIONAL: &str = "37";

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn tshark_reads_all_that_the_gateway_sends() {
    let settings = strongswan::Settings { tells_keys: true, ..strongswan::Settings::default() };
    let scene = Scene::with(1, settings).unwrap();
    let pki = Pki::new(&scene.lab).unwrap();
    let vpn = pki.issue("vpn", Key::P256, &["DNS:vpn.example.net"], Validity::Current).unwrap();
    let gateway = scene.start(Settings::of_certificates(&vpn, &pki, "vpn.example.net")).unwrap();
    let visitor = &scene.visitors[0];
    let capture = Capture::start(&scene.site).unwrap();
    let own = pki.issue("own", Key::P256, &["email:a@example.net"], Validity::Current).unwrap();

    let mut spis = Vec::new();
    for (address, (ike, esp)) in addresses()
        .into_iter()
        .zip([("aes256gcm16-prfsha384-ecp384", "aes256gcm16"), ("aes256-sha256-modp2048", "aes256-sha256")])
    {
        let mut connection = visitor.connection_by(&own, &pki, "a@example.net", address).unwrap();
        connection.name = family(address).to_owned();
        (connection.ike_proposals, connection.esp_proposals) = (vec![ike.to_owned()], vec![esp.to_owned()]);
        let tunnel = connect(visitor, &connection);
        visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();
        visitor.charon.rekey(&tunnel.name, Sa::Child).unwrap();
        let tunnel = rekeyed(visitor, &gateway, &tunnel, Sa::Child);
        visitor.charon.rekey(&tunnel.name, Sa::Ike).unwrap();
        spis.push(tunnel.spis.clone());
        spis.push(rekeyed(visitor, &gateway, &tunnel, Sa::Ike).spis);
        gateway.control().clear("a@example.net").unwrap();
        visitor.charon.wait_until_gone(&connection.name, PATIENCE).unwrap();
    }

    let keys = keys::of_ike_sas(&visitor.charon.log(), &spis).unwrap();
    let frames = capture.finish_with_keys(10, &keys).unwrap();
    for frame in &frames {
        assert!(frame.complaints.is_empty(), "{frame:?}");
        assert!(frame.checksums.iter().all(|status| status == GOOD), "{frame:?}");
    }
    for address in addresses() {
        let ours: Vec<_> = frames.iter().filter(|frame| frame.source == address.to_string()).collect();
        let sent = |exchange: &str, payloads: &[&str]| {
            let has = |frame: &&&Frame| {
                let all = payloads.iter().all(|payload| frame.payloads.iter().any(|has| has == payload));
                frame.exchange == exchange && all
            };
            assert!(ours.iter().any(|frame| has(&frame)), "{exchange} {payloads:?} {ours:#?}");
        };
        sent(IKE_AUTH, &[ID_R, AUTH, CONFIGURATION]);
        // SA and nonce.
        sent(CREATE_CHILD_SA, &["33", "40"]);
        sent(INFORMATIONAL, &[DELETE]);
    }
}
