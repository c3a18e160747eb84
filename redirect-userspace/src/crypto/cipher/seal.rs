//! Sealing and opening on the caller's buffer.

#![forbid(unsafe_code)]

use std::fmt::{Debug, Formatter};

use aes::cipher::{Block, BlockModeDecrypt as _, BlockModeEncrypt as _, InnerIvInit as _};
use aes::{Aes128Dec, Aes128Enc, Aes256Dec, Aes256Enc};
use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};

use super::{AEAD_IV_LENGTH, Encr, KeyError, Protection, SALT_LENGTH, TAG_LENGTH};
use crate::crypto::integ::{IntegError, IntegKey};

/// What stands around the encrypted part of a message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Around<'a> {
    /// What stands before the IV and is authenticated: the associated data of an AEAD.
    pub head: &'a [u8],
    /// The IV.
    pub iv: &'a [u8],
    /// What an HMAC takes in after the encrypted part without its being sent: the upper half of
    /// an extended sequence number (`RFC 4303 §2.8`). An AEAD has it in `head`.
    pub tail: &'a [u8],
}

impl Around<'_> {
    fn check(&self, protection: Protection, body: &[u8], icv: &[u8]) -> Result<(), CipherError> {
        let encr = protection.encr();
        if self.iv.len() != encr.iv_length() {
            return Err(CipherError::IvLength { encr, length: self.iv.len() });
        }
        if !body.len().is_multiple_of(encr.block_length()) {
            return Err(CipherError::BodyLength { encr, length: body.len() });
        }
        if icv.len() != protection.icv_length() {
            return Err(CipherError::IcvLength { protection, length: icv.len() });
        }
        if encr.is_aead() && !self.tail.is_empty() {
            return Err(CipherError::Tail { encr });
        }
        Ok(())
    }
}

/// Encrypts, and makes integrity check values.
pub struct Sealer {
    protection: Protection,
    form: Seal,
}

enum Seal {
    Aead(Aead),
    /// Boxed: a key schedule and an HMAC are far larger than the handle of an AEAD.
    Cbc(Box<CbcSeal>),
    #[cfg(any(test, feature = "testing"))]
    Null,
}

struct CbcSeal {
    cipher: CbcEncrypt,
    integ: IntegKey,
}

enum CbcEncrypt {
    Aes128(Aes128Enc),
    Aes256(Aes256Enc),
}

impl Sealer {
    pub(super) fn new(protection: Protection, encr: &[u8], integ: &[u8]) -> Result<Self, KeyError> {
        let form = match protection.encr() {
            Encr::AesGcm128 => Seal::Aead(Aead::new(&AES_128_GCM, encr)?),
            Encr::AesGcm256 => Seal::Aead(Aead::new(&AES_256_GCM, encr)?),
            Encr::ChaCha20Poly1305 => Seal::Aead(Aead::new(&CHACHA20_POLY1305, encr)?),
            Encr::AesCbc128 => {
                let cipher = CbcEncrypt::Aes128(prepare(encr)?);
                Seal::Cbc(Box::new(CbcSeal { cipher, integ: integ_key(protection, integ)? }))
            }
            Encr::AesCbc256 => {
                let cipher = CbcEncrypt::Aes256(prepare(encr)?);
                Seal::Cbc(Box::new(CbcSeal { cipher, integ: integ_key(protection, integ)? }))
            }
        };
        Ok(Self { protection, form })
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) const fn null(protection: Protection) -> Self {
        Self { protection, form: Seal::Null }
    }

    /// Which algorithms it uses.
    #[must_use]
    pub const fn protection(&self) -> Protection {
        self.protection
    }

    /// Encrypts `body`, padding included, where it stands, and writes the check value into `icv`.
    /// The IV must be one of [`Protection::write_iv`], and no IV may come twice with one key.
    ///
    /// # Errors
    ///
    /// [`CipherError`]; not [`CipherError::Mismatch`].
    pub fn seal(&self, around: Around<'_>, body: &mut [u8], icv: &mut [u8]) -> Result<(), CipherError> {
        around.check(self.protection, body, icv)?;
        match &self.form {
            Seal::Aead(aead) => aead.seal(around, body, icv),
            Seal::Cbc(cbc) => {
                match &cbc.cipher {
                    CbcEncrypt::Aes128(cipher) => cbc_encrypt(cipher, around.iv, body)?,
                    CbcEncrypt::Aes256(cipher) => cbc_encrypt(cipher, around.iv, body)?,
                }
                Ok(cbc.integ.sign(&[around.head, around.iv, body, around.tail], icv)?)
            }
            #[cfg(any(test, feature = "testing"))]
            Seal::Null => {
                icv.fill(0);
                Ok(())
            }
        }
    }
}

impl Debug for Sealer {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer({:?}, …)", self.protection)
    }
}

/// Checks integrity, and decrypts.
pub struct Opener {
    protection: Protection,
    form: Open,
}

enum Open {
    Aead(Aead),
    Cbc(Box<CbcOpen>),
    #[cfg(any(test, feature = "testing"))]
    Null,
}

struct CbcOpen {
    cipher: CbcDecrypt,
    integ: IntegKey,
}

enum CbcDecrypt {
    Aes128(Aes128Dec),
    Aes256(Aes256Dec),
}

impl Opener {
    pub(super) fn new(protection: Protection, encr: &[u8], integ: &[u8]) -> Result<Self, KeyError> {
        let form = match protection.encr() {
            Encr::AesGcm128 => Open::Aead(Aead::new(&AES_128_GCM, encr)?),
            Encr::AesGcm256 => Open::Aead(Aead::new(&AES_256_GCM, encr)?),
            Encr::ChaCha20Poly1305 => Open::Aead(Aead::new(&CHACHA20_POLY1305, encr)?),
            Encr::AesCbc128 => {
                let cipher = CbcDecrypt::Aes128(prepare(encr)?);
                Open::Cbc(Box::new(CbcOpen { cipher, integ: integ_key(protection, integ)? }))
            }
            Encr::AesCbc256 => {
                let cipher = CbcDecrypt::Aes256(prepare(encr)?);
                Open::Cbc(Box::new(CbcOpen { cipher, integ: integ_key(protection, integ)? }))
            }
        };
        Ok(Self { protection, form })
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) const fn null(protection: Protection) -> Self {
        Self { protection, form: Open::Null }
    }

    /// Which algorithms it uses.
    #[must_use]
    pub const fn protection(&self) -> Protection {
        self.protection
    }

    /// Checks `icv`, and then decrypts `body` where it stands. When it fails, what stands in
    /// `body` has no meaning.
    ///
    /// # Errors
    ///
    /// [`CipherError`]
    pub fn open(&self, around: Around<'_>, body: &mut [u8], icv: &[u8]) -> Result<(), CipherError> {
        around.check(self.protection, body, icv)?;
        match &self.form {
            Open::Aead(aead) => aead.open(around, body, icv),
            Open::Cbc(cbc) => {
                cbc.integ.verify(&[around.head, around.iv, body, around.tail], icv)?;
                match &cbc.cipher {
                    CbcDecrypt::Aes128(cipher) => cbc_decrypt(cipher, around.iv, body),
                    CbcDecrypt::Aes256(cipher) => cbc_decrypt(cipher, around.iv, body),
                }
            }
            #[cfg(any(test, feature = "testing"))]
            Open::Null => Ok(()),
        }
    }
}

impl Debug for Opener {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opener({:?}, …)", self.protection)
    }
}

/// Why something cannot be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    /// An IV that is too long or too short.
    #[error("an IV of {encr:?} has {} octets, not {length}", encr.iv_length())]
    IvLength {
        /// The cipher.
        encr: Encr,
        /// Octets there are.
        length: usize,
    },
    /// A body that is not made of whole blocks.
    #[error("{length} octets are no whole blocks of {encr:?}")]
    BodyLength {
        /// The cipher.
        encr: Encr,
        /// Octets there are.
        length: usize,
    },
    /// A check value that is too long or too short.
    #[error("a check value has {} octets, not {length}", protection.icv_length())]
    IcvLength {
        /// The algorithms.
        protection: Protection,
        /// Octets there are.
        length: usize,
    },
    /// Something to authenticate after the body, which an AEAD cannot.
    #[error("{encr:?} authenticates nothing after the body")]
    Tail {
        /// The cipher.
        encr: Encr,
    },
    /// The message or its check value was changed, or the key is another.
    #[error("the check value is that of another message or another key")]
    Mismatch,
    /// The library failed, which it does when it is out of memory.
    #[error("the cryptographic library failed")]
    Library,
}

impl From<IntegError> for CipherError {
    fn from(error: IntegError) -> Self {
        match error {
            IntegError::Mismatch => Self::Mismatch,
            // The lengths have been checked.
            IntegError::KeyLength { .. } | IntegError::IcvLength { .. } => Self::Library,
        }
    }
}

/// An AEAD of the library, for both directions.
struct Aead {
    key: LessSafeKey,
    salt: [u8; SALT_LENGTH],
}

impl Aead {
    fn new(algorithm: &'static Algorithm, material: &[u8]) -> Result<Self, KeyError> {
        let (key, salt) = material.split_last_chunk().ok_or(KeyError::Library)?;
        let key = UnboundKey::new(algorithm, key).map_err(|_unspecified| KeyError::Library)?;
        Ok(Self { key: LessSafeKey::new(key), salt: *salt })
    }

    // RFC 5282 §4: the nonce is the salt and the IV.
    fn nonce(&self, iv: &[u8]) -> Result<Nonce, CipherError> {
        let mut nonce = [0; SALT_LENGTH + AEAD_IV_LENGTH];
        for (place, octet) in nonce.iter_mut().zip(self.salt.iter().chain(iv)) {
            *place = *octet;
        }
        Ok(Nonce::assume_unique_for_key(nonce))
    }

    fn seal(&self, around: Around<'_>, body: &mut [u8], icv: &mut [u8]) -> Result<(), CipherError> {
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(around.iv)?, Aad::from(around.head), body)
            .map_err(|_unspecified| CipherError::Library)?;
        let tag: &[u8; TAG_LENGTH] = tag.as_ref().first_chunk().ok_or(CipherError::Library)?;
        for (place, octet) in icv.iter_mut().zip(tag) {
            *place = *octet;
        }
        Ok(())
    }

    fn open(&self, around: Around<'_>, body: &mut [u8], icv: &[u8]) -> Result<(), CipherError> {
        let nonce = self.nonce(around.iv)?;
        match self.key.open_in_place_separate_tag(nonce, Aad::from(around.head), icv, body) {
            Ok(_plaintext) => Ok(()),
            Err(_unspecified) => Err(CipherError::Mismatch),
        }
    }
}

fn prepare<C: aes::cipher::KeyInit>(key: &[u8]) -> Result<C, KeyError> {
    C::new_from_slice(key).map_err(|_length| KeyError::Library)
}

fn integ_key(protection: Protection, key: &[u8]) -> Result<IntegKey, KeyError> {
    let integ = protection.integ().ok_or(KeyError::Library)?;
    Ok(IntegKey::new(integ, key)?)
}

fn cbc_encrypt<C>(cipher: &C, iv: &[u8], body: &mut [u8]) -> Result<(), CipherError>
where
    C: aes::cipher::BlockCipherEncrypt,
{
    let (blocks, _none) = Block::<C>::slice_as_chunks_mut(body);
    let mut mode = cbc::Encryptor::inner_iv_slice_init(cipher, iv).map_err(|_length| CipherError::Library)?;
    mode.encrypt_blocks(blocks);
    Ok(())
}

fn cbc_decrypt<C>(cipher: &C, iv: &[u8], body: &mut [u8]) -> Result<(), CipherError>
where
    C: aes::cipher::BlockCipherDecrypt,
{
    let (blocks, _none) = Block::<C>::slice_as_chunks_mut(body);
    let mut mode = cbc::Decryptor::inner_iv_slice_init(cipher, iv).map_err(|_length| CipherError::Library)?;
    mode.decrypt_blocks(blocks);
    Ok(())
}
