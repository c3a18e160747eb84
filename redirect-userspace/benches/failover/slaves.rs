//! What many slaves cost their master: real connections of the real machine, all in this process.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant as Clock};

use anyhow::{Context as _, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use redirect_userspace::clb::{
    BasisPoints, ClusterKey, ConnectionId, Registration, Report as Load, Settings, Slave, SlaveInput,
    SlaveOutput, SlaveSettings,
};
use redirect_userspace::machine::{Machine as _, Outbox};
use redirect_userspace::rng::Rng;
use redirect_userspace::secret::Secret;
use redirect_userspace::time::{Instant, Now};
use xtask::lab::nodes::{GROUP, Nodes, Options};
use xtask::lab::topology::VIP4;
use xtask::lab::wait;

use crate::Effort;
use crate::report::{Report, Samples};

const SLAVES: usize = 500;
const UPDATE: Duration = Duration::from_secs(1);
/// Slaves that connect at a time: the master takes few strangers from one address at once.
const AT_ONCE: usize = 4;
/// Slaves at one address: the master takes few connections from one.
const AT_ONE_ADDRESS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(report: &mut Report, effort: Effort) -> Result<()> {
    let mut nodes = Nodes::build(Options { nodes: 1, ..Options::default() })?;
    nodes.start_all()?;
    let node = nodes.nodes.first().context("no node")?;
    let master = node.id()?;
    let time = effort.of(Duration::from_secs(60), Duration::from_secs(10));
    let alone = share(master, time)?;

    let fleet = Fleet {
        key: node.settings.cluster_key.clone(),
        holdtime: node.settings.holdtime,
        master: SocketAddr::from((VIP4, node.settings.port)),
        is_over: AtomicBool::new(false),
        registered: AtomicUsize::new(0),
    };
    let client = nodes.clients.first().context("no client")?;
    let addresses = (0..SLAVES.div_ceil(AT_ONE_ADDRESS)).map(|number| source(number * AT_ONE_ADDRESS));
    let batch: String = addresses.map(|address| format!("addr add {address}/24 dev eth0\n")).collect();
    client.charon.namespace().ip(&batch)?;
    let busy = std::thread::scope(|scope| -> Result<f64> {
        let running = scope.spawn(|| client.charon.namespace().enter(|| Ok(fleet.sail())));
        let measured = fleet.measure(master, time);
        let shown = node.cluster();
        fleet.is_over.store(true, Ordering::Relaxed);
        running.join().map_err(|_panic| anyhow::anyhow!("the slaves panicked"))???;
        let busy = measured.with_context(|| node.log())?;
        let shown = shown?.gateways.len();
        ensure!(shown == SLAVES + 1, "the master shows {shown} members");
        Ok(busy)
    })?;
    let case = format!("{SLAVES}, updates 1 s");
    report.figure("slaves: share of a core", &case, "%", &Samples::one(busy * 100.0), 5.0, 2.0);
    report.figure("slaves: the same without any", "none", "%", &Samples::one(alone * 100.0), 5.0, 1.0);
    Ok(())
}

/// Where a slave is.
fn source(number: usize) -> Ipv4Addr {
    let [a, b, c, _] = VIP4.octets();
    // Beyond the nodes and the clients; 32 of them.
    let host = u8::try_from(200 + number / AT_ONE_ADDRESS).unwrap_or(u8::MAX);
    Ipv4Addr::new(a, b, c, host)
}

/// Connects a slave from where it is.
fn connect(number: usize, to: SocketAddr) -> Result<TcpStream> {
    let SocketAddr::V4(to) = to else { bail!("{to} is not IPv4") };
    let kind = SockType::Stream;
    let socket = socket::socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp)?;
    socket::bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(source(number), 0)))?;
    socket::connect(socket.as_raw_fd(), &SockaddrIn::from(to))?;
    Ok(TcpStream::from(socket))
}

/// The part of one core that a process uses.
fn share(process: Pid, time: Duration) -> Result<f64> {
    let clock = ClockId::pid_cpu_clock_id(process).context("the CPU clock of the master")?;
    let read = || clock_gettime(clock).map(Duration::from).context("reading a CPU clock");
    let (before, start) = (read()?, Clock::now());
    std::thread::sleep(time);
    Ok((read()? - before).as_secs_f64() / start.elapsed().as_secs_f64())
}

/// All slaves.
struct Fleet {
    key: String,
    holdtime: Duration,
    master: SocketAddr,
    is_over: AtomicBool,
    registered: AtomicUsize,
}

/// One slave and its connection.
struct Member {
    number: usize,
    slave: Slave,
    open: Option<(ConnectionId, TcpStream)>,
    next_report: Instant,
}

impl Fleet {
    fn measure(&self, master: Pid, time: Duration) -> Result<f64> {
        wait::until("all slaves are registered", PATIENCE, || {
            let registered = self.registered.load(Ordering::Relaxed);
            ensure!(registered == SLAVES, "{registered} of {SLAVES}");
            Ok(())
        })?;
        let busy = share(master, time)?;
        let registered = self.registered.load(Ordering::Relaxed);
        ensure!(registered == SLAVES, "{registered} of {SLAVES} slaves are left");
        Ok(busy)
    }

    /// Runs the slaves until it is over.
    fn sail(&self) -> Result<()> {
        let start = Clock::now();
        let now = || Now { mono: Instant::from_start(start.elapsed()), ..Now::default() };
        let mut members: Vec<Member> = Vec::new();
        let mut out = Outbox::new();
        while !self.is_over.load(Ordering::Relaxed) {
            let registered = members.iter().filter(|member| member.slave.master().is_some()).count();
            self.registered.store(registered, Ordering::Relaxed);
            if members.len() < SLAVES.min(registered + AT_ONCE) {
                let mut member = self.member(members.len(), now())?;
                member.slave.step(now(), SlaveInput::MasterAt(self.master), &mut out);
                member.carry_out(now(), &mut out)?;
                members.push(member);
            }
            let readable = readable(&members)?;
            for (member, is_readable) in members.iter_mut().zip(readable) {
                if is_readable {
                    member.read(now(), &mut out)?;
                }
                member.live(now(), &mut out)?;
            }
        }
        Ok(())
    }

    fn member(&self, number: usize, now: Now) -> Result<Member> {
        let settings = Settings {
            holdtime: self.holdtime,
            ..Settings::new(ClusterKey::new(Secret::new(self.key.clone().into_bytes()))?)
        };
        let slave = SlaveSettings { update: UPDATE, hello: UPDATE, ..SlaveSettings::default() };
        let registration = Registration {
            name: format!("slave{number}").parse()?,
            addresses: redirect_userspace::gateway::GatewayAddresses::new([format!(
                "10.60.{}.{}",
                number / 250,
                number % 250 + 1
            )
            .parse()?])?,
            priority: 100,
            max_session: 1000,
        };
        let seed = Rng::from_number(u64::try_from(number)?);
        let slave = Slave::new(settings, slave, GROUP.parse()?, registration, load(0), seed, now);
        Ok(Member { number, slave, open: None, next_report: now.mono })
    }
}

/// A load that changes a little.
fn load(step: u64) -> Load {
    let sessions = 100 + u32::try_from(step % 7).unwrap_or_default();
    let cpu = BasisPoints::ratio(u64::from(sessions), 1000);
    Load { ike_sas: sessions, child_sas: sessions, cpu, ..Load::default() }
}

/// Which connections have something to read, within a few milliseconds.
fn readable(members: &[Member]) -> Result<Vec<bool>> {
    let open: Vec<_> = members.iter().map(|member| member.open.as_ref().map(|(_, stream)| stream)).collect();
    let streams = open.iter().flatten();
    let mut fds: Vec<_> = streams.map(|stream| PollFd::new(stream.as_fd(), PollFlags::POLLIN)).collect();
    poll(&mut fds, PollTimeout::from(5_u8)).context("waiting for the master")?;
    let mut ready = fds.iter().map(|fd| fd.any().unwrap_or_default());
    Ok(open.iter().map(|stream| stream.is_some() && ready.next().unwrap_or_default()).collect())
}

impl Member {
    fn read(&mut self, now: Now, out: &mut Outbox<SlaveOutput>) -> Result<()> {
        let Some((connection, stream)) = &mut self.open else { return Ok(()) };
        let connection = *connection;
        let mut buffer = vec![0; 65_536];
        match stream.read(&mut buffer) {
            Ok(0) => {
                self.open = None;
                self.slave.step(now, SlaveInput::Closed { connection }, out);
            }
            Ok(length) => {
                let octets = &buffer[..length];
                self.slave.step(now, SlaveInput::Bytes { connection, octets }, out);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_reset) => {
                self.open = None;
                self.slave.step(now, SlaveInput::Closed { connection }, out);
            }
        }
        self.carry_out(now, out)
    }

    fn live(&mut self, now: Now, out: &mut Outbox<SlaveOutput>) -> Result<()> {
        if now.mono >= self.next_report {
            self.next_report = now.mono + UPDATE;
            let step = now.mono.since_start().as_secs();
            self.slave.step(now, SlaveInput::Local(load(step)), out);
        }
        if self.slave.deadline().is_some_and(|deadline| deadline.is_due(now)) {
            self.slave.step(now, SlaveInput::Timeout, out);
        }
        self.carry_out(now, out)
    }

    fn carry_out(&mut self, now: Now, out: &mut Outbox<SlaveOutput>) -> Result<()> {
        while let Some(output) = out.pop() {
            match output {
                SlaveOutput::Dial { connection, to } => {
                    let input = match connect(self.number, to) {
                        Ok(stream) => {
                            stream.set_nodelay(true)?;
                            stream.set_nonblocking(true)?;
                            self.open = Some((connection, stream));
                            SlaveInput::Connected { connection }
                        }
                        Err(_refused) => SlaveInput::Failed { connection },
                    };
                    self.slave.step(now, input, out);
                }
                SlaveOutput::Write { connection, octets } => {
                    let open = self.open.as_mut().filter(|(at, _)| *at == connection);
                    if open.is_some_and(|(_, stream)| stream.write_all(&octets).is_err()) {
                        // The slave says so, and its master why.
                        self.open = None;
                        self.slave.step(now, SlaveInput::Closed { connection }, out);
                    }
                }
                SlaveOutput::Close { connection, reason: _ } => {
                    self.open.take_if(|(at, _)| *at == connection);
                }
                SlaveOutput::Event(_)
                | SlaveOutput::Ordered(_)
                | SlaveOutput::TicketUsed(_)
                | SlaveOutput::ViewChanged => {}
            }
        }
        Ok(())
    }
}
