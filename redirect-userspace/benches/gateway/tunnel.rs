//! Octets through a tunnel per second of the gateway's processor time, by TCP, in both directions.
//!
//! The client is our own daemon, whoever the gateway is; what it needs is not counted.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use xtask::lab::netns::Namespace;
use xtask::lab::wait;

use crate::Effort;
use crate::meter::processor_time;
use crate::report::{Report, Samples};
use crate::responder::{Kind, Stage, Suite};

/// The address behind the gateway.
const INSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 99, 1, 1));
/// How long data may stand still.
const PATIENCE: Duration = Duration::from_secs(20);
/// Octets that are written or read at a time.
const PIECE: usize = 64 << 10;

pub(crate) fn run(report: &mut Report, effort: Effort) -> Result<()> {
    let stage = Stage::new()?;
    let suite = Suite::PSK;
    let kinds = [Kind::Ours, Kind::Charon];
    let names = ["to the client", "from the client"];
    let mut rates = names.map(|_| kinds.map(|_| Samples::new()));
    for _ in 0..effort.of(7, 2) {
        for (number, kind) in kinds.into_iter().enumerate() {
            let responder = stage.start(kind, suite)?;
            let (_client, address) = stage.client(suite)?;
            let (client, gateway) = ((&stage.place.namespace, address), (&stage.scene.site, INSIDE));
            let process = responder.id()?;
            for (rates, (from, to)) in rates.iter_mut().zip([(gateway, client), (client, gateway)]) {
                let octets = effort.of(64 << 20, 8 << 20);
                transfer(from, to, octets / 8)?;
                let before = processor_time(process)?;
                transfer(from, to, octets)?;
                let used = processor_time(process)?.saturating_sub(before).as_secs_f64();
                #[expect(clippy::cast_precision_loss, reason = "a count of octets")]
                rates[number].push(octets as f64 / 1e6 / used);
            }
        }
    }
    for (name, [ours, charon]) in names.into_iter().zip(&rates) {
        report.rate("tunnel, TCP", name, "MB/CPU-s", ours, charon, 2.0, 4.0);
    }
    Ok(())
}

/// Sends so many octets from one address to the other.
fn transfer(from: (&Namespace, IpAddr), to: (&Namespace, IpAddr), octets: usize) -> Result<()> {
    let listener = to.0.enter(|| TcpListener::bind((to.1, 0))).context("listening")?;
    let address = listener.local_addr().context("listening")?;
    listener.set_nonblocking(true)?;
    std::thread::scope(|scope| {
        let receiver = scope.spawn(move || -> Result<usize> {
            let (mut stream, _) = wait::until("a connection comes", PATIENCE, || Ok(listener.accept()?))?;
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            let (mut piece, mut received) = (vec![0; PIECE], 0);
            loop {
                match stream.read(&mut piece).context("receiving")? {
                    0 => return Ok(received),
                    length => received += length,
                }
            }
        });
        send(from, address, octets)?;
        let received = receiver.join().map_err(|_panic| anyhow!("the receiver panicked"))??;
        ensure!(received == octets, "{received} of {octets} octets came");
        Ok(())
    })
}

fn send(from: (&Namespace, IpAddr), to: SocketAddr, octets: usize) -> Result<()> {
    let mut stream = from.0.enter(|| TcpStream::connect_timeout(&to, PATIENCE)).context("connecting")?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let piece = vec![0x55; PIECE];
    let mut left = octets;
    while left > 0 {
        let length = left.min(PIECE);
        stream.write_all(&piece[..length]).context("sending")?;
        left -= length;
    }
    Ok(())
}
