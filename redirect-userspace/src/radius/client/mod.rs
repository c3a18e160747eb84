//! The machine: conversations with authentication servers, and records for accounting servers.
//!
//! # Invariants
//!
//! - Every question is answered once, unless it is abandoned: with what the server says, or with
//!   [`Verdict::Unreachable`].
//! - A conversation that nobody goes on with, and nobody abandons, is forgotten after [`IDLE`].

mod ledger;
mod pool;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use self::ledger::Ledger;
use self::pool::{Fate, Hands, Pool, ServerId};
use super::answer::{Grants, accept, challenge, rejection};
use super::config::Settings;
use super::event::{Counters, Discard, Event, Outcome, Role, ServerSnapshot};
use super::request::{Question, Record, Unsent};
use super::wire::{Authenticator, Code, Packet};
use crate::machine::{Deadline, Machine, Outbox};
use crate::rng::Rng;
use crate::secret::Secret;
use crate::throttle::Throttle;
use crate::time::{Instant, Now};

/// A socket's number; never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

/// A fact for the machine.
#[derive(Debug)]
pub enum Input<'a> {
    /// Other servers are in force.
    Configure(Arc<Settings>),
    /// A client says something.
    Ask(Box<Question>),
    /// A client does not wait any longer.
    Abandon(u64),
    /// Something is to be written down.
    Account(Box<Record>),
    /// A datagram came from the server of a socket.
    Datagram {
        /// Which socket.
        socket: SocketId,
        /// What.
        octets: &'a [u8],
    },
    /// The kernel says that nobody listens where the socket sends to.
    Refused(SocketId),
    /// The deadline has come.
    Timeout,
}

/// What the caller is to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Make a socket that sends to a server, from a port that the kernel chooses, and that takes
    /// datagrams from nobody else.
    Open {
        /// Its number.
        socket: SocketId,
        /// Where the server is.
        server: SocketAddr,
    },
    /// Close a socket.
    Close {
        /// Which.
        socket: SocketId,
    },
    /// Send a datagram.
    Send {
        /// From which socket.
        socket: SocketId,
        /// What.
        octets: Vec<u8>,
    },
    /// Tell a client's conversation.
    Answer {
        /// Which.
        conversation: u64,
        /// What.
        verdict: Box<Verdict>,
    },
    /// Something happened.
    Event(Event),
}

/// What a server has said to a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on with this EAP packet.
    Challenge(Vec<u8>),
    /// It may come in.
    Accept {
        /// The last EAP packet.
        packet: Vec<u8>,
        /// The key that the method has made, if it makes one.
        msk: Option<Secret>,
        /// What the client may do.
        grants: Grants,
    },
    /// It may not.
    Reject {
        /// The last EAP packet; empty when the server has sent none.
        packet: Vec<u8>,
    },
    /// There is no answer.
    Unreachable,
}

/// A client's conversation.
#[derive(Debug)]
struct Conversation {
    /// Whom it is with, once that server has said something.
    server: Option<ServerId>,
    /// What the server wants to see again.
    state: Option<Vec<u8>>,
    /// What is not answered yet.
    request: Option<u64>,
    /// Who the client says it is.
    user: Vec<u8>,
    forgotten_at: Instant,
}

/// A client of RADIUS.
#[derive(Debug)]
pub struct Client {
    settings: Arc<Settings>,
    rng: Rng,
    pool: Pool,
    conversations: BTreeMap<u64, Conversation>,
    idle: BTreeSet<(Instant, u64)>,
    ledger: Ledger,
    counters: Counters,
    discards: Throttle<Discard, SocketAddr>,
    failures: Throttle<Outcome, String>,
    said: Throttle<bool, String>,
    next_socket: u32,
}

impl Client {
    /// A client of these servers.
    #[must_use]
    pub fn new(now: Now, settings: Arc<Settings>, rng: Rng) -> Self {
        let mut client = Self {
            settings: Arc::default(),
            rng,
            pool: Pool::new(Role::Authentication, MOST_WAITING),
            conversations: BTreeMap::new(),
            idle: BTreeSet::new(),
            ledger: Ledger::new(),
            counters: Counters::default(),
            discards: Throttle::new(),
            failures: Throttle::new(),
            said: Throttle::new(),
            next_socket: 0,
        };
        // Nothing is asked yet, so that nothing is to be done.
        client.configure(now, settings, &mut Outbox::new());
        client
    }

    /// How often things happened.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The servers, in the order in which they are asked.
    #[must_use]
    pub fn snapshot(&self, now: Now) -> Vec<ServerSnapshot> {
        self.pool.snapshot(now).chain(self.ledger.snapshot(now)).collect()
    }

    /// Whether there is accounting at all.
    #[must_use]
    pub fn is_accounting(&self) -> bool {
        !self.settings.accounting.is_empty()
    }

    /// How often sessions are told of, unless their server says.
    #[must_use]
    pub fn interim(&self) -> Option<Duration> {
        self.settings.interim
    }

    /// Whether every record has been written down, or given up.
    #[must_use]
    pub fn has_told_all(&self) -> bool {
        self.ledger.is_empty()
    }

    fn configure(&mut self, now: Now, settings: Arc<Settings>, out: &mut Outbox<Output>) {
        self.settings = settings;
        let settings = Arc::clone(&self.settings);
        let (pool, ledger, mut hands) = self.split(now, out);
        let fates = pool.configure(&mut hands, &settings.authentication);
        ledger.configure(&mut hands, &settings.accounting);
        self.settle(now, fates, out);
    }

    /// The pools beside what they work with.
    fn split<'a>(
        &'a mut self,
        now: Now,
        out: &'a mut Outbox<Output>,
    ) -> (&'a mut Pool, &'a mut Ledger, Hands<'a>) {
        let Self { rng, pool, ledger, counters, next_socket, .. } = self;
        (pool, ledger, Hands { now, rng, counters, next_socket, out })
    }

    fn ask(&mut self, now: Now, question: &Question, out: &mut Outbox<Output>) {
        let number = question.conversation;
        let is_known = self.conversations.contains_key(&number);
        if !is_known && self.conversations.len() >= MOST_CONVERSATIONS {
            return self.fail(now, number, Outcome::Overflow, String::from("conversations"), out);
        }
        let conversation = self.conversations.entry(number).or_insert_with(|| Conversation {
            server: None,
            state: None,
            request: None,
            user: question.user.clone(),
            forgotten_at: now.mono,
        });
        let earlier = conversation.request.take();
        let unsent = Unsent::access(question, conversation.state.as_deref());
        let bound = conversation.server;
        let (pool, _, mut hands) = self.split(now, out);
        if let Some(earlier) = earlier {
            pool.abandon(&mut hands, earlier);
            hands.counters.outcome(Outcome::Abandoned);
        }
        let sent = pool.send(&mut hands, unsent, number, bound);
        match sent {
            Ok(request) => {
                self.keep(now, number);
                if let Some(conversation) = self.conversations.get_mut(&number) {
                    conversation.request = Some(request);
                }
            }
            Err(why) => self.fail(now, number, why, String::new(), out),
        }
    }

    /// Lets a conversation live for some time more.
    fn keep(&mut self, now: Now, number: u64) {
        if let Some(conversation) = self.conversations.get_mut(&number) {
            self.idle.remove(&(conversation.forgotten_at, number));
            conversation.forgotten_at = now.mono + IDLE;
            self.idle.insert((conversation.forgotten_at, number));
        }
    }

    /// Ends a conversation.
    fn forget(&mut self, number: u64) -> Option<Conversation> {
        let conversation = self.conversations.remove(&number)?;
        self.idle.remove(&(conversation.forgotten_at, number));
        Some(conversation)
    }

    fn abandon(&mut self, now: Now, number: u64, out: &mut Outbox<Output>) {
        let request = self.forget(number).and_then(|conversation| conversation.request);
        if let Some(request) = request {
            let (pool, _, mut hands) = self.split(now, out);
            pool.abandon(&mut hands, request);
            hands.counters.outcome(Outcome::Abandoned);
        }
    }

    /// Ends a conversation for want of an answer.
    fn fail(&mut self, now: Now, number: u64, why: Outcome, detail: String, out: &mut Outbox<Output>) {
        self.forget(number);
        self.tell_failure(now, why, detail, out);
        out.push(Output::Answer { conversation: number, verdict: Box::new(Verdict::Unreachable) });
    }

    fn tell_failure(&mut self, now: Now, why: Outcome, detail: String, out: &mut Outbox<Output>) {
        self.counters.outcome(why);
        if let Some((result, detail, count)) = self.failures.count(now.mono, why, detail) {
            out.push(Output::Event(Event::Failed { result, detail, count }));
        }
    }

    fn settle(&mut self, now: Now, fates: Vec<Fate<'_>>, out: &mut Outbox<Output>) {
        for fate in fates {
            match fate {
                Fate::Answered { owner, server, packet, request } => {
                    self.answered(now, owner, server, &packet, &request, out);
                }
                Fate::Failed { owner, why } => self.fail(now, owner, why, String::new(), out),
            }
        }
    }

    fn answered(
        &mut self,
        now: Now,
        number: u64,
        server: ServerId,
        packet: &Packet<'_>,
        request: &Authenticator,
        out: &mut Outbox<Output>,
    ) {
        let Some(config) = self.pool.config(server) else { return };
        let address = config.address;
        let read = match packet.code {
            Code::AccessChallenge => challenge(packet).map(Answered::Challenge),
            Code::AccessAccept => accept(packet, request, &config.secret).map(Answered::Accept),
            // Nothing else answers a question.
            Code::AccessReject
            | Code::AccessRequest
            | Code::AccountingRequest
            | Code::AccountingResponse
            | Code::StatusServer
            | Code::Other(_) => rejection(packet).map(Answered::Rejection),
        };
        let verdict = match read {
            Ok(Answered::Challenge(challenge)) => {
                self.counters.outcome(Outcome::Challenged);
                self.keep(now, number);
                if let Some(conversation) = self.conversations.get_mut(&number) {
                    conversation.request = None;
                    conversation.server = Some(server);
                    conversation.state = challenge.state;
                }
                Verdict::Challenge(challenge.eap)
            }
            Ok(Answered::Accept(accept)) => {
                self.counters.outcome(Outcome::Accepted);
                self.said(now, number, true, accept.text, out);
                self.forget(number);
                Verdict::Accept { packet: accept.eap, msk: accept.msk, grants: accept.grants }
            }
            Ok(Answered::Rejection(rejection)) => {
                self.counters.outcome(Outcome::Rejected);
                self.said(now, number, false, rejection.text, out);
                self.forget(number);
                Verdict::Reject { packet: rejection.eap }
            }
            Err(error) => {
                self.forget(number);
                self.tell_failure(now, Outcome::BadAnswer, format!("{address}: {error}"), out);
                Verdict::Reject { packet: Vec::new() }
            }
        };
        out.push(Output::Answer { conversation: number, verdict: Box::new(verdict) });
    }

    fn said(
        &mut self,
        now: Now,
        number: u64,
        is_accepted: bool,
        text: Option<String>,
        out: &mut Outbox<Output>,
    ) {
        let (Some(text), Some(conversation)) = (text, self.conversations.get(&number)) else { return };
        let user: String = conversation.user.escape_ascii().to_string().chars().take(MAX_SHOWN).collect();
        let detail = format!("{user}: {text}");
        if let Some((is_accepted, detail, count)) = self.said.count(now.mono, is_accepted, detail) {
            out.push(Output::Event(Event::Said { is_accepted, detail, count }));
        }
    }

    fn datagram(&mut self, now: Now, socket: SocketId, octets: &[u8], out: &mut Outbox<Output>) {
        let (pool, ledger, mut hands) = self.split(now, out);
        let is_accounting = ledger.has(socket);
        let (result, server) = if is_accounting {
            let server = ledger.server_of(socket);
            (ledger.datagram(&mut hands, socket, octets).map(|()| None), server)
        } else {
            let server = pool.server_of(socket);
            (pool.datagram(&mut hands, socket, octets), server)
        };
        match result {
            Ok(fate) => self.settle(now, fate.into_iter().collect(), out),
            Err(discard) => {
                self.counters.discard(discard);
                let Some(server) = server else { return };
                // Late answers are nothing that anybody could do anything about.
                if discard != Discard::NoRequest
                    && let Some((discard, server, count)) = self.discards.count(now.mono, discard, server)
                {
                    out.push(Output::Event(Event::Discarded { server, discard, count }));
                }
            }
        }
        self.tell_lost(now, out);
    }

    fn refused(&mut self, now: Now, socket: SocketId, out: &mut Outbox<Output>) {
        let (pool, ledger, mut hands) = self.split(now, out);
        let fates = if ledger.has(socket) {
            ledger.refused(&mut hands, socket);
            Vec::new()
        } else {
            pool.refused(&mut hands, socket)
        };
        self.settle(now, fates, out);
        self.tell_lost(now, out);
    }

    fn timeout(&mut self, now: Now, out: &mut Outbox<Output>) {
        let (pool, ledger, mut hands) = self.split(now, out);
        let fates = pool.timeout(&mut hands);
        ledger.timeout(&mut hands);
        self.settle(now, fates, out);
        self.tell_lost(now, out);
        while let Some((at, number)) = self.idle.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.idle.remove(&(at, number));
            self.abandon(now, number, out);
        }
        for (discard, server, count) in self.discards.due(now.mono) {
            out.push(Output::Event(Event::Discarded { server, discard, count }));
        }
        for (result, detail, count) in self.failures.due(now.mono) {
            out.push(Output::Event(Event::Failed { result, detail, count }));
        }
        for (is_accepted, detail, count) in self.said.due(now.mono) {
            out.push(Output::Event(Event::Said { is_accepted, detail, count }));
        }
    }

    /// Tells of records that were given up.
    fn tell_lost(&mut self, now: Now, out: &mut Outbox<Output>) {
        for detail in self.ledger.lost() {
            self.tell_failure(now, Outcome::RecordLost, detail, out);
        }
    }
}

/// An answer that was read.
enum Answered {
    Challenge(super::answer::Challenge),
    Accept(super::answer::Accept),
    Rejection(super::answer::Rejection),
}

impl Machine for Client {
    type Input<'a> = Input<'a>;
    type Output = Output;

    fn step(&mut self, now: Now, input: Input<'_>, out: &mut Outbox<Output>) {
        match input {
            Input::Configure(settings) => self.configure(now, settings, out),
            Input::Ask(question) => self.ask(now, &question, out),
            Input::Abandon(conversation) => self.abandon(now, conversation, out),
            Input::Account(record) => {
                let (_, ledger, mut hands) = self.split(now, out);
                ledger.record(&mut hands, &record);
                self.tell_lost(now, out);
            }
            Input::Datagram { socket, octets } => self.datagram(now, socket, octets, out),
            Input::Refused(socket) => self.refused(now, socket, out),
            Input::Timeout => self.timeout(now, out),
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        let mut first = None;
        for (at, why) in [
            (self.pool.deadline(), "an authentication server to answer"),
            (self.ledger.deadline(), "an accounting server to answer"),
            (self.idle.first().map(|(at, _)| *at), "a conversation to go on"),
            (self.discards.deadline(), "datagrams that were not used"),
            (self.failures.deadline(), "requests that came to nothing"),
            (self.said.deadline(), "messages of servers"),
        ] {
            first = Deadline::earlier(first, at.map(|at| Deadline { at, why }));
        }
        first
    }
}

/// Most conversations at the same time.
const MOST_CONVERSATIONS: usize = 16_384;
/// Most requests that wait for an identifier.
const MOST_WAITING: usize = 4_096;
/// How long a conversation is kept that nobody goes on with. IKE gives up sooner.
const IDLE: Duration = Duration::from_secs(600);
/// Most characters of a client's name that are shown.
const MAX_SHOWN: usize = 64;
