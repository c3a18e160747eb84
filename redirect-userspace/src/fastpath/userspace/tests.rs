//! The decision over sockets against the decision on Ethernet frames.

use std::net::UdpSocket;
use std::process::Command;
use std::sync::{Mutex, mpsc};

use common::checksum::Sum;
use common::decide::{Verdict, decide};
use common::ike::{
    EXCHANGE_IKE_SA_INIT, FLAG_INITIATOR, NOTIFY_REDIRECT_SUPPORTED, PAYLOAD_KE, PAYLOAD_NONCE, PAYLOAD_NONE,
    PAYLOAD_NOTIFY, PAYLOAD_SA, VERSION_2,
};
use common::inet::Address;
use common::maps::{Gateway, LlgTable, SLOTS, Vip};
use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::fastpath::memory::MemoryTables;
use crate::net::udp::HEADROOM;

const VIP4: &str = "192.0.2.1";
const VIP6: &str = "2001:db8::1";

/// Armed, with both VIPs and one gateway in all slots.
fn tables(gateway: Gateway) -> MemoryTables {
    let mut tables = MemoryTables::new(0x9e37_79b9_7f4a_7c15);
    let vips = [VIP4, VIP6, "192.0.2.7"].map(|vip| Vip::new(address(vip.parse().unwrap())));
    tables.set_vips(&vips).unwrap();
    tables.set_gateway(3, gateway).unwrap();
    tables.publish(LlgTable { generation: 1, slots: 1024, gateway: [3; SLOTS] });
    tables.arm();
    tables
}

fn address(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => Address::V4(address.octets()),
        IpAddr::V6(address) => Address::V6(address.octets()),
    }
}

fn gateway(name: Option<&[u8]>) -> Gateway {
    let ipv6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    match name {
        None => Gateway::new(Some([192, 0, 2, 9]), Some(ipv6), None, false).unwrap(),
        Some(name) => Gateway::new(None, None, Some(name), false).unwrap(),
    }
}

/// An IKE_SA_INIT request, with the marker when it goes to port 4500.
fn request(port: u16, spi_i: u64, nonce: usize) -> Vec<u8> {
    let payload = |next: u8, body: &[u8]| {
        let length = u16::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[next, 0][..], &length, body].concat()
    };
    let nonce: Vec<u8> = (0..nonce).map(|octet| u8::try_from(octet * 7 % 251).unwrap()).collect();
    let supported = [&[0, 0][..], &NOTIFY_REDIRECT_SUPPORTED.to_be_bytes()].concat();
    let payloads = [
        payload(PAYLOAD_KE, &[1; 40]),
        payload(PAYLOAD_NONCE, &[2; 264]),
        payload(PAYLOAD_NOTIFY, &nonce),
        payload(PAYLOAD_NONE, &supported),
    ]
    .concat();
    let length = u32::try_from(28 + payloads.len()).unwrap();
    let marker: &[u8] = if port == 4500 { &[0; 4] } else { &[] };
    [
        marker,
        &spi_i.to_be_bytes(),
        &[0; 8],
        &[PAYLOAD_SA, VERSION_2, EXCHANGE_IKE_SA_INIT, FLAG_INITIATOR],
        &[0; 4],
        &length.to_be_bytes(),
        &payloads,
    ]
    .concat()
}

/// The payload as it comes off a wire: in a VLAN, with a router's marks on its IP header.
fn ethernet_frame(local: SocketAddr, peer: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let udp_length = u16::try_from(8 + payload.len()).unwrap();
    let udp = [peer.port(), local.port(), udp_length, 0x1234].map(u16::to_be_bytes).concat();
    let (ethertype, ip) = match (local.ip(), peer.ip()) {
        (IpAddr::V4(local), IpAddr::V4(peer)) => {
            let [high, low] = (udp_length + 20).to_be_bytes();
            let mut header =
                [[0x45, 0xb8, high, low], [0xca, 0xfe, 0, 0], [51, 17, 0, 0], peer.octets(), local.octets()];
            let sum = header.iter().fold(Sum::ZERO, |sum, word| sum.add4(*word)).finish();
            header[2][2..].copy_from_slice(&sum);
            ([8, 0], header.concat())
        }
        (IpAddr::V6(local), IpAddr::V6(peer)) => {
            let [high, low] = udp_length.to_be_bytes();
            let start = [0x6b, 0x80, 0x12, 0x34, high, low, 17, 55];
            ([0x86, 0xdd], [&start[..], &peer.octets(), &local.octets()].concat())
        }
        mixed => panic!("{mixed:?}"),
    };
    let macs = [0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2];
    [&macs[..], &[0x81, 0, 0, 5], &ethertype, &ip, &udp, payload].concat()
}

/// The UDP payload of the reply to a frame, or why there is none.
fn reply_on_ethernet(
    local: SocketAddr,
    peer: SocketAddr,
    payload: &[u8],
    tables: &MemoryTables,
) -> Result<Vec<u8>, Reason> {
    let mut frame = ethernet_frame(local, peer, payload);
    let headers = frame.len() - payload.len();
    match decide(frame.as_mut_slice(), tables) {
        Verdict::Redirect { length, .. } => Ok(frame[headers..length].to_vec()),
        Verdict::Pass(reason) | Verdict::Drop(reason) => Err(reason),
    }
}

/// The same by way of a slot.
fn reply_on_socket(
    local: SocketAddr,
    peer: SocketAddr,
    payload: &[u8],
    tables: &MemoryTables,
) -> Result<Vec<u8>, Reason> {
    let wire = Wire::new(local);
    let mut octets = [&[0xaa; HEADROOM][..], payload].concat();
    match wire.decide(peer, &mut octets, tables) {
        Verdict::Redirect { length, .. } => Ok(octets[wire.reply(length)].to_vec()),
        Verdict::Pass(reason) | Verdict::Drop(reason) => {
            assert_eq!(&octets[HEADROOM..], payload, "a passed datagram was changed");
            Err(reason)
        }
    }
}

/// Every VIP and port, with a peer of the family.
fn ends() -> Vec<(SocketAddr, SocketAddr)> {
    let pairs = [(VIP4, "198.51.100.77"), (VIP6, "2001:db8:ffff::4d")];
    let ends = |(vip, peer): (&str, &str)| {
        let (vip, peer): (IpAddr, IpAddr) = (vip.parse().unwrap(), peer.parse().unwrap());
        [500, 4500].map(|port| (SocketAddr::new(vip, port), SocketAddr::new(peer, 31_000)))
    };
    pairs.into_iter().flat_map(ends).collect()
}

#[test]
fn a_reply_has_the_octets_it_would_have_on_ethernet() {
    for name in [None, Some(&b"g"[..]), Some(b"gw3.vpn.example.net"), Some(&[b'x'; 60])] {
        let tables = tables(gateway(name));
        for (local, peer) in ends() {
            for nonce in [16, 17, 31, 32, 33, 64, 100, 255, 256] {
                let request = request(local.port(), 0x1122_3344_5566_7788, nonce);

                let reply = reply_on_socket(local, peer, &request, &tables).unwrap();

                assert_eq!(Ok(&reply), reply_on_ethernet(local, peer, &request, &tables).as_ref());
                assert!(reply.len() < request.len());
            }
        }
    }
}

#[test]
fn a_datagram_is_passed_for_the_reason_it_has_on_ethernet() {
    let tables = tables(gateway(None));
    for (local, peer) in ends() {
        let whole = request(local.port(), 1, 32);
        for length in 0..whole.len() {
            let cut = &whole[..length];
            let expected = reply_on_ethernet(local, peer, cut, &tables);
            assert!(expected.is_err());
            assert_eq!(reply_on_socket(local, peer, cut, &tables), expected, "{local} {length}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x41;
            let expected = reply_on_ethernet(local, peer, &changed, &tables);
            assert_eq!(reply_on_socket(local, peer, &changed, &tables), expected, "{local} {at}");
        }
    }
}

#[test]
fn addresses_are_judged_as_on_ethernet() {
    let tables = tables(gateway(None));
    let elsewhere: SocketAddr = "192.0.2.2:500".parse().unwrap();
    let (local, peer) = ends()[0];
    let loopback: SocketAddr = "127.0.0.1:500".parse().unwrap();
    let other_family = ends()[2].1;
    let request = request(500, 1, 32);

    assert_eq!(reply_on_socket(elsewhere, peer, &request, &tables), Err(Reason::NotVip));
    assert_eq!(reply_on_socket(local, loopback, &request, &tables), Err(Reason::BadSource));
    assert_eq!(reply_on_socket(local, local, &request, &tables), Err(Reason::BadSource));
    assert_eq!(reply_on_socket(local, other_family, &request, &tables), Err(Reason::BadSource));
}

/// A kept datagram with its octets.
type Owned = (SocketAddr, SocketAddr, Reason, Vec<u8>);

struct Queue(Mutex<mpsc::Sender<Owned>>);

impl Keep for Queue {
    fn keep(&self, kept: &Kept<'_>) {
        let owned = (kept.local, kept.peer, kept.reason, kept.payload.to_vec());
        self.0.lock().unwrap().send(owned).unwrap();
    }
}

/// Runs `test` in a network namespace that ends with it. Threads started by `test` are in it too.
fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let inside = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip("link set lo up");
        for address in [VIP4, "192.0.2.2"] {
            ip(&format!("addr add {address}/32 dev lo"));
        }
        for address in [VIP6, "2001:db8::2"] {
            ip(&format!("addr add {address}/128 dev lo nodad"));
        }
        test();
    });
    if let Err(panic) = inside.join() {
        std::panic::resume_unwind(panic);
    }
}

fn ip(args: &str) {
    let status = Command::new("ip").args(args.split(' ')).status().unwrap();
    assert!(status.success(), "ip {args}");
}

fn client(vip: &str, port: u16) -> UdpSocket {
    let vip: IpAddr = vip.parse().unwrap();
    let local = if vip.is_ipv4() { "192.0.2.2:0" } else { "[2001:db8::2]:0" };
    let socket = UdpSocket::bind(local).unwrap();
    socket.connect((vip, port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

/// A process that another test is just starting holds a copy of every descriptor until it has become
/// the other program, so a socket may outlive its closing for a moment.
fn wait_until_refused(socket: &UdpSocket, request: &[u8]) {
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let errors = (0..100).map(|_| {
        socket.send(request).and_then(|_| socket.recv(&mut [0; 16])).expect_err("nothing answers").kind()
    });
    assert!(errors.into_iter().any(|error| error == std::io::ErrorKind::ConnectionRefused));
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut octets = [0; 2048];
    let length = socket.recv(&mut octets).unwrap();
    octets[..length].to_vec()
}

fn started(tables: &SharedTables, workers: usize) -> (Userspace, mpsc::Receiver<Owned>) {
    let (sender, kept) = mpsc::channel();
    let options =
        Options { workers: NonZeroUsize::new(workers).unwrap(), buffer: 1 << 20, patience: Duration::MAX };
    let mut userspace = Userspace::start(tables, Arc::new(Queue(Mutex::new(sender))), options).unwrap();
    userspace.set_vips(&[VIP4.parse().unwrap(), VIP6.parse().unwrap()]).unwrap();
    (userspace, kept)
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn requests_to_every_vip_and_port_are_answered_over_sockets() {
    in_namespace(|| {
        let tables = SharedTables::new(tables(gateway(None)));
        for workers in [1, 3] {
            let before = tables.packets()[Reason::Redirected as usize];
            let (userspace, kept) = started(&tables, workers);
            for (vip, port) in [(VIP4, 500), (VIP4, 4500), (VIP6, 500), (VIP6, 4500)] {
                let socket = client(vip, port);
                let (local, peer) = (socket.peer_addr().unwrap(), socket.local_addr().unwrap());
                let requests: Vec<_> = (1..=150).map(|spi| request(port, spi, 32)).collect();

                for request in &requests {
                    socket.send(request).unwrap();
                }

                for request in &requests {
                    let expected = reply_on_ethernet(local, peer, request, &tables.current());
                    assert_eq!(Ok(receive(&socket)), expected, "{vip} {port}");
                }
            }

            assert_eq!(tables.packets()[Reason::Redirected as usize] - before, 600);
            assert_eq!(userspace.unsent(), 0);
            assert!(kept.try_recv().is_err());
        }
        assert_eq!(tables.redirects()[3], 1200);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn what_is_not_redirected_is_kept_with_its_reason() {
    in_namespace(|| {
        let tables = SharedTables::new(tables(gateway(None)));
        let (_userspace, kept) = started(&tables, 1);
        let (ike, nat_t) = (client(VIP4, 500), client(VIP6, 4500));
        let request = request(500, 9, 32);

        ike.send(&request).unwrap();
        receive(&ike);
        tables.disarm();
        ike.send(&request).unwrap();
        let disarmed = kept.recv_timeout(Duration::from_secs(10)).unwrap();
        tables.arm();
        nat_t.send(&[0xff]).unwrap();
        let keepalive = kept.recv_timeout(Duration::from_secs(10)).unwrap();

        let ends = |socket: &UdpSocket| (socket.peer_addr().unwrap(), socket.local_addr().unwrap());
        let ((vip4, peer4), (vip6, peer6)) = (ends(&ike), ends(&nat_t));
        assert_eq!(disarmed, (vip4, peer4, Reason::Disarmed, request));
        assert_eq!(keepalive, (vip6, peer6, Reason::NatKeepalive, vec![0xff]));
        assert_eq!(tables.packets().iter().sum::<u64>(), 3);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_vip_is_served_as_soon_as_it_appears_and_no_longer_than_it_is_wanted() {
    in_namespace(|| {
        let tables = SharedTables::new(tables(gateway(None)));
        let (mut userspace, _kept) = started(&tables, 2);
        let request = request(500, 9, 32);

        userspace.set_vips(&["192.0.2.7".parse().unwrap()]).unwrap();
        ip("addr add 192.0.2.7/32 dev lo");
        let late = client("192.0.2.7", 500);
        late.send(&request).unwrap();
        assert!(receive(&late).len() < request.len());

        let gone = client(VIP4, 500);
        wait_until_refused(&gone, &request);

        drop(userspace);
        wait_until_refused(&late, &request);
    });
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn an_address_that_is_taken_leaves_the_sockets_as_they_were() {
    in_namespace(|| {
        let tables = SharedTables::new(tables(gateway(None)));
        let (mut userspace, _kept) = started(&tables, 1);
        let _taken = UdpSocket::bind("192.0.2.2:4500").unwrap();
        let request = request(500, 9, 32);

        let refused = userspace.set_vips(&["192.0.2.2".parse().unwrap()]).unwrap_err();

        assert!(format!("{refused:#}").contains("192.0.2.2:4500"), "{refused:#}");
        let socket = client(VIP4, 500);
        socket.send(&request).unwrap();
        assert!(receive(&socket).len() < request.len());
    });
}
