//! The client's side.

use super::frame::{Arrival, Framing, nothing};
use super::keys::done;
use super::server::COMMITMENT;
use super::{EapTlsError, FrameError, Step};
use crate::crypto::tls::{Expected, Party, Session, TlsError};
use crate::time::UnixTime;

/// The client's side of one conversation.
#[derive(Debug)]
pub struct Peer {
    framing: Framing,
    session: Session,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The gateway has to begin.
    Waiting,
    /// TLS is not at its end.
    Handshake,
    /// We have said everything; with TLS 1.3 the gateway has to show that it has heard it.
    Open,
    /// The gateway has been told that it is refused, or has refused us.
    Refused(EapTlsError),
    /// It is over.
    Over,
}

impl Peer {
    /// A conversation with a gateway that has to be `expected`, with at most so many octets of TLS in
    /// a packet.
    ///
    /// # Errors
    ///
    /// [`TlsError::Library`]
    pub fn new(party: &Party, expected: Expected, now: UnixTime, most: usize) -> Result<Self, TlsError> {
        let session = party.client(expected, now)?;
        Ok(Self { framing: Framing::new(most), session, stage: Stage::Waiting })
    }

    /// Why the gateway's failure comes as no surprise, if it does not.
    #[must_use]
    pub const fn refused(&self) -> Option<&EapTlsError> {
        match &self.stage {
            Stage::Refused(error) => Some(error),
            Stage::Waiting | Stage::Handshake | Stage::Open | Stage::Over => None,
        }
    }

    /// Takes the type data of a request.
    pub fn step(&mut self, data: &[u8]) -> Step {
        match (self.framing.receive(data), &self.stage) {
            (Ok(Arrival::Start), Stage::Waiting) => {
                self.stage = Stage::Handshake;
                let hello = self.session.to_send();
                Step::Send(self.framing.send(hello))
            }
            (Ok(Arrival::Reply(packet)), _) => Step::Send(packet),
            (Ok(Arrival::Message(message)), _) => self.message(&message),
            (Ok(Arrival::Start), _) => self.fail(FrameError::Start.into()),
            (Ok(Arrival::Nothing), _) => self.fail(EapTlsError::Incomplete),
            (Err(error), _) => self.fail(error.into()),
        }
    }

    fn message(&mut self, message: &[u8]) -> Step {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let was_open = match stage {
            Stage::Handshake => false,
            Stage::Open => true,
            Stage::Waiting => return Step::Failed(EapTlsError::Incomplete),
            Stage::Refused(error) => return Step::Failed(error),
            Stage::Over => return Step::Failed(EapTlsError::Beyond),
        };
        if let Err(error) = self.session.receive(message) {
            // RFC 5216 §2.1.3: ours goes with an alert, theirs is answered with nothing.
            let alert = self.session.to_send();
            self.stage = Stage::Refused(error.into());
            return Step::Send(if alert.is_empty() { nothing() } else { self.framing.send(alert) });
        }
        match self.advance(was_open) {
            Ok(step) => step,
            Err(error) => Step::Failed(error),
        }
    }

    /// What follows from a message in which there was nothing wrong.
    fn advance(&mut self, was_open: bool) -> Result<Step, EapTlsError> {
        let data = self.session.data()?;
        let (is_open, is_13) = (self.session.is_open(), self.session.is_13());
        if is_open && is_13 && was_open && data == COMMITMENT {
            return Ok(Step::Done(done(&self.session, Some(nothing()))?));
        }
        if !data.is_empty() {
            return Err(if is_13 { EapTlsError::Commitment } else { EapTlsError::Beyond });
        }
        let answer = self.session.to_send();
        match (is_open, is_13, answer.is_empty()) {
            // The gateway's Finished is the last word of TLS 1.2.
            (true, false, true) => return Ok(Step::Done(done(&self.session, Some(nothing()))?)),
            (true, false, false) => return Err(EapTlsError::Incomplete),
            (true, true, _) => self.stage = Stage::Open,
            (false, _, true) => return Err(EapTlsError::Incomplete),
            (false, _, false) => self.stage = Stage::Handshake,
        }
        // Tickets, which nobody asked for, are answered with nothing.
        Ok(Step::Send(if answer.is_empty() { nothing() } else { self.framing.send(answer) }))
    }

    fn fail(&mut self, error: EapTlsError) -> Step {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            // What went wrong first is what counts.
            Stage::Refused(first) => Step::Failed(first),
            Stage::Waiting | Stage::Handshake | Stage::Open | Stage::Over => Step::Failed(error),
        }
    }
}
