//! The gateway's side.

use super::frame::{Arrival, Framing, start};
use super::keys::done;
use super::{Done, EapTlsError, Step};
use crate::crypto::tls::{Expected, Party, Session, TlsError};
use crate::time::UnixTime;

/// The gateway's side of one conversation.
#[derive(Debug)]
pub struct Server {
    framing: Framing,
    session: Session,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// TLS is not at its end.
    Handshake,
    /// Everything was said; the client has to show that it has heard it.
    Committed(Done),
    /// The client has been told that it is refused.
    Refused(EapTlsError),
    /// It is over.
    Over,
}

impl Server {
    /// A conversation with a client that has to be `expected`, with at most so many octets of TLS in
    /// a packet.
    ///
    /// # Errors
    ///
    /// [`TlsError::Library`]
    pub fn new(party: &Party, expected: Expected, now: UnixTime, most: usize) -> Result<Self, TlsError> {
        let session = party.server(expected, now)?;
        Ok(Self { framing: Framing::new(most), session, stage: Stage::Handshake })
    }

    /// The type data of the first request.
    #[must_use]
    pub fn start() -> Vec<u8> {
        start()
    }

    /// Why the client is refused, once it has been told.
    #[must_use]
    pub const fn refused(&self) -> Option<&EapTlsError> {
        match &self.stage {
            Stage::Refused(error) => Some(error),
            Stage::Handshake | Stage::Committed(_) | Stage::Over => None,
        }
    }

    /// Takes the type data of a response.
    pub fn step(&mut self, data: &[u8]) -> Step {
        match self.framing.receive(data) {
            Ok(Arrival::Reply(packet)) => Step::Send(packet),
            Ok(Arrival::Message(message)) => self.message(&message),
            Ok(Arrival::Nothing) => self.nothing(),
            Ok(Arrival::Start) => self.fail(super::FrameError::Start.into()),
            Err(error) => self.fail(error.into()),
        }
    }

    fn message(&mut self, message: &[u8]) -> Step {
        let received = self.session.receive(message);
        match (std::mem::replace(&mut self.stage, Stage::Over), received) {
            (Stage::Handshake, Ok(())) => match self.advance() {
                Ok(step) => step,
                Err(error) => Step::Failed(error),
            },
            (Stage::Handshake, Err(error)) => self.refuse(error.into()),
            // RFC 9190 §2.1.3: the client may refuse us when it has seen all.
            (Stage::Committed(_), Err(error)) => Step::Failed(error.into()),
            (Stage::Committed(_), Ok(())) => Step::Failed(EapTlsError::Beyond),
            (Stage::Refused(error), _) => Step::Failed(error),
            (Stage::Over, _) => Step::Failed(EapTlsError::Beyond),
        }
    }

    /// What follows from a message in which there was nothing wrong.
    fn advance(&mut self) -> Result<Step, EapTlsError> {
        if !self.session.data()?.is_empty() {
            return Err(EapTlsError::Beyond);
        }
        let is_open = self.session.is_open();
        self.stage = if is_open { Stage::Committed(done(&self.session, None)?) } else { Stage::Handshake };
        if is_open && self.session.is_13() {
            // RFC 9190 §2.1.1 and §2.5
            self.session.write(&COMMITMENT)?;
        }
        match self.session.to_send() {
            // A part of a message: EAP has fragments for that.
            answer if answer.is_empty() => Err(EapTlsError::Incomplete),
            answer => Ok(Step::Send(self.framing.send(answer))),
        }
    }

    /// Tells the client why, if TLS has a word for it, before it fails.
    // RFC 5216 §2.1.3: the request with the alert is answered before EAP-Failure is sent.
    fn refuse(&mut self, error: EapTlsError) -> Step {
        match self.session.to_send() {
            alert if alert.is_empty() => Step::Failed(error),
            alert => {
                self.stage = Stage::Refused(error);
                Step::Send(self.framing.send(alert))
            }
        }
    }

    fn nothing(&mut self) -> Step {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Committed(done) => Step::Done(done),
            Stage::Refused(error) => Step::Failed(error),
            Stage::Handshake => Step::Failed(EapTlsError::Incomplete),
            Stage::Over => Step::Failed(EapTlsError::Beyond),
        }
    }

    fn fail(&mut self, error: EapTlsError) -> Step {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            // What went wrong first is what counts.
            Stage::Refused(first) => Step::Failed(first),
            Stage::Handshake | Stage::Committed(_) | Stage::Over => Step::Failed(error),
        }
    }
}

/// The octet with which the server of TLS 1.3 says that nothing else follows.
pub(super) const COMMITMENT: [u8; 1] = [0];
