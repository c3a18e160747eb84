//! Keys of IKE SAs as a strongSwan daemon writes them to its log
//! ([`Settings::tells_keys`](super::strongswan::Settings::tells_keys)), for tshark.

use anyhow::{Context as _, Result, bail};

/// Keys of one IKE SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeKeys {
    spis: [String; 2],
    encryption: [String; 2],
    integrity: Option<[String; 2]>,
}

impl IkeKeys {
    /// The line of tshark's table.
    ///
    /// # Errors
    ///
    /// When the keys are of an algorithm that is not known here.
    pub(super) fn row(&self) -> Result<String> {
        let octets = |keys: &[String; 2]| keys[0].len() / 2;
        let encryption = match (octets(&self.encryption), &self.integrity) {
            // The salt is part of the key.
            (20, None) => "AES-GCM-128 with 16 octet ICV [RFC5282]",
            (36, None) => "AES-GCM-256 with 16 octet ICV [RFC5282]",
            (16, Some(_)) => "AES-CBC-128 [RFC3602]",
            (32, Some(_)) => "AES-CBC-256 [RFC3602]",
            (other, _) => bail!("a key of {other} octets"),
        };
        let (integrity, keys) = match &self.integrity {
            None => ("NONE [RFC4306]", Default::default()),
            Some(keys) => match octets(keys) {
                32 => ("HMAC_SHA2_256_128 [RFC4868]", keys.clone()),
                48 => ("HMAC_SHA2_384_192 [RFC4868]", keys.clone()),
                64 => ("HMAC_SHA2_512_256 [RFC4868]", keys.clone()),
                other => bail!("a key of {other} octets"),
            },
        };
        let [spi_i, spi_r] = &self.spis;
        let [encryption_i, encryption_r] = &self.encryption;
        let [integrity_i, integrity_r] = keys;
        Ok(format!(
            "{spi_i},{spi_r},{encryption_i},{encryption_r},\"{encryption}\",\
             {integrity_i},{integrity_r},\"{integrity}\"\n"
        ))
    }
}

/// The keys in a log, with the SPIs of their SAs, which the log does not have, in the same order.
///
/// # Errors
///
/// When there are more or fewer keys than SPIs.
pub fn of_ike_sas(log: &str, spis: &[[String; 2]]) -> Result<Vec<IkeKeys>> {
    let dumps = |name: &str| -> Vec<String> {
        let head = format!("> {name} secret => ");
        log.match_indices(&head).map(|(at, _)| dump(log.get(at..).unwrap_or_default())).collect()
    };
    let pairs = |names: [&str; 2]| {
        let [first, second] = names.map(dumps);
        first.into_iter().zip(second).map(|(first, second)| [first, second])
    };
    let mut integrity = pairs(["Sk_ai", "Sk_ar"]);
    let encryption: Vec<_> = pairs(["Sk_ei", "Sk_er"]).collect();
    if encryption.len() != spis.len() {
        bail!("keys of {} SAs, not of {}", encryption.len(), spis.len());
    }
    encryption
        .into_iter()
        .zip(spis)
        .map(|(encryption, spis)| {
            // Keys with a salt stand alone.
            let has_salt = matches!(encryption[0].len() / 2, 20 | 36);
            let integrity = if has_salt { None } else { Some(integrity.next().context("no key")?) };
            Ok(IkeKeys { spis: spis.clone(), encryption, integrity })
        })
        .collect()
}

/// Octets that follow a line of a log as `   0: 2C 3A …  text`, 16 in a line, as digits.
fn dump(text: &str) -> String {
    let lines = text.lines().skip(1).map_while(|line| {
        let (_, row) = line.split_once("> ")?;
        let (offset, octets) = row.trim_start().split_once(": ")?;
        offset.parse::<usize>().ok()?;
        Some(octets.get(..47.min(octets.len()))?.split_whitespace().collect::<String>())
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
10[IKE] <a|1> Sk_d secret => 4 bytes @ 0x7f
10[IKE] <a|1>    0: C8 18 88 A3                                      ....
10[IKE] <a|1> Sk_ei secret => 20 bytes @ 0x7f
10[IKE] <a|1>    0: 00 01 02 03 04 05 06 07 08 09 0A 0B 0C 0D 0E 0F  A: B............
10[IKE] <a|1>   16: 10 11 12 13                                      ....
10[IKE] <a|1> Sk_er secret => 20 bytes @ 0x7f
10[IKE] <a|1>    0: FF 01 02 03 04 05 06 07 08 09 0A 0B 0C 0D 0E 0F  ................
10[IKE] <a|1>   16: 10 11 12 13                                      ....
10[IKE] <a|1> authentication of 'a' (myself) with pre-shared key
";

    #[test]
    fn keys_are_read_from_strongswans_log() {
        let spis = ["0102030405060708", "1112131415161718"].map(str::to_owned);

        let keys = of_ike_sas(LOG, std::slice::from_ref(&spis)).unwrap();

        assert_eq!(keys.len(), 1);
        assert_eq!(
            keys[0].row().unwrap(),
            "0102030405060708,1112131415161718,000102030405060708090A0B0C0D0E0F10111213,\
             FF0102030405060708090A0B0C0D0E0F10111213,\"AES-GCM-128 with 16 octet ICV [RFC5282]\",\
             ,,\"NONE [RFC4306]\"\n"
        );
        assert!(of_ike_sas(LOG, &[spis.clone(), spis]).is_err());
    }
}
