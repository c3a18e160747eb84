//! ESP packets per second of processor time, beside the bare cipher that is in each of them.

use std::hint::black_box;

use aes::cipher::BlockModeEncrypt as _;
use anyhow::{Context as _, Result, anyhow};
use aws_lc_rs::aead;
use hmac::{KeyInit as _, Mac as _};
use redirect_userspace::crypto::cipher::{Encr, Protection, TrafficKeys};
use redirect_userspace::crypto::integ::Integ;
use redirect_userspace::dataplane::esp::{HEADROOM, Outbound, SequenceNumbers, TAILROOM};
use redirect_userspace::rng::Rng;

use crate::Effort;
use crate::meter::own_time;
use crate::report::{Report, Samples};

/// Octets of the inner packet.
const PACKET: usize = 1400;
/// Packets in a turn.
const PACKETS: u32 = 20_000;

/// What is done once for each packet.
type Operation = Box<dyn FnMut() -> Result<()>>;

pub(crate) fn run(report: &mut Report, effort: Effort) -> Result<()> {
    for (name, bare, protection) in candidates()? {
        let (mut bare, mut ours) = (bare, sealing(protection)?);
        let mut rates = [const { Samples::new() }; 2];
        for _ in 0..effort.of(15, 3) {
            for (operation, rates) in [&mut ours, &mut bare].into_iter().zip(&mut rates) {
                rates.push(turn(operation)?);
            }
        }
        let [ours, bare] = &rates;
        report.rate("ESP packets sealed, 1400 octets", name, "/CPU-s", ours, bare, 0.7, 0.9);
    }
    Ok(())
}

/// Operations per second of processor time.
fn turn(operation: &mut Operation) -> Result<f64> {
    // Whoever had the turn before has left other things in the caches.
    for _ in 0..100 {
        operation()?;
    }
    let start = own_time()?;
    for _ in 0..PACKETS {
        operation()?;
    }
    Ok(f64::from(PACKETS) / own_time()?.saturating_sub(start).as_secs_f64())
}

fn candidates() -> Result<Vec<(&'static str, Operation, Protection)>> {
    let protection = |encr, integ| Protection::new(encr, integ).context("a protection");
    let sha256 = Some(Integ::HmacSha256_128);
    Ok(vec![
        ("AES-GCM-128", bare_aead(&aead::AES_128_GCM)?, protection(Encr::AesGcm128, None)?),
        ("AES-GCM-256", bare_aead(&aead::AES_256_GCM)?, protection(Encr::AesGcm256, None)?),
        (
            "ChaCha20-Poly1305",
            bare_aead(&aead::CHACHA20_POLY1305)?,
            protection(Encr::ChaCha20Poly1305, None)?,
        ),
        ("AES-CBC-128, SHA2", bare_cbc::<aes::Aes128>(&[3; 16])?, protection(Encr::AesCbc128, sha256)?),
        ("AES-CBC-256, SHA2", bare_cbc::<aes::Aes256>(&[3; 32])?, protection(Encr::AesCbc256, sha256)?),
    ])
}

/// The library alone, on the octets that it encrypts in an ESP packet.
fn bare_aead(algorithm: &'static aead::Algorithm) -> Result<Operation> {
    let octets = vec![3; algorithm.key_len()];
    let key = aead::UnboundKey::new(algorithm, &octets).map_err(|_| anyhow!("a key"))?;
    let (key, mut body, head) = (aead::LessSafeKey::new(key), vec![6; PACKET + 4], [0; 8]);
    Ok(Box::new(move || {
        // As below: what was written a moment ago takes longer to read.
        if let Some(first) = body.first_mut() {
            *first = 0x45;
        }
        let nonce = aead::Nonce::assume_unique_for_key([1; 12]);
        let tag = key.seal_in_place_separate_tag(nonce, aead::Aad::from(&head), &mut body);
        black_box(tag.map_err(|_| anyhow!("the library fails"))?.as_ref());
        Ok(())
    }))
}

/// The same of a cipher and a code from two libraries.
fn bare_cbc<C>(key: &[u8]) -> Result<Operation>
where
    C: aes::cipher::BlockCipherEncrypt + aes::cipher::KeyInit + 'static,
{
    use aes::cipher::{Block, InnerIvInit as _};
    let cipher = C::new_from_slice(key).map_err(|_| anyhow!("a key"))?;
    let mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&[4; 32]).map_err(|_| anyhow!("a key"))?;
    let mut body = vec![6; PACKET + 8];
    Ok(Box::new(move || {
        let mut mode =
            cbc::Encryptor::inner_iv_slice_init(&cipher, &[5; 16]).map_err(|_| anyhow!("an IV"))?;
        mode.encrypt_blocks(Block::<C>::slice_as_chunks_mut(&mut body).0);
        let mut mac = mac.clone();
        mac.update(&[0; 24]);
        mac.update(&body);
        black_box(mac.finalize());
        Ok(())
    }))
}

/// A Child SA that seals the same packet over and over.
fn sealing(protection: Protection) -> Result<Operation> {
    let keys = TrafficKeys::new(
        protection,
        &vec![3; protection.encr_key_length()],
        &vec![4; protection.integ_key_length()],
    )
    .context("keys")?;
    let out = Outbound::new([1, 2, 3, 4], &keys, SequenceNumbers::Extended).context("an SA")?;
    let (mut rng, mut buffer) = (Rng::from_number(1), vec![6; HEADROOM + PACKET + TAILROOM]);
    Ok(Box::new(move || {
        // What was encrypted the last time is no IP packet.
        if let Some(first) = buffer.get_mut(HEADROOM) {
            *first = 0x45;
        }
        black_box(out.seal(&mut rng, &mut buffer, HEADROOM..HEADROOM + PACKET).context("sealing")?);
        Ok(())
    }))
}
