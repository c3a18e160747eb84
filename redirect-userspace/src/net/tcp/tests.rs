//! Over the loopback interface.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test wants one event, whatever others there are")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream as StdStream;

use tokio::sync::mpsc::{Receiver, channel};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn listening(limits: Limits, events: usize) -> (Connections, SocketAddr, Receiver<TcpEvent>) {
    let (sender, receiver) = channel(events);
    let connections = Connections::listen(loopback(), limits, sender).unwrap();
    let local = connections.local().unwrap();
    (connections, local, receiver)
}

fn peer(to: SocketAddr) -> StdStream {
    let stream = StdStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

async fn next(events: &mut Receiver<TcpEvent>) -> TcpEvent {
    timeout(PATIENCE, events.recv()).await.expect("an event").expect("somebody who tells events")
}

async fn accepted(events: &mut Receiver<TcpEvent>) -> ConnectionId {
    match next(events).await {
        TcpEvent::Accepted { id, .. } => id,
        other => panic!("{other:?}"),
    }
}

/// Reads to the end in a thread, while this one runs the connections.
async fn read_to_end(mut stream: StdStream) -> io::Result<Vec<u8>> {
    let reading = tokio::task::spawn_blocking(move || {
        let mut octets = Vec::new();
        stream.read_to_end(&mut octets).map(|_| octets)
    });
    timeout(PATIENCE, reading).await.expect("an end").unwrap()
}

#[tokio::test]
async fn octets_pass_both_ways_and_both_ends_see_the_end() {
    let (listener, local, mut events) = listening(Limits::default(), 8);
    let (sender, mut dialled) = channel(8);
    let (dialler, near) = Connections::dial(local, PATIENCE, Limits::default(), sender);
    dialler.write(near, b"before there is a connection".to_vec());

    let far = accepted(&mut events).await;
    let TcpEvent::Connected { id, .. } = next(&mut dialled).await else { panic!("not connected") };
    assert_eq!(id, near);
    let octets = b"before there is a connection".to_vec();
    assert_eq!(next(&mut events).await, TcpEvent::Bytes { id: far, octets });

    listener.write(far, b"last ".to_vec());
    listener.write(far, b"words".to_vec());
    listener.close(far);
    listener.write(far, b"never sent".to_vec());
    let mut heard = Vec::new();
    let end = loop {
        match next(&mut dialled).await {
            TcpEvent::Bytes { octets, .. } => heard.extend(octets),
            other => break other,
        }
    };

    assert_eq!(heard, b"last words");
    assert_eq!(end, TcpEvent::Closed { id: near, why: Closed::Peer });
    assert_eq!(next(&mut events).await, TcpEvent::Closed { id: far, why: Closed::Ours });
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_closed_and_the_others_are_not() {
    let limits = Limits { queue: 100_000, ..Limits::default() };
    let (listener, local, mut events) = listening(limits, 8);
    let mut sluggish = peer(local);
    let slow = accepted(&mut events).await;
    let brisk = peer(local);
    let quick = accepted(&mut events).await;

    // More than the kernel holds for one connection, in any configuration.
    let mut written = 0;
    let why = loop {
        listener.write(slow, vec![1; 50_000]);
        written += 1;
        assert!(written < 10_000, "nobody minds");
        tokio::task::yield_now().await;
        match events.try_recv() {
            Ok(TcpEvent::Closed { id, why }) if id == slow => break why,
            Ok(other) => panic!("{other:?}"),
            Err(_) => {}
        }
    };
    listener.write(quick, b"here".to_vec());
    listener.close(quick);

    assert_eq!(why, Closed::Slow);
    assert_eq!(read_to_end(brisk).await.unwrap(), b"here");
    assert_eq!(next(&mut events).await, TcpEvent::Closed { id: quick, why: Closed::Ours });
    // What is in the kernel at our end is thrown away instead of being held for this peer.
    let error = tokio::task::spawn_blocking(move || {
        let mut room = [0; 65_536];
        loop {
            match sluggish.read(&mut room) {
                Ok(0) => panic!("an end in order"),
                Ok(_) => {}
                Err(error) => break error,
            }
        }
    });
    assert_eq!(error.await.unwrap().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_peer_that_stops_reading_does_not_hold_up_the_close() {
    let (listener, local, mut events) = listening(Limits { queue: 1 << 26, ..Limits::default() }, 8);
    let _sluggish = peer(local);
    let id = accepted(&mut events).await;

    listener.write(id, vec![1; 1 << 25]);
    listener.close(id);

    assert_eq!(next(&mut events).await, TcpEvent::Closed { id, why: Closed::Ours });
}

#[tokio::test]
async fn nothing_is_read_while_nobody_takes_events() {
    let (listener, local, mut events) = listening(Limits::default(), 2);
    let mut talker = peer(local);
    let id = accepted(&mut events).await;
    talker.set_write_timeout(Some(Duration::from_millis(200))).unwrap();

    // The peer is stopped by TCP, after what the kernel and the channel hold.
    let sent = tokio::task::spawn_blocking(move || {
        let mut sent = 0;
        loop {
            match talker.write(&[7; 65_536]) {
                Ok(written) => sent += written,
                Err(error) => break (sent, error.kind(), talker),
            }
            assert!(sent < 1 << 30, "nothing stops it");
        }
    });
    let (sent, stopped_by, talker) = sent.await.unwrap();
    drop(talker);
    let mut received = 0;
    let end = loop {
        match next(&mut events).await {
            TcpEvent::Bytes { octets, .. } => {
                assert!((1..=LONGEST_PIECE).contains(&octets.len()));
                received += octets.len();
            }
            other => break other,
        }
    };

    assert_eq!(stopped_by, io::ErrorKind::WouldBlock);
    assert_eq!(received, sent, "and nothing is lost");
    assert_eq!(end, TcpEvent::Closed { id, why: Closed::Peer });
    drop(listener);
}

#[tokio::test]
async fn too_many_peers_are_turned_away_at_once() {
    let limits = Limits { connections: 3, per_peer: 2, ..Limits::default() };
    let (listener, local, mut events) = listening(limits, 8);
    let first = peer(local);
    let first_id = accepted(&mut events).await;
    let _second = peer(local);
    accepted(&mut events).await;

    let third = peer(local);
    let refused = next(&mut events).await;
    let from = third.local_addr().unwrap();
    assert_eq!(refused, TcpEvent::Refused { from, why: Refused::FullForPeer });
    assert_eq!(read_to_end(third).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);

    let other = |address: [u8; 4]| async move {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from((address, 0))).unwrap();
        socket.connect(local).await.unwrap()
    };
    let _other = other([127, 0, 0, 2]).await;
    accepted(&mut events).await;
    let full = other([127, 0, 0, 3]).await;
    let from = full.local_addr().unwrap();
    assert_eq!(next(&mut events).await, TcpEvent::Refused { from, why: Refused::Full });

    // A place that has become free is given to the next.
    drop(first);
    assert_eq!(next(&mut events).await, TcpEvent::Closed { id: first_id, why: Closed::Peer });
    let _next = peer(local);
    accepted(&mut events).await;
    drop(listener);
}

#[tokio::test]
async fn dropping_the_handle_closes_everything_and_frees_the_port() {
    let (listener, local, mut events) = listening(Limits::default(), 8);
    let stream = peer(local);
    accepted(&mut events).await;

    listener.shut_down().await;

    assert_eq!(read_to_end(stream).await.unwrap(), b"");
    assert_eq!(events.recv().await, None);
    let (sender, _events) = channel(1);
    let again = Connections::listen(local, Limits::default(), sender).unwrap();
    let stream = peer(local);
    drop(again);
    // Waiting to be accepted, or accepted: it ends either way.
    let _ended = read_to_end(stream).await;
}

#[tokio::test]
async fn a_port_in_use_is_named_in_the_error() {
    let (_listener, local, _events) = listening(Limits::default(), 1);

    let (sender, _) = channel(1);
    let error = Connections::listen(local, Limits::default(), sender).unwrap_err();

    assert!(format!("{error:#}").starts_with(&format!("listening on TCP {local}: ")), "{error:#}");
}

#[tokio::test]
async fn an_address_that_is_not_here_yet_can_be_listened_on() {
    for vip in ["192.0.2.1:0", "[2001:db8::1]:0"] {
        let (sender, _events) = channel(1);

        assert!(Connections::listen(vip.parse().unwrap(), Limits::default(), sender).is_ok(), "{vip}");
    }
}

#[tokio::test]
async fn what_cannot_be_dialled_is_closed_with_the_reason() {
    let (listener, local, _events) = listening(Limits::default(), 1);
    listener.shut_down().await;
    let (sender, mut events) = channel(8);

    let (_refused, id) = Connections::dial(local, PATIENCE, Limits::default(), sender.clone());
    let why = Closed::Failed(io::ErrorKind::ConnectionRefused);
    assert_eq!(next(&mut events).await, TcpEvent::Closed { id, why });
}

#[tokio::test]
async fn a_peer_that_does_not_answer_is_given_up() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(loopback()).unwrap();
    // Nobody accepts, and the kernel holds a few connections at most before it ignores the rest.
    let full = socket.listen(0).unwrap();
    let local = full.local_addr().unwrap();
    let (sender, mut events) = channel(8);

    let mut diallers = Vec::new();
    let end = loop {
        let patience = Duration::from_millis(100);
        let (dialler, id) = Connections::dial(local, patience, Limits::default(), sender.clone());
        diallers.push(dialler);
        assert!(diallers.len() < 10, "everyone is let in");
        match next(&mut events).await {
            TcpEvent::Connected { .. } => {}
            end => break (end, id),
        }
    };

    assert_eq!(end.0, TcpEvent::Closed { id: end.1, why: Closed::TimedOut });
}

#[tokio::test]
async fn two_hundred_peers_are_served_at_once() {
    const PEERS: usize = 200;
    let limits = Limits { per_peer: PEERS, ..Limits::default() };
    let (listener, local, mut events) = listening(limits, 16);
    let (sender, mut answers) = channel(16);
    let diallers: Vec<_> = (0..PEERS)
        .map(|number| {
            let (dialler, id) = Connections::dial(local, PATIENCE, Limits::default(), sender.clone());
            dialler.write(id, vec![u8::try_from(number).unwrap(); 1000]);
            dialler.close(id);
            dialler
        })
        .collect();

    let (mut heard, mut ended) = (BTreeMap::<_, Vec<u8>>::new(), 0);
    while ended < 2 * PEERS {
        tokio::select! {
            event = next(&mut events) => match event {
                TcpEvent::Bytes { id, octets } => {
                    listener.write(id, octets.clone());
                    heard.entry(id).or_default().extend(octets);
                }
                TcpEvent::Closed { .. } => ended += 1,
                TcpEvent::Accepted { .. } => {}
                other @ (TcpEvent::Connected { .. } | TcpEvent::Refused { .. }) => panic!("{other:?}"),
            },
            event = next(&mut answers) => {
                if let TcpEvent::Closed { .. } = event {
                    ended += 1;
                }
            }
        }
    }

    assert_eq!(heard.len(), PEERS);
    assert!(heard.values().all(|octets| octets.len() == 1000));
    drop(diallers);
}
