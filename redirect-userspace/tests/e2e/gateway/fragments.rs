//! IKE messages that are larger than the path: certificates over small links.

use xtask::lab::capture::Capture;
use xtask::lab::gateway::{Scene, Settings, addresses};
use xtask::lab::pki::{Key, Pki, Validity};
use xtask::lab::strongswan;

use super::{connect, family};
use crate::PATIENCE;

/// tshark's number for a fragment of an encrypted message (SKF).
const FRAGMENT: &str = "53";

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn certificates_go_over_small_links_in_fragments_of_ike() {
    for (address, size) in addresses().into_iter().zip([576, 1280]) {
        let settings = strongswan::Settings { fragment_size: size, ..strongswan::Settings::default() };
        let scene = Scene::with(1, settings).unwrap();
        let pki = Pki::new(&scene.lab).unwrap();
        let vpn = pki.issue("vpn", Key::Rsa2048, &["DNS:vpn.example.net"], Validity::Current).unwrap();
        let gateway = scene
            .start(Settings {
                fragment_size: Some(size),
                ..Settings::of_certificates(&vpn, &pki, "vpn.example.net")
            })
            .unwrap();
        let visitor = &scene.visitors[0];
        let name = format!("{}@example.net", family(address));
        let own = pki.issue(&name, Key::Rsa2048, &[&format!("email:{name}")], Validity::Current).unwrap();
        // What the network would fragment, or say is too big, does not arrive.
        for namespace in [&scene.site, visitor.charon.namespace()] {
            namespace.drop_fragments().unwrap();
            namespace.ip(&format!("link set eth0 mtu {}", size.max(1280))).unwrap();
        }
        let capture = Capture::start(&scene.site).unwrap();

        let connection = visitor.connection_by(&own, &pki, &name, address).unwrap();
        let tunnel = connect(visitor, &connection);
        visitor.charon.ping_through(&tunnel, PATIENCE).unwrap();

        gateway.wait_for_sa(&name, PATIENCE).unwrap();
        let frames = capture.finish(3).unwrap();
        for is_response in [false, true] {
            let ours = frames.iter().filter(|frame| frame.is_response == is_response);
            let fragments: Vec<_> =
                ours.filter(|frame| frame.payloads.contains(&FRAGMENT.to_owned())).collect();
            assert!(fragments.len() >= 2, "{is_response} {frames:?}");
            assert!(fragments.iter().all(|frame| frame.length <= size.into()), "{fragments:?}");
        }
        for frame in &frames {
            assert!(frame.complaints.is_empty(), "{frame:?}");
        }
    }
}
