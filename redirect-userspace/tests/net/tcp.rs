//! The connection between a slave and the master at the VIP.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use redirect_userspace::net::tcp::{Closed, Connections, Limits, TcpEvent};
use tokio::sync::mpsc::{Receiver, channel};

use crate::wire::{PATIENCE, VIP4, VIRTUAL4, Wire};

fn next(wire: &Wire, events: &mut Receiver<TcpEvent>) -> TcpEvent {
    wire.wait("an event", events.recv()).unwrap()
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_slave_reaches_the_master_at_the_vip_and_notices_that_it_has_vanished() {
    let wire = Wire::new();
    let limits = Limits { silence: Duration::from_secs(1), ..Limits::default() };
    let vip = SocketAddr::new(VIP4, 2012);
    let mut vips = wire.prepare(&wire.first, Some(VIRTUAL4));
    let (sender, mut at_master) = channel(8);
    // Before the address is there.
    let master = wire.within(&wire.first, || Connections::listen(vip, limits, sender)).unwrap();
    vips.acquire(&[VIP4]).unwrap();

    let (sender, mut at_slave) = channel(8);
    let (slave, id) = wire.within(&wire.second, || Connections::dial(vip, PATIENCE, limits, sender));
    let TcpEvent::Connected { local, .. } = next(&wire, &mut at_slave) else { panic!("not connected") };
    let accepted = next(&wire, &mut at_master);
    let TcpEvent::Accepted { id: of_slave, from } = accepted else { panic!("{accepted:?}") };
    assert_eq!((from, from.ip()), (local, "10.50.0.2".parse().unwrap()));
    slave.write(id, b"hello".to_vec());
    let octets = b"hello".to_vec();
    assert_eq!(next(&wire, &mut at_master), TcpEvent::Bytes { id: of_slave, octets });

    // Nobody says goodbye.
    wire.switch.namespace().ip("link set r1 down").unwrap();
    slave.write(id, b"anybody there?".to_vec());

    let why = Closed::Failed(io::ErrorKind::TimedOut);
    assert_eq!(next(&wire, &mut at_slave), TcpEvent::Closed { id, why });
    drop(master);
}
