//! How the clients of a load prove who they are.

use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::crypto::mschap::NtHash;
use crate::crypto::sign::PrivateKey;
use crate::crypto::x509::{Certificate, Revocation, TrustStore};
use crate::ike::authn::eap::mschapv2::Password;
use crate::ike::authn::eap::{Credentials, Maker, tls};
use crate::ike::config::{Credential, LocalProof, RemoteProof};
use crate::ike::identity::Pattern;
use crate::secret::Secret;

/// How both sides prove who they are.
pub enum Proof {
    /// With a key that both know.
    SharedKey(Vec<u8>),
    /// With certificates, all in PEM. The clients all have the same one, and its subject is who they
    /// say they are.
    Certificate {
        /// Ours and those of its CAs.
        chain: Vec<u8>,
        /// Its private key.
        key: Vec<u8>,
        /// The CA of the gateway.
        ca: Vec<u8>,
    },
    /// The clients, all the same user, by EAP-MSCHAPv2; the gateway with a certificate.
    Password {
        /// The user.
        user: String,
        /// Its password.
        password: Vec<u8>,
        /// The CA of the gateway, in PEM.
        ca: Vec<u8>,
    },
    /// As with certificates, the clients by EAP-TLS.
    Tls {
        /// Ours and those of its CAs.
        chain: Vec<u8>,
        /// Its private key.
        key: Vec<u8>,
        /// The CA of the gateway.
        ca: Vec<u8>,
    },
}

impl Proof {
    /// Whether each client has a name of its own.
    pub(super) const fn has_names(&self) -> bool {
        match self {
            Self::SharedKey(_) => true,
            Self::Certificate { .. } | Self::Password { .. } | Self::Tls { .. } => false,
        }
    }
}

pub(super) type MakeProofs = Box<dyn Fn() -> (LocalProof, RemoteProof)>;

/// What makes the proofs of each client.
pub(super) fn proofs(proof: Proof) -> Result<MakeProofs> {
    match proof {
        Proof::SharedKey(octets) => {
            let secret = Secret::from(line(&octets));
            Ok(Box::new(move || {
                (LocalProof::SharedKey(secret.clone()), RemoteProof::SharedKey(secret.clone()))
            }))
        }
        Proof::Certificate { chain, key, ca } => {
            let (credential, store) = (credential(&chain, &key)?, store(&ca)?);
            Ok(Box::new(move || {
                (
                    LocalProof::Certificate(Arc::clone(&credential)),
                    RemoteProof::Certificate(Arc::clone(&store)),
                )
            }))
        }
        Proof::Password { user, password, ca } => {
            let text = std::str::from_utf8(line(&password)).context("the password")?;
            let hash = NtHash::new(text).context("the password is too long")?;
            Ok(by_eap(&user, Arc::new(Password(hash)), store(&ca)?))
        }
        Proof::Tls { chain, key, ca } => {
            let (credential, store) = (credential(&chain, &key)?, store(&ca)?);
            let own = credential.chain.first().and_then(|own| tls::owner(b"", own));
            let user = own.map(|id| crate::ike::identity::Shown(&id).to_string());
            let user = user.context("the certificate says nothing about who we are")?;
            let client = tls::Client::new(credential, Arc::clone(&store), &[Pattern::Anyone]);
            Ok(by_eap(&user, Arc::new(client), store))
        }
    }
}

fn by_eap(user: &str, maker: Arc<dyn Maker>, store: Arc<TrustStore>) -> MakeProofs {
    let credentials = Arc::new(Credentials { identity: user.into(), maker, stands_alone: false });
    Box::new(move || {
        (LocalProof::Eap(Arc::clone(&credentials)), RemoteProof::Certificate(Arc::clone(&store)))
    })
}

/// The octets of a file without the end of its line.
fn line(octets: &[u8]) -> &[u8] {
    octets.strip_suffix(b"\n").unwrap_or(octets)
}

fn credential(chain: &[u8], key: &[u8]) -> Result<Arc<Credential>> {
    let chain = Certificate::list_from_pem(chain).context("the certificate")?;
    let key = PrivateKey::from_pem(key).context("the private key")?;
    Ok(Arc::new(Credential { chain, key }))
}

fn store(ca: &[u8]) -> Result<Arc<TrustStore>> {
    let mut store = TrustStore::new(Revocation::Relaxed);
    for anchor in Certificate::list_from_pem(ca).context("the CA")? {
        store.add_anchor(anchor).context("the CA")?;
    }
    Ok(Arc::new(store))
}
