//! Datagrams that nobody should send, while tunnels are up.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use xtask::lab::gateway::{Scene, Settings, addresses};

use super::{carries_data, connect, family};
use crate::PATIENCE;

/// Datagrams of each kind.
const ROUNDS: u64 = 2_000;

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn tunnels_are_untouched_by_garbage() {
    let scene = Scene::new(2).unwrap();
    let mut gateway = scene.start(Settings::of_shared_key()).unwrap();
    let [visitor, attacker] = &scene.visitors[..] else { panic!("two visitors") };
    let tunnels: Vec<_> = addresses()
        .map(|address| connect(visitor, &visitor.connection(family(address), address)))
        .into_iter()
        .collect();
    let sas = gateway.sas().unwrap();

    for (address, sa) in addresses().into_iter().zip(&sas) {
        let local: IpAddr =
            if address.is_ipv4() { attacker.address4.into() } else { attacker.address6.into() };
        let socket = attacker.charon.namespace().udp((local, 0)).unwrap();
        let spis = [&sa.spi_i, sa.spi_r.as_ref().unwrap()].map(|spi| octets(spi));
        let child = octets(&sa.children[0].spi_in);
        for round in 0..ROUNDS {
            let noise = noise(round);
            // Noise as it is; IKE of this SA, in every exchange; ESP of its Child SA.
            send(&socket, (address, 500), &noise);
            send(&socket, (address, 4500), &noise);
            let exchange = u8::try_from(34 + round % 6).unwrap();
            let ike = forged(&spis, exchange, round, &noise);
            send(&socket, (address, 500), &ike);
            send(&socket, (address, 4500), &[&[0; 4], &ike[..]].concat());
            let sequence = u32::try_from(round + 1).unwrap().to_be_bytes();
            send(&socket, (address, 4500), &[&child, &sequence[..], &noise].concat());
            // Cut anywhere.
            let length = usize::try_from(round).unwrap() % ike.len();
            send(&socket, (address, 4500), &[&[0; 4], &ike[..length]].concat());
        }
    }

    gateway.check_running().unwrap();
    for tunnel in &tunnels {
        carries_data(visitor, tunnel, &scene.site);
        let sa = gateway.wait_for_sa(&tunnel.name, PATIENCE).unwrap();
        assert_eq!(sa.spi_i, tunnel.spis[0]);
        assert_eq!(sa.remote.is_ipv6(), tunnel.remote.is_ipv6());
        assert_ne!(sa.remote.ip(), IpAddr::from(attacker.address4), "it has not moved to the attacker");
    }
    // The exchanges go on where they were.
    for tunnel in tunnels {
        gateway.control().clear(&tunnel.name).unwrap();
        visitor.charon.wait_until_gone(&tunnel.name, PATIENCE).unwrap();
    }
}

/// An IKE message of an SA: its header is right, what follows is not.
fn forged(spis: &[Vec<u8>; 2], exchange: u8, round: u64, noise: &[u8]) -> Vec<u8> {
    // An encrypted payload, version 2.0; flags of a request or a response of either side.
    let flags = [0x08, 0x28, 0x00, 0x20][usize::try_from(round % 4).unwrap()];
    let mut message = [&spis[0], &spis[1], &[46, 0x20, exchange, flags][..]].concat();
    message.extend(u32::try_from(round % 5).unwrap().to_be_bytes());
    message.extend(u32::try_from(28 + 4 + noise.len()).unwrap().to_be_bytes());
    message.extend([0, 0]);
    message.extend(u16::try_from(4 + noise.len()).unwrap().to_be_bytes());
    message.extend(noise);
    message
}

/// Octets without a meaning, 16 to 271 of them.
fn noise(seed: u64) -> Vec<u8> {
    let length = 16 + usize::try_from(seed % 256).unwrap();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

fn octets(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn send(socket: &UdpSocket, to: impl Into<SocketAddr>, octets: &[u8]) {
    // A full queue loses some; what is answered is not read.
    let _sent = socket.send_to(octets, to.into());
}
