//! Keywords for algorithms: strongSwan's, so that a proposal can be moved from one to the other.

use std::borrow::Cow;

use crate::ike::wire::{
    AdditionalIndex, Encryption, Integrity, KeyExchangeMethod, Prf, SequenceNumbers, Transform,
};

/// What a keyword means.
#[derive(Clone, Debug)]
pub(super) enum Meaning {
    /// An algorithm.
    Algorithm(Transform),
    /// An algorithm that is refused, and why.
    Weak(&'static str),
    /// An algorithm that is not there.
    Unsupported,
}

/// What a word means; `None` when it is not a keyword. `ke1_` to `ke7_` before a key exchange method
/// make it an additional one.
pub(super) fn meaning(word: &str) -> Option<Meaning> {
    let listed = |word| KEYWORDS.iter().find(|(keyword, _)| *keyword == word).map(|(_, meaning)| meaning);
    let Some((index, word)) = additional(word) else { return listed(word).cloned() };
    match listed(word)? {
        Meaning::Algorithm(Transform::KeyExchange(method)) => {
            Some(Meaning::Algorithm(Transform::AdditionalKeyExchange(index, *method)))
        }
        Meaning::Algorithm(_) => None,
        refused @ (Meaning::Weak(_) | Meaning::Unsupported) => Some(refused.clone()),
    }
}

/// Which additional key exchange a word is for, and its method.
fn additional(word: &str) -> Option<(AdditionalIndex, &str)> {
    let (number, word) = word.strip_prefix("ke")?.split_once('_')?;
    let index = number.parse::<u8>().ok()?.checked_sub(1)?;
    // As it is written and in no other way.
    (number.len() == 1).then_some(())?;
    AdditionalIndex::new(index).map(|index| (index, word))
}

/// The first keyword for an algorithm.
pub(super) fn of(transform: &Transform) -> Cow<'static, str> {
    if let Transform::AdditionalKeyExchange(index, method) = transform {
        let method = if *method == KeyExchangeMethod::None {
            "none".into()
        } else {
            of(&Transform::KeyExchange(*method))
        };
        return format!("ke{}_{method}", index.value() + 1).into();
    }
    let is_it =
        |meaning: &Meaning| matches!(meaning, Meaning::Algorithm(algorithm) if algorithm == transform);
    KEYWORDS.iter().find(|(_, meaning)| is_it(meaning)).map_or("unsupported", |(keyword, _)| keyword).into()
}

const fn encryption(algorithm: Encryption, bits: u16) -> Meaning {
    Meaning::Algorithm(Transform::Encryption(algorithm, Some(bits)))
}

const fn prf(algorithm: Prf) -> Meaning {
    Meaning::Algorithm(Transform::Prf(algorithm))
}

const fn integrity(algorithm: Integrity) -> Meaning {
    Meaning::Algorithm(Transform::Integrity(algorithm))
}

const fn method(method: KeyExchangeMethod) -> Meaning {
    Meaning::Algorithm(Transform::KeyExchange(method))
}

const SHORT_BLOCKS: Meaning = Meaning::Weak("blocks of 64 bits give away what they hide (RFC 8221 §5)");
const SHORT_KEY: Meaning = Meaning::Weak("keys of 56 bits are found by trying (RFC 8247 §2.1)");
const NO_ENCRYPTION: Meaning = Meaning::Weak("it does not encrypt (RFC 8247 §2.1)");
const MD5: Meaning = Meaning::Weak("MD5 is broken (RFC 8247 §2.2)");
const SHA1: Meaning = Meaning::Weak("SHA-1 is on its way out (RFC 8247 §2.2): use `sha256`");
const SMALL_GROUP: Meaning = Meaning::Weak("the group is too small (RFC 8247 §2.4)");
const ODD_GROUP: Meaning =
    Meaning::Weak("its small subgroups let keys leak, and nobody knows its origin (RFC 8247 §2.4)");

/// Where there are several keywords for an algorithm, the first one is its name.
static KEYWORDS: &[(&str, Meaning)] = &[
    ("aes128", encryption(Encryption::AesCbc, 128)),
    ("aes", encryption(Encryption::AesCbc, 128)),
    ("aes256", encryption(Encryption::AesCbc, 256)),
    ("aes128gcm16", encryption(Encryption::AesGcm16, 128)),
    ("aes128gcm", encryption(Encryption::AesGcm16, 128)),
    ("aes128gcm128", encryption(Encryption::AesGcm16, 128)),
    ("aes256gcm16", encryption(Encryption::AesGcm16, 256)),
    ("aes256gcm", encryption(Encryption::AesGcm16, 256)),
    ("aes256gcm128", encryption(Encryption::AesGcm16, 256)),
    ("chacha20poly1305", Meaning::Algorithm(Transform::Encryption(Encryption::ChaCha20Poly1305, None))),
    ("aes192", Meaning::Unsupported),
    ("aes128ctr", Meaning::Unsupported),
    ("aes192ctr", Meaning::Unsupported),
    ("aes256ctr", Meaning::Unsupported),
    ("aes128gcm8", Meaning::Unsupported),
    ("aes128gcm12", Meaning::Unsupported),
    ("aes192gcm16", Meaning::Unsupported),
    ("aes256gcm8", Meaning::Unsupported),
    ("aes256gcm12", Meaning::Unsupported),
    ("aes128ccm8", Meaning::Unsupported),
    ("aes128ccm12", Meaning::Unsupported),
    ("aes128ccm16", Meaning::Unsupported),
    ("aes256ccm8", Meaning::Unsupported),
    ("aes256ccm12", Meaning::Unsupported),
    ("aes256ccm16", Meaning::Unsupported),
    ("camellia128", Meaning::Unsupported),
    ("camellia192", Meaning::Unsupported),
    ("camellia256", Meaning::Unsupported),
    ("des", SHORT_KEY),
    ("3des", SHORT_BLOCKS),
    ("blowfish128", SHORT_BLOCKS),
    ("blowfish192", SHORT_BLOCKS),
    ("blowfish256", SHORT_BLOCKS),
    ("cast128", SHORT_BLOCKS),
    ("null", NO_ENCRYPTION),
    ("aes128gmac", NO_ENCRYPTION),
    ("aes192gmac", NO_ENCRYPTION),
    ("aes256gmac", NO_ENCRYPTION),
    ("sha256", integrity(Integrity::HmacSha2_256_128)),
    ("sha2_256", integrity(Integrity::HmacSha2_256_128)),
    ("sha384", integrity(Integrity::HmacSha2_384_192)),
    ("sha2_384", integrity(Integrity::HmacSha2_384_192)),
    ("sha512", integrity(Integrity::HmacSha2_512_256)),
    ("sha2_512", integrity(Integrity::HmacSha2_512_256)),
    ("aesxcbc", Meaning::Unsupported),
    ("aescmac", Meaning::Unsupported),
    ("sha1", SHA1),
    ("sha", SHA1),
    ("md5", MD5),
    ("prfsha256", prf(Prf::HmacSha2_256)),
    ("prfsha384", prf(Prf::HmacSha2_384)),
    ("prfsha512", prf(Prf::HmacSha2_512)),
    ("prfaesxcbc", Meaning::Unsupported),
    ("prfaescmac", Meaning::Unsupported),
    ("prfsha1", SHA1),
    ("prfmd5", MD5),
    ("modp2048", method(KeyExchangeMethod::Modp2048)),
    ("modp3072", method(KeyExchangeMethod::Modp3072)),
    ("modp4096", method(KeyExchangeMethod::Modp4096)),
    ("ecp256", method(KeyExchangeMethod::Ecp256)),
    ("ecp384", method(KeyExchangeMethod::Ecp384)),
    ("ecp521", method(KeyExchangeMethod::Ecp521)),
    ("x25519", method(KeyExchangeMethod::Curve25519)),
    ("curve25519", method(KeyExchangeMethod::Curve25519)),
    ("modpnone", method(KeyExchangeMethod::None)),
    ("none", method(KeyExchangeMethod::None)),
    ("modp6144", Meaning::Unsupported),
    ("modp8192", Meaning::Unsupported),
    ("ecp224bp", SMALL_GROUP),
    ("ecp256bp", Meaning::Unsupported),
    ("ecp384bp", Meaning::Unsupported),
    ("ecp512bp", Meaning::Unsupported),
    ("x448", Meaning::Unsupported),
    ("curve448", Meaning::Unsupported),
    ("mlkem512", method(KeyExchangeMethod::MlKem512)),
    ("mlkem768", method(KeyExchangeMethod::MlKem768)),
    ("mlkem1024", method(KeyExchangeMethod::MlKem1024)),
    ("modp768", SMALL_GROUP),
    ("modp1024", SMALL_GROUP),
    ("modp1536", SMALL_GROUP),
    ("modp1024s160", ODD_GROUP),
    ("modp2048s224", ODD_GROUP),
    ("modp2048s256", ODD_GROUP),
    ("ecp192", SMALL_GROUP),
    ("ecp224", SMALL_GROUP),
    ("noesn", Meaning::Algorithm(Transform::SequenceNumbers(SequenceNumbers::Short))),
    ("esn", Meaning::Algorithm(Transform::SequenceNumbers(SequenceNumbers::Extended))),
];

/// All keywords.
#[cfg(test)]
pub(super) fn words() -> Vec<&'static str> {
    KEYWORDS.iter().map(|(keyword, _)| *keyword).collect()
}
