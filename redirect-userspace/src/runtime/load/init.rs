//! IKE_SA_INIT requests against any gateway or VIP, as many a second as it answers, and what came back.
//!
//! # Measure
//!
//! The latency of a request is the time until it has its answer: from when it was sent in a closed loop,
//! from when it was meant to be sent in an open one. A cookie is not the answer; the request that brings
//! it back belongs to the first one. None is repeated: one without an answer is lost, and counted.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::latency::Latencies;
use super::pace::{Extent, Pace, Schedule};
use super::request::{NONCE, Reply, Template, read, spi_of};
use super::{bare, count, wait};
use crate::ike::NAT_T_PORT;
use crate::ike::wire::NotifyType;
use crate::net::udp::{BATCH, Batch, Binding, HEADROOM, Listener};
use crate::rng::Rng;
use crate::runtime::clock::{Clock, random};
use crate::time::Instant;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct InitLoad {
    /// Where requests are sent. To port 4500 they go with a marker.
    pub gateway: SocketAddr,
    /// Where they come from; whatever the system chooses if absent.
    pub local: Option<IpAddr>,
    /// What is offered.
    pub ike: String,
    /// How one follows the other.
    pub pace: Pace,
    /// When it is enough.
    pub extent: Extent,
    /// How long an answer is waited for.
    pub timeout: Duration,
}

/// What has come of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitOutcome {
    /// Requests that were begun; those that bring a cookie back are not counted again.
    pub sent: u64,
    /// Those that were answered with a redirect, or with a response of the gateway.
    pub done: u64,
    /// Those that were not.
    pub failed: u64,
    /// Answers by their kind.
    pub replies: BTreeMap<String, u64>,
    /// Where redirects led.
    pub gateways: BTreeMap<String, u64>,
    /// Failures by their reason.
    pub errors: BTreeMap<String, u64>,
    /// What came without having been asked for, or too late, or twice.
    pub unexpected: u64,
    /// The longest time that a request was sent later than it was meant to be.
    pub behind: Duration,
    /// From the first request to the last answer.
    pub took: Duration,
    /// Of those that were done.
    pub latencies: Latencies,
}

/// Runs it in the network namespace of this thread.
///
/// # Errors
///
/// Something in the description is wrong, or a socket fails.
pub fn run_init(load: &InitLoad) -> Result<InitOutcome> {
    let unspecified: IpAddr =
        if load.gateway.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let local = load.local.unwrap_or(unspecified);
    ensure!(local.is_ipv4() == load.gateway.is_ipv4(), "the two addresses are of different families");
    let clock = Clock::start();
    let mut rng = random()?;
    let (profile, settings) = bare(&load.ike, "aes128gcm16")?;
    let template = Template::new(clock.now(), (local, load.gateway), profile, settings, rng.fork())?;
    let listener = Listener::bind((local, 0).into(), Binding { buffer: BUFFER, is_shared: false })?;
    let begun_at = clock.now().mono;
    let mut run = Run {
        load,
        clock,
        listener,
        template,
        rng,
        schedule: Schedule::new(load.pace, load.extent, begun_at),
        open: Open::default(),
        outcome: InitOutcome::default(),
        marker: if load.gateway.port() == NAT_T_PORT { &[0; 4] } else { &[] },
    };
    let mut batch = Batch::new();
    while run.turn(&mut batch)? {}
    run.outcome.took = clock.now().mono.since(begun_at);
    Ok(run.outcome)
}

/// Requests without an answer.
#[derive(Default)]
struct Open {
    by_spi: HashMap<u64, Asked>,
    /// In the order in which they are given up.
    order: VecDeque<(Instant, u64)>,
}

struct Asked {
    meant_at: Instant,
    nonce: [u8; NONCE],
    has_cookie: bool,
}

struct Run<'l> {
    load: &'l InitLoad,
    clock: Clock,
    listener: Listener,
    template: Template,
    rng: Rng,
    schedule: Schedule,
    open: Open,
    outcome: InitOutcome,
    marker: &'static [u8],
}

impl Run<'_> {
    /// Sends what is due, takes in what has come and gives up what has not; says whether there is more to do.
    fn turn(&mut self, batch: &mut Batch) -> Result<bool> {
        let sent = self.ask();
        let received = batch.receive(&self.listener).context("reading a socket")?;
        let now = self.clock.now().mono;
        let mut again = Vec::new();
        for datagram in batch.datagrams() {
            let octets = datagram.octets.get(HEADROOM..).unwrap_or_default();
            match octets.strip_prefix(self.marker) {
                Some(message) if datagram.peer == self.load.gateway => {
                    again.extend(self.hear(now, message));
                }
                Some(_) | None => self.outcome.unexpected += 1,
            }
        }
        self.transmit(&again);
        self.give_up(now);
        if self.open.by_spi.is_empty() && self.schedule.is_over(now) {
            return Ok(false);
        }
        if sent == 0 && received == 0 {
            let next = self.schedule.next_at(now, self.open.by_spi.len());
            let lost = self.open.order.front().map(|(at, _)| *at);
            let until = [next, lost].into_iter().flatten().min();
            wait([&self.listener], until.map_or(IDLE, |until| until.since(self.clock.now().mono).min(IDLE)))?;
        }
        Ok(true)
    }

    /// Sends requests whose time has come, a batch at most; says how many.
    fn ask(&mut self) -> usize {
        let now = self.clock.now().mono;
        let mut requests = Vec::new();
        while requests.len() < BATCH
            && let Some(meant_at) = self.schedule.take(now, self.open.by_spi.len())
        {
            self.outcome.sent += 1;
            self.outcome.behind = self.outcome.behind.max(now.since(meant_at));
            if self.open.by_spi.len() >= MOST_OPEN {
                self.fail("too-many-open");
                continue;
            }
            let (spi, nonce) = (self.rng.u64().max(1), self.rng.array());
            let octets = self.template.request(spi, &nonce, None);
            requests.push([self.marker, &octets].concat());
            self.open.by_spi.insert(spi, Asked { meant_at, nonce, has_cookie: false });
            self.open.order.push_back((now + self.load.timeout, spi));
        }
        self.transmit(&requests);
        requests.len()
    }

    /// What is not sent is without an answer in the end.
    fn transmit(&mut self, requests: &[Vec<u8>]) {
        for some in requests.chunks(BATCH) {
            let lost = self.listener.send(self.load.gateway, some);
            if lost > 0 {
                let lost = u64::try_from(lost).unwrap_or(u64::MAX);
                *self.outcome.errors.entry("not-sent".to_owned()).or_default() += lost;
            }
        }
    }

    /// Makes something of a reply; gives what is to be sent then.
    fn hear(&mut self, now: Instant, message: &[u8]) -> Option<Vec<u8>> {
        let Some((spi, asked)) = spi_of(message).and_then(|spi| Some((spi, self.open.by_spi.get_mut(&spi)?)))
        else {
            self.outcome.unexpected += 1;
            return None;
        };
        let kind = match read(message, &asked.nonce) {
            Reply::Cookie(cookie) => {
                count(&mut self.outcome.replies, "cookie");
                if asked.has_cookie {
                    self.over(spi, "cookie-again");
                    return None;
                }
                asked.has_cookie = true;
                let octets = self.template.request(spi, &asked.nonce, Some(&cookie));
                return Some([self.marker, &octets].concat());
            }
            Reply::Redirect(to) => {
                count(&mut self.outcome.gateways, &to.to_string());
                "redirect".to_owned()
            }
            Reply::Response => "ike-sa-init".to_owned(),
            // Somebody else may have sent it: the true answer may still come.
            Reply::BadRedirect => return self.stray("bad-redirect"),
            Reply::Malformed => return self.stray("malformed"),
            Reply::Notify(kind) => {
                let kind = if let NotifyType::Unknown(number) = kind {
                    format!("notify-{number}")
                } else {
                    kind.label().to_lowercase().replace('_', "-")
                };
                count(&mut self.outcome.replies, &kind);
                self.over(spi, &kind);
                return None;
            }
        };
        count(&mut self.outcome.replies, &kind);
        if let Some(asked) = self.open.by_spi.remove(&spi) {
            self.outcome.done += 1;
            self.outcome.latencies.note(now.since(asked.meant_at));
        }
        None
    }

    fn stray(&mut self, kind: &str) -> Option<Vec<u8>> {
        count(&mut self.outcome.replies, kind);
        None
    }

    fn over(&mut self, spi: u64, why: &str) {
        self.open.by_spi.remove(&spi);
        self.fail(why);
    }

    fn fail(&mut self, why: &str) {
        self.outcome.failed += 1;
        count(&mut self.outcome.errors, why);
    }

    fn give_up(&mut self, now: Instant) {
        while let Some((at, spi)) = self.open.order.front().copied()
            && (at <= now || !self.open.by_spi.contains_key(&spi))
        {
            self.open.order.pop_front();
            if self.open.by_spi.remove(&spi).is_some() {
                self.fail("no-reply");
            }
        }
    }
}

/// Octets of the socket's buffers.
const BUFFER: usize = 8 << 20;
/// Longest time without a look at what is to be given up.
const IDLE: Duration = Duration::from_millis(50);
/// Most requests without an answer.
const MOST_OPEN: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::ike::wire::{
        Cookie, Direction, Header, Message, Nonce, NotifyContent, OriginalRole, PayloadType, encode_message,
    };

    /// What a gateway on the loopback says to a request.
    type Answer = fn(&Message<'_>) -> Vec<Vec<u8>>;

    fn say(message: &Message<'_>, content: &NotifyContent<'_>) -> Vec<u8> {
        let header =
            Header { sender: OriginalRole::Responder, direction: Direction::Response, ..message.header };
        encode_message(Vec::new(), &header, |chain| chain.notify(content)).unwrap()
    }

    fn redirect(message: &Message<'_>) -> Vec<u8> {
        let nonce = message.payloads.find(PayloadType::Nonce).unwrap().body;
        let nonce = Some(Nonce::new(nonce).unwrap());
        say(message, &NotifyContent::Redirect { gateway: "192.0.2.9".parse().unwrap(), nonce })
    }

    /// Runs it against somebody who answers like this.
    fn against(answer: Answer, pace: Pace, count: u64) -> InitOutcome {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let gateway = socket.local_addr().unwrap();
        let clone = socket.try_clone().unwrap();
        let gone = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let is_gone = std::sync::Arc::clone(&gone);
        let thread = std::thread::spawn(move || {
            let mut octets = [0; 4_096];
            while let Ok((length, from)) = socket.recv_from(&mut octets) {
                if is_gone.load(std::sync::atomic::Ordering::SeqCst) {
                    return;
                }
                let message = Message::decode(&octets[..length]).unwrap();
                for reply in answer(&message) {
                    socket.send_to(&reply, from).unwrap();
                }
            }
        });
        let outcome = run_init(&InitLoad {
            gateway,
            local: None,
            ike: "aes128gcm16-prfsha256-x25519".to_owned(),
            pace,
            extent: Extent { count: Some(count), duration: None },
            timeout: Duration::from_millis(500),
        })
        .unwrap();
        gone.store(true, std::sync::atomic::Ordering::SeqCst);
        clone.send_to(&[0], gateway).unwrap();
        thread.join().unwrap();
        outcome
    }

    fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn each_redirect_counts_with_where_it_leads() {
        let outcome = against(|message| vec![redirect(message)], Pace::Closed { parallel: 8 }, 300);

        assert_eq!((outcome.sent, outcome.done, outcome.failed), (300, 300, 0));
        assert_eq!(outcome.replies, counts(&[("redirect", 300)]));
        assert_eq!(outcome.gateways, counts(&[("192.0.2.9", 300)]));
        assert_eq!(outcome.latencies.count(), 300);
    }

    #[test]
    fn a_cookie_is_brought_back_and_is_not_the_answer() {
        let answer: Answer = |message| match message.payloads.notify(NotifyType::Cookie) {
            Some(_) => vec![redirect(message)],
            None => vec![say(message, &NotifyContent::Cookie(Cookie::new(vec![5; 16]).unwrap()))],
        };
        let outcome = against(answer, Pace::Closed { parallel: 4 }, 50);

        assert_eq!((outcome.sent, outcome.done), (50, 50));
        assert_eq!(outcome.replies, counts(&[("cookie", 50), ("redirect", 50)]));
    }

    #[test]
    fn a_refusal_is_told_by_its_name_and_silence_is_no_reply() {
        let answer: Answer = |message| match message.header.spi_i.0.get() % 2 {
            0 => vec![say(message, &NotifyContent::Plain(NotifyType::NoProposalChosen))],
            _ => vec![],
        };
        let outcome = against(answer, Pace::Open { rate: 1_000 }, 40);

        assert_eq!((outcome.sent, outcome.done, outcome.failed), (40, 0, 40));
        let (refused, lost) = (outcome.errors["no-proposal-chosen"], outcome.errors["no-reply"]);
        assert!(refused > 0 && lost > 0 && refused + lost == 40, "{:?}", outcome.errors);
    }

    #[test]
    fn what_is_wrong_repeated_or_nobodys_is_no_answer() {
        let answer: Answer = |message| {
            let mut other = redirect(message);
            other[0] ^= 1;
            let mut wrong = redirect(message);
            *wrong.last_mut().unwrap() ^= 1;
            let right = redirect(message);
            vec![vec![7; 9], other, wrong, right.clone(), right]
        };
        let outcome = against(answer, Pace::Closed { parallel: 1 }, 20);

        assert_eq!((outcome.done, outcome.failed), (20, 0));
        assert_eq!(outcome.replies, counts(&[("bad-redirect", 20), ("redirect", 20)]));
        // The last one's double may come too late to be seen.
        assert!((58..=60).contains(&outcome.unexpected), "{}", outcome.unexpected);
    }
}
