//! EAP-TLS as the conversation around it sees it.

use std::sync::Arc;

use super::{Agreement, EapTlsError, FRAGMENT, Peer, Server, Step, is_expected, owner};
use crate::crypto::tls::{Expected, Holder, Party, TlsError, Versions};
use crate::crypto::x509::TrustStore;
use crate::ike::authn::eap::{Maker, Method, MethodContext, MethodError, Msk, Outcome, Turn};
use crate::ike::identity::{Pattern, Shown};
use crate::ike::wire::EapType;

/// EAP-TLS of a gateway.
#[derive(Debug)]
pub struct Gateway {
    party: Arc<Party>,
    agreement: Agreement,
}

impl Gateway {
    /// Shows the certificate of `own`, and believes clients with certificates of `trust`.
    #[must_use]
    pub fn new(own: Arc<dyn Holder>, trust: Arc<TrustStore>, agreement: Agreement) -> Self {
        Self { party: Arc::new(Party::new(own, trust, Versions::default())), agreement }
    }
}

impl Maker for Gateway {
    fn kind(&self) -> EapType {
        EapType::Tls
    }

    fn may_stand_alone(&self) -> bool {
        true
    }

    fn begin(&self, identity: &str) -> Box<dyn Method> {
        let (said, agreement): (Box<str>, _) = (identity.into(), self.agreement);
        let expected = said.clone();
        Box::new(AtGateway {
            party: Arc::clone(&self.party),
            expected: Arc::new(move |certificate| agreement.allows(expected.as_bytes(), certificate)),
            said,
            server: None,
        })
    }
}

/// EAP-TLS of a client.
#[derive(Debug)]
pub struct Client {
    party: Arc<Party>,
    servers: Arc<[Pattern]>,
}

impl Client {
    /// Shows the certificate of `own`, and believes servers of these names with certificates of
    /// `trust`.
    #[must_use]
    pub fn new(own: Arc<dyn Holder>, trust: Arc<TrustStore>, servers: &[Pattern]) -> Self {
        Self { party: Arc::new(Party::new(own, trust, Versions::default())), servers: servers.into() }
    }
}

impl Maker for Client {
    fn kind(&self) -> EapType {
        EapType::Tls
    }

    fn may_stand_alone(&self) -> bool {
        true
    }

    fn begin(&self, _identity: &str) -> Box<dyn Method> {
        let servers = Arc::clone(&self.servers);
        Box::new(AtClient {
            party: Arc::clone(&self.party),
            expected: Arc::new(move |certificate| is_expected(&servers, certificate)),
            peer: None,
        })
    }
}

/// A conversation of a gateway. TLS begins with the first packet, which is when there is a time.
struct AtGateway {
    party: Arc<Party>,
    expected: Expected,
    said: Box<str>,
    server: Option<Server>,
}

impl Method for AtGateway {
    fn kind(&self) -> EapType {
        EapType::Tls
    }

    fn step(&mut self, ctx: &mut MethodContext<'_>, data: &[u8]) -> Turn {
        let Some(server) = &mut self.server else {
            return match Server::new(&self.party, Arc::clone(&self.expected), ctx.now.wall, FRAGMENT) {
                Ok(server) => {
                    self.server = Some(server);
                    Turn::Send(Server::start())
                }
                Err(error) => Turn::failed(named(&error.into())),
            };
        };
        match server.step(data) {
            Step::Send(data) => match server.refused() {
                // Whether the client answers the alert or leaves: it has failed for this.
                Some(error) => Turn::Failed { last: Some(data), error: named(error) },
                None => Turn::Send(data),
            },
            Step::Failed(error) => Turn::failed(named(&error)),
            Step::Done(done) => {
                let (_, valid_until) = done.certificate.validity();
                let identity = owner(self.said.as_bytes(), &done.certificate);
                Turn::Done {
                    last: done.last,
                    outcome: Outcome {
                        keys: Msk::new(done.msk.expose()),
                        identity: identity.map(|id| Shown(&id).to_string().into()),
                        valid_until: Some(valid_until),
                    },
                }
            }
        }
    }
}

impl std::fmt::Debug for AtGateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AtGateway({:?})", self.server)
    }
}

/// A conversation of a client.
struct AtClient {
    party: Arc<Party>,
    expected: Expected,
    peer: Option<Peer>,
}

impl Method for AtClient {
    fn kind(&self) -> EapType {
        EapType::Tls
    }

    fn step(&mut self, ctx: &mut MethodContext<'_>, data: &[u8]) -> Turn {
        if self.peer.is_none() {
            match Peer::new(&self.party, Arc::clone(&self.expected), ctx.now.wall, FRAGMENT) {
                Ok(peer) => self.peer = Some(peer),
                Err(error) => return Turn::failed(named(&error.into())),
            }
        }
        let Some(peer) = &mut self.peer else { return Turn::failed(MethodError::Local("no TLS")) };
        match peer.step(data) {
            Step::Send(data) => match peer.refused() {
                // An alert is never so long that it comes in fragments.
                Some(error) => Turn::Failed { last: Some(data), error: named(error) },
                None => Turn::Send(data),
            },
            Step::Failed(error) => Turn::failed(named(&error)),
            Step::Done(done) => Turn::Done {
                last: done.last,
                outcome: Outcome {
                    keys: Msk::new(done.msk.expose()),
                    identity: None,
                    valid_until: Some(done.certificate.validity().1),
                },
            },
        }
    }
}

impl std::fmt::Debug for AtClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AtClient({:?})", self.peer)
    }
}

fn named(error: &EapTlsError) -> MethodError {
    match error {
        EapTlsError::Tls(
            TlsError::NoCertificate | TlsError::Malformed(_) | TlsError::Chain(_) | TlsError::SomebodyElse(_),
        ) => MethodError::Certificate(error.to_string().into()),
        EapTlsError::Tls(
            TlsError::Alert(_) | TlsError::Protocol(_) | TlsError::Surplus | TlsError::Library(_),
        )
        | EapTlsError::Frame(_)
        | EapTlsError::Incomplete
        | EapTlsError::Beyond
        | EapTlsError::Commitment => MethodError::Tls(error.to_string().into()),
    }
}
