//! What a tunnel carries whose packets the kernel seals and opens, for our gateway and for strongSwan's
//! on the same kernel. `cargo xtask bench kernel` runs it in the virtual machine, whose kernel has ESP.
//!
//! Both gateways take turns in one place, with one and the same strongSwan as client. The kernel does the
//! work for both; what differs is how packets come to its SAs: ours go through an xfrm interface, the
//! other's are caught by policies on their way to the wire. An emulated processor is slow, and equally so
//! for both: only the ratio means something.
//!
//! The gateway's own TCP leaves through an interface in long segments, which the kernel cuts at the SA. Where
//! a policy is on the route, it does not (`sk_setup_caps`): so ours is measured without long segments as
//! well, where the kernel has the same to do for both.

#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark prints its table and may fail loudly"
)]

#[expect(dead_code, reason = "shared with the other benchmark, which uses the rest of it")]
#[path = "../fastpath/report.rs"]
mod report;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use xtask::lab::gateway::{Gateway, Scene, Settings, addresses};
use xtask::lab::netns::Namespace;
use xtask::lab::strongswan::{self, Charon, GatewayConfig};
use xtask::lab::{traffic, wait};

use crate::report::{Report, Samples};

/// How long a tunnel may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What carries the packets of the fast suite.
const ESP: &str = "aes128gcm16";

/// Our gateway's interface.
const INTERFACE: &str = "ike0";

/// A gateway that runs.
enum Runner {
    Ours(Box<Gateway>),
    Charon(Charon),
}

fn main() -> Result<()> {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let (rounds, octets) = if is_quick { (2, 1 << 20) } else { (7, 6 << 20) };
    let charon = strongswan::Settings { has_kernel_esp: true, ..strongswan::Settings::default() };
    let scene = Scene::with(1, charon)?;
    let visitor = &scene.visitors[0];
    let inside = Scene::inside(false)?;
    let names = ["to the client", "from the client"];
    let mut rates = names.map(|_| [Samples::new(), Samples::new()]);
    let mut short = Samples::new();
    for round in 0..rounds {
        for number in [0, 1] {
            let runner = if number == 0 {
                let dataplane = Some("kernel".to_owned());
                let esp_proposals = vec![ESP.to_owned()];
                let settings =
                    Settings { dataplane, esp_proposals, is_quiet: true, ..Settings::of_shared_key() };
                Runner::Ours(Box::new(scene.start(settings)?))
            } else {
                Runner::Charon(scene.start_strongswan_with(&GatewayConfig::of_shared_key(), charon)?)
            };
            let name = format!("client-{round}-{number}");
            visitor.charon.add_client(&visitor.connection(&name, addresses()[0]))?;
            visitor.charon.initiate(&name)?;
            let tunnel = visitor.charon.wait_for_tunnel(&name, PATIENCE)?;
            visitor.charon.ping_through(&tunnel, PATIENCE).with_context(|| format!("{name}: {tunnel:?}"))?;
            let own = tunnel.virtual_address(false)?;
            let (client, gateway) = ((visitor.charon.namespace(), own), (&scene.site, inside));
            for (rates, (from, to)) in rates.iter_mut().zip([(gateway, client), (client, gateway)]) {
                measured(from, to, octets / 8)?;
                rates[number].push(measured(from, to, octets)?);
            }
            if number == 0 {
                scene.site.ip(&format!("link set dev {INTERFACE} gso_max_segs 1"))?;
                measured(gateway, client, octets / 8)?;
                short.push(measured(gateway, client, octets)?);
            }
            visitor.charon.remove_client(&name)?;
            // The next tunnel has the same addresses: what is taken away late would be taken from it.
            wait::until("the client has left", PATIENCE, || {
                let tunnels = visitor.charon.tunnels()?;
                let addresses = visitor.charon.namespace().addresses()?;
                let is_there = |address: &IpAddr| addresses.iter().any(|(_, there)| there == address);
                let has_left = tunnels.is_empty() && !tunnel.virtual_addresses.iter().any(is_there);
                ensure!(has_left, "{tunnels:?} {addresses:?}");
                Ok(())
            })?;
            match runner {
                Runner::Ours(mut gateway) => gateway.stop()?,
                Runner::Charon(mut charon) => {
                    charon.kill()?;
                    // It may not have heard yet that the client has gone, and its policies would catch
                    // the packets of whoever comes after it.
                    ["xfrm state flush", "xfrm policy flush"]
                        .iter()
                        .try_for_each(|order| scene.site.ip(order))?;
                }
            }
        }
    }
    let mut report = Report::default();
    for (name, [ours, theirs]) in names.into_iter().zip(&rates) {
        report.rate("tunnel in the kernel, TCP", name, "kB/s", ours, theirs, 0.95, 1.0);
    }
    let [[_, theirs], _] = &rates;
    report.rate("the same, short segments", names[0], "kB/s", &short, theirs, 0.95, 1.0);
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench/kernel.json"));
    let result = report.finish(&path);
    // What is written in the machine is gone with it: whoever has started it takes this.
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let value: serde_json::Value = serde_json::from_str(&text)?;
    println!("JSON: {value}");
    result
}

/// Thousands of octets that come from one end to the other in a second.
fn measured(from: (&Namespace, IpAddr), to: (&Namespace, IpAddr), octets: usize) -> Result<f64> {
    let started = now();
    traffic::send_all(from, to, octets)?;
    #[expect(clippy::cast_precision_loss, reason = "a count of octets")]
    let rate = octets as f64 / 1e3 / started.elapsed().as_secs_f64();
    Ok(rate)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}
