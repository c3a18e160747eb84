//! The two sides of an IKE SA, once they have proved who they are. Rekeying changes nothing of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::ike::authn::PeerAuthenticated;
use crate::ike::config::Profile;
use crate::ike::event::SaLabel;
use crate::ike::io::SaId;
use crate::ike::ticket::Basis;
use crate::ike::wire::Id;
use crate::time::UnixTime;

/// Both sides of an IKE SA.
#[derive(Debug)]
pub(crate) struct Peer {
    /// The proof that the peer is who it says.
    pub(crate) proof: PeerAuthenticated,
    /// Who we are, for people.
    pub(crate) local: Arc<str>,
    /// Who we are, as we have said it.
    pub(crate) local_id: Id<'static>,
    /// The last authentication with credentials.
    pub(crate) basis: Basis,
    /// Whether we began: whoever is the client stays it, whatever is rekeyed by whom.
    pub(crate) are_we_client: bool,
    /// The gateway that sent the client here (`RFC 5685 §3`).
    pub(crate) redirected_from: Option<IpAddr>,
    /// Whether the client follows redirects.
    pub(crate) follows_redirects: bool,
    /// Whether it was resumed by a ticket.
    pub(crate) is_resumed: bool,
}

impl Peer {
    /// What both sides go by.
    pub(crate) fn profile(&self) -> &Arc<Profile> {
        self.proof.profile()
    }

    /// What a peer who has just proved who it is with its credentials begins with.
    pub(crate) fn basis(proof: &PeerAuthenticated, now: UnixTime) -> Basis {
        let eap_identity = proof.user().map(|name| name.as_ref().into());
        Basis { authenticated_at: now, means: proof.means(), valid_until: proof.valid_until(), eap_identity }
    }

    /// The SA for people.
    pub(crate) fn label(&self, id: SaId, remote: SocketAddr) -> SaLabel {
        SaLabel { id, remote, identity: Arc::clone(self.proof.shown()), profile: self.profile().name.clone() }
    }
}
