//! Keys that both sides have had before, mixed into those of the key exchange: what was recorded stays
//! secret even if every key exchange can be broken.
//!
//! The initiator names its key beside its proof, which is made with the mixed keys. Where it can do
//! without, it says what its proof would be then. The responder says whether it has used the key.
//! Whatever follows, rekeying and tickets among it, is made of the mixed keys and mixes nothing again.
//!
//! # References
//!
//! `RFC 8784 §3`, `§5.1`.

use std::borrow::Cow;
use std::sync::Arc;

use crate::ike::authn::{PeerAuthenticated, Refusal as AuthnRefusal};
use crate::ike::config::{Ppk, Profile, Settings};
use crate::ike::event::Failure;
use crate::ike::sa::answered::{Answered, Secrets, refused};
use crate::ike::sa::await_auth::Introduced;
use crate::ike::sa::context::{Context, Refusal};
use crate::ike::sa::keymat::{DerivationKey, KeymatError, Proofs, Roots};
use crate::ike::sa::payloads::unreadable;
use crate::ike::sa::proof::{self, Claimant, Exchange, Mention};
use crate::ike::wire::{Auth, Chain, NotifyContent, NotifyType, PpkIdType};

/// Whether a gateway says that it has keys: somebody could name one.
pub(crate) fn has_any(settings: &Settings) -> bool {
    settings.profiles.iter().any(|profile| profile.ppk.is_some())
}

/// What an initiator says of its key.
struct Named<'a> {
    /// The name; `None` for one of a kind that we do not have.
    id: Option<&'a [u8]>,
    /// Its proof without the key.
    without: Option<&'a [u8]>,
}

impl<'a> Named<'a> {
    fn read(chain: &Chain<'a>) -> Result<Self, Refusal> {
        let named = chain.notify(NotifyType::PpkIdentity);
        let named = named.ok_or_else(|| refusal("USE_PPK, and no PPK_IDENTITY"))?;
        let named = named.content().map_err(unreadable)?;
        let id = if let NotifyContent::PpkIdentity { kind: PpkIdType::Fixed, id } = named {
            Some(id)
        } else {
            None
        };
        let without = chain.notify(NotifyType::NoPpkAuth).map(|notify| notify.content());
        let without = without.transpose().map_err(unreadable)?;
        let without = if let Some(NotifyContent::NoPpkAuth(data)) = without { Some(data.0) } else { None };
        Ok(Self { id, without })
    }

    fn unknown(&self) -> Refusal {
        let id = self.id.unwrap_or_default().get(..MAX_SHOWN.min(self.id.map_or(0, <[u8]>::len)));
        let id = id.unwrap_or_default().escape_ascii();
        refusal(format!("there is no PPK \"{id}\" for this client, and it does not do without"))
    }
}

fn refusal(detail: impl Into<Box<str>>) -> Refusal {
    Refusal::new(Failure::Authentication, detail)
}

fn local(error: KeymatError) -> Refusal {
    Refusal::new(Failure::Local, error.to_string())
}

impl Answered {
    /// Believes an initiator by its AUTH, or says why not; gives the keys that its own key is mixed into.
    pub(crate) fn accept(
        &self,
        ctx: &Context<'_>,
        exchange: &Exchange<'_>,
        claimant: Claimant<'_>,
        chain: &Chain<'_>,
    ) -> Result<(PeerAuthenticated, Option<Roots>), Refusal> {
        let profiles = &ctx.settings.profiles;
        if !self.uses_ppk {
            let optional = only(profiles, |profile| !profile.requires_ppk());
            let proof = proof::accept(exchange, &optional, &claimant);
            return Ok((proof.map_err(|error| without(error, profiles.len() - optional.len()))?, None));
        }
        let named = Named::read(chain)?;
        let id = named.id.unwrap_or_default();
        let having = only(profiles, |profile| profile.ppk(id).is_some());
        if let Some(ppk) = having.iter().find_map(|profile| profile.ppk(id)) {
            let roots = self.mixed(exchange, ppk)?;
            match proof::accept(&exchange.mixed(&roots), &having, &claimant) {
                Ok(proof) => return Ok((proof, Some(roots))),
                // It is not for this identity: as if it was not there.
                Err(AuthnRefusal::NoProfile { .. }) => {}
                Err(error) => return Err(refused(error)),
            }
        }
        let data = named.without.ok_or_else(|| named.unknown())?;
        let optional = only(profiles, |profile| !profile.requires_ppk());
        let proof = proof::accept(exchange, &optional, &claimant.with_proof(data));
        Ok((proof.map_err(|error| without(error, profiles.len() - optional.len()))?, None))
    }

    /// Mixes the key in that a client of this profile has named after EAP; gives the proof that counts.
    pub(crate) fn mix_after_eap<'a>(
        &mut self,
        ctx: &Context<'_>,
        profile: &Profile,
        auth: Auth<'a>,
        chain: &Chain<'a>,
    ) -> Result<Auth<'a>, Refusal> {
        self.may_do_without(profile)?;
        if !self.uses_ppk {
            return Ok(auth);
        }
        let named = Named::read(chain)?;
        if let Some(ppk) = named.id.and_then(|id| profile.ppk(id)) {
            let roots = self.mixed(&self.exchange(ctx)?, ppk)?;
            self.take_roots(roots);
            return Ok(auth);
        }
        match named.without {
            Some(data) if !profile.requires_ppk() => Ok(Auth { method: auth.method, data: data.into() }),
            Some(_) | None => Err(named.unknown()),
        }
    }

    /// Refuses a client of a profile that wants a key, if there can be none.
    pub(crate) fn may_do_without(&self, profile: &Profile) -> Result<(), Refusal> {
        if profile.requires_ppk() && !self.uses_ppk {
            let detail = format!("profile {} wants a PPK, and the client uses none", profile.name);
            return Err(refusal(detail));
        }
        Ok(())
    }

    fn mixed(&self, exchange: &Exchange<'_>, ppk: &Ppk) -> Result<Roots, Refusal> {
        let Secrets::Keys(keys) = &self.secrets else {
            return Err(Refusal::new(Failure::Local, "there are no keys"));
        };
        Roots::mixed(exchange.provider, &keys.derivation, &keys.proofs, &ppk.secret).map_err(local)
    }

    /// From here on everything is made of these keys.
    pub(crate) fn take_roots(&mut self, roots: Roots) {
        if let Secrets::Keys(keys) = &mut self.secrets {
            let Roots { derivation, proof_i, proof_r } = roots;
            keys.derivation = derivation;
            keys.proof_i = proof_i;
            keys.proof_r = proof_r;
            keys.is_mixed = true;
        }
    }

    /// What our answer says of it.
    pub(crate) fn mention(&self) -> Mention {
        match &self.secrets {
            Secrets::Keys(keys) if keys.is_mixed => Mention::Confirmed,
            Secrets::Keys(_) | Secrets::Halves(_) | Secrets::Session(_) | Secrets::Failed => Mention::None,
        }
    }
}

/// Profiles for which something holds.
fn only(profiles: &[Arc<Profile>], holds: impl Fn(&Profile) -> bool) -> Cow<'_, [Arc<Profile>]> {
    if profiles.iter().all(|profile| holds(profile)) {
        return Cow::Borrowed(profiles);
    }
    Cow::Owned(profiles.iter().filter(|profile| holds(profile)).cloned().collect())
}

/// A refusal, with how many profiles were left out.
fn without(error: AuthnRefusal, left_out: usize) -> Refusal {
    let refusal = refused(error);
    if left_out == 0 {
        return refusal;
    }
    let detail = format!("{}; without a PPK {left_out} profiles were left out", refusal.detail);
    Refusal { detail: detail.into(), ..refusal }
}

/// The key of a connection, and what comes of it.
#[derive(Debug)]
pub(crate) struct Mix {
    ppk: Arc<Ppk>,
    is_required: bool,
    roots: Option<Roots>,
}

impl Mix {
    /// What a connection with this profile mixes in, with a gateway that says whether it has keys.
    pub(crate) fn agreed(profile: &Profile, says_so: bool) -> Result<Option<Box<Self>>, Refusal> {
        let Some(ppks) = &profile.ppk else { return Ok(None) };
        match ppks.keys.first() {
            Some(ppk) if says_so => {
                let ppk = Arc::clone(ppk);
                Ok(Some(Box::new(Self { ppk, is_required: ppks.is_required, roots: None })))
            }
            Some(_) | None if ppks.is_required => Err(refusal("the gateway uses no PPK, and one is wanted")),
            Some(_) | None => Ok(None),
        }
    }
}

impl Introduced {
    /// Mixes the key in, before IKE_AUTH; what comes of it is used beside what there is, until the gateway
    /// has said which of the two it is.
    pub(crate) fn mix(&mut self, ctx: &Context<'_>) -> Result<(), Refusal> {
        let Some(mix) = self.mix.as_deref_mut() else { return Ok(()) };
        mix.roots = Some(roots(ctx, &self.derivation, &self.proofs, &mix.ppk)?);
        Ok(())
    }

    /// The exchange with the key mixed in, where there is one, and what is said of it; `without` makes the
    /// proof that there would be without.
    pub(crate) fn prove<'a, T>(
        &'a self,
        ctx: &Context<'_>,
        make: impl Fn(&Exchange<'a>) -> Result<T, Refusal>,
        into_auth: impl FnOnce(T) -> Option<Auth<'static>>,
    ) -> Result<(T, Mention), Refusal> {
        let exchange = self.exchange(ctx);
        let Some((mix, roots)) = self.mix.as_deref().and_then(|mix| Some((mix, mix.roots.as_ref()?))) else {
            return Ok((make(&exchange)?, Mention::None));
        };
        let with = make(&exchange.mixed(roots))?;
        let without = if mix.is_required { None } else { into_auth(make(&exchange)?) };
        Ok((with, Mention::Used { id: mix.ppk.id.clone(), without }))
    }

    /// The gateway's proof has come, with what it says of the key.
    pub(crate) fn settle_mix(&mut self, chain: &Chain<'_>) -> Result<(), Refusal> {
        let Some(mix) = self.mix.take() else { return Ok(()) };
        let Mix { ppk: _, is_required, roots } = *mix;
        let is_used = chain.notify(NotifyType::PpkIdentity).is_some();
        match roots {
            Some(Roots { derivation, proof_i, proof_r }) if is_used => {
                self.derivation = derivation;
                self.proof_i = proof_i;
                self.proof_r = proof_r;
                Ok(())
            }
            Some(_) | None if is_required => Err(refusal("the gateway has not used the PPK")),
            Some(_) | None => Ok(()),
        }
    }
}

fn roots(
    ctx: &Context<'_>,
    derivation: &DerivationKey,
    proofs: &Proofs,
    ppk: &Ppk,
) -> Result<Roots, Refusal> {
    Roots::mixed(ctx.provider, derivation, proofs, &ppk.secret).map_err(local)
}

/// Octets of a name that are shown.
const MAX_SHOWN: usize = 64;
