//! What a server that knows a client has to do with its SA: when it ends, and what is told about it.
//!
//! # References
//!
//! `RFC 2865 §5.27` (Session-Timeout), `RFC 2866`, `RFC 2869 §2.1`.

use std::sync::Arc;
use std::time::Duration;

use crate::ike::aaa::{Account, AccountStage, Grants};
use crate::ike::authn::Means;
use crate::ike::authn::eap::By;
use crate::ike::config::RemoteProof;
use crate::ike::event::CloseReason;
use crate::ike::io::Output;
use crate::ike::sa::context::Context;
use crate::ike::sa::established::Established;
use crate::ike::sa::{Effects, Names};
use crate::time::Instant;

/// The session of a client, whatever its IKE SA is rekeyed.
#[derive(Debug)]
pub(crate) struct Session {
    /// When it ends.
    ends_at: Option<Instant>,
    books: Option<Books>,
}

/// What a server that keeps accounts is told.
#[derive(Debug)]
struct Books {
    account: Account,
    begun_at: Instant,
    every: Option<Duration>,
    next_at: Option<Instant>,
    is_open: bool,
}

/// The name of the session of an SA.
pub(crate) fn name_of(names: Names) -> Arc<str> {
    let spi_r = names.spi_r.map_or(0, |spi| spi.0.get());
    format!("{:016x}{spi_r:016x}", names.spi_i.0.get()).into()
}

impl Session {
    /// Its name, if accounts are kept of it.
    pub(crate) fn name(&self) -> Option<Arc<str>> {
        self.books.as_ref().map(|books| Arc::clone(&books.account.session))
    }

    /// It is over.
    pub(crate) fn stop(self: Box<Self>, ctx: &mut Context<'_>, reason: CloseReason) {
        if let Some(books) = self.books.filter(|books| books.is_open) {
            books.tell(ctx, AccountStage::Stop(reason));
        }
    }
}

impl Books {
    fn tell(&self, ctx: &mut Context<'_>, stage: AccountStage) {
        let time = ctx.now.mono.since(self.begun_at);
        ctx.out.push(Output::Account(Box::new(Account { stage, time, ..self.account.clone() })));
    }
}

impl Established {
    /// A client that was let in by EAP has a session: as long as a server has granted, or as what it has
    /// proved is good; and where a server knows the users it is told.
    pub(crate) fn begin_session(&mut self, ctx: &Context<'_>, names: Names, grants: &Grants) {
        let peer = Arc::clone(self.peer());
        let (Some(user), Means::Eap) = (peer.proof.user(), peer.proof.means()) else { return };
        let now = ctx.now;
        let granted = grants.session_timeout.map(|time| now.mono + time);
        let rests = peer
            .basis
            .valid_until
            .map(|until| now.mono + until.since_epoch().saturating_sub(now.wall.since_epoch()));
        let ends_at = [granted, rests].into_iter().flatten().min();
        let keeps_books = match &peer.profile().authentication.remote {
            RemoteProof::Eap(gate) => matches!(gate.by, By::Aaa),
            RemoteProof::SharedKey(_) | RemoteProof::Certificate(_) => false,
        };
        let every = grants.interim.map(|every| every.max(LEAST_INTERIM));
        let books = keeps_books.then(|| Books {
            account: Account {
                session: name_of(names),
                stage: AccountStage::Start,
                user: Arc::clone(user),
                class: Arc::clone(&grants.class),
                addresses: Vec::new(),
                path: self.path(),
                profile: peer.profile().name.clone(),
                time: Duration::ZERO,
            },
            begun_at: now.mono,
            every,
            next_at: None,
            is_open: false,
        });
        if ends_at.is_some() || books.is_some() {
            self.session = Some(Box::new(Session { ends_at, books }));
        }
    }

    /// Tells that the session has begun, once its client has its addresses.
    pub(crate) fn open_account(&mut self, ctx: &mut Context<'_>) {
        let addresses = self.addresses();
        let Some(books) = self.session.as_deref_mut().and_then(|session| session.books.as_mut()) else {
            return;
        };
        books.account.addresses = addresses;
        books.is_open = true;
        books.next_at = books.every.map(|every| ctx.now.mono + every);
        books.tell(ctx, AccountStage::Start);
    }

    /// When there is something to do for the session.
    pub(crate) fn session_at(&self) -> Option<Instant> {
        let session = self.session.as_deref()?;
        let next_at = session.books.as_ref().and_then(|books| books.next_at);
        [session.ends_at, next_at].into_iter().flatten().min()
    }

    /// Does what is due for the session; says whether it is over.
    pub(crate) fn session_due(&mut self, ctx: &mut Context<'_>, names: Names, effects: &mut Effects) -> bool {
        let (now, path) = (ctx.now.mono, self.path());
        let Some(session) = self.session.as_deref_mut() else { return false };
        if session.ends_at.is_some_and(|at| at <= now) {
            self.close(ctx, names, CloseReason::SessionOver, effects);
            return true;
        }
        if let Some(books) = &mut session.books
            && books.next_at.is_some_and(|at| at <= now)
        {
            books.next_at = books.every.map(|every| now + every);
            books.account.path = path;
            books.tell(ctx, AccountStage::Interim);
        }
        false
    }
}

/// Whatever a server wants, it is not told more often (`RFC 2869 §5.16`).
const LEAST_INTERIM: Duration = Duration::from_secs(60);
