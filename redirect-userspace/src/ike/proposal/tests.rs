use std::num::NonZeroU32;

use crate::ike::wire::AdditionalIndex;

use super::keyword::of;
use super::*;

fn ike(text: &str) -> IkeProposal {
    text.parse().unwrap_or_else(|wrong| panic!("{text}: {wrong}"))
}

fn esp(text: &str) -> EspProposal {
    text.parse().unwrap_or_else(|wrong| panic!("{text}: {wrong}"))
}

fn ikes(texts: &[&str]) -> Vec<IkeProposal> {
    texts.iter().map(|text| ike(text)).collect()
}

fn esps(texts: &[&str]) -> Vec<EspProposal> {
    texts.iter().map(|text| esp(text)).collect()
}

fn spi(spi: u32) -> ChildSpi {
    ChildSpi(NonZeroU32::new(spi).unwrap())
}

/// What a gateway with `ours` makes of the offer of a client with `theirs`, who has sent a public
/// value for the first of its methods.
fn chosen_from(ours: &[&str], theirs: &[&str]) -> Result<String, NoChoice> {
    let theirs = ikes(theirs);
    let sent = theirs[0].key_exchanges().next().unwrap();
    let offer = IkeProposal::offer(&theirs, None).unwrap();
    let choice = IkeProposal::choose(&ikes(ours), &offer, sent, false)?;
    let text = format!("{} {}", choice.number, choice.suite);
    let suite = choice.suite;

    let answer = choice.answer(ProposalSpi::Ike(None));
    assert_eq!(answer.proposals().len(), 1);
    assert_eq!(IkeSuite::chosen(&offer, &answer).map(|choice| choice.suite), Ok(suite));
    Ok(text)
}

fn esp_chosen_from(ours: &[&str], theirs: &[&str], exchange: EspExchange) -> Result<String, NoChoice> {
    let offer = EspProposal::offer(&esps(theirs), spi(256), exchange).unwrap();
    let choice = EspProposal::choose(&esps(ours), &offer, exchange)?;
    assert_eq!(choice.spi, ProposalSpi::Child(ChildProtocol::Esp, spi(256)));
    let text = format!("{} {}", choice.number, choice.suite);
    let suite = choice.suite;

    let answer = choice.answer(ProposalSpi::Child(ChildProtocol::Esp, spi(512)));
    assert_eq!(EspSuite::chosen(&offer, &answer).map(|choice| choice.suite), Ok(suite));
    Ok(text)
}

#[test]
fn a_proposal_is_what_its_keywords_say() {
    let proposal = ike("aes256gcm16-prfsha384-ecp384");

    let sa = IkeProposal::offer(&[proposal], None).unwrap();

    assert_eq!(
        sa.proposals()[0].transforms,
        [
            Transform::Encryption(Encryption::AesGcm16, Some(256)),
            Transform::Prf(Prf::HmacSha2_384),
            Transform::KeyExchange(KeyExchangeMethod::Ecp384),
        ]
    );
}

#[test]
fn proposals_are_shown_as_they_are_configured() {
    for (text, shown) in [
        ("aes256gcm16-prfsha384-ecp384", "aes256gcm16-prfsha384-ecp384"),
        ("chacha20poly1305-prfsha256-x25519", "chacha20poly1305-prfsha256-x25519"),
        // The PRF follows from the integrity algorithm.
        ("aes128-sha256-modp2048", "aes128-prfsha256-sha256-modp2048"),
        ("aes128-sha256-prfsha512-modp2048", "aes128-prfsha512-sha256-modp2048"),
        ("aes-sha2_512-curve25519", "aes128-prfsha512-sha512-x25519"),
        // Alternatives keep their order.
        (
            "aes256-aes128-sha512-sha256-ecp384-ecp256",
            "aes256-aes128-prfsha512-prfsha256-sha512-sha256-ecp384-ecp256",
        ),
    ] {
        assert_eq!(ike(text).to_string(), shown);
        assert_eq!(ike(shown), ike(text));
    }
    for (text, shown) in [
        ("aes256gcm16", "aes256gcm16-noesn"),
        ("aes256gcm16-esn", "aes256gcm16-esn"),
        ("aes256gcm16-esn-noesn", "aes256gcm16-esn-noesn"),
        ("aes128-sha256-ecp256", "aes128-sha256-ecp256-noesn"),
        ("aes128-sha256-ecp256-modpnone", "aes128-sha256-ecp256-modpnone-noesn"),
    ] {
        assert_eq!(esp(text).to_string(), shown);
        assert_eq!(esp(shown), esp(text));
    }
}

#[test]
fn the_proposals_of_the_contract_are_good() {
    for text in ["aes256gcm16-prfsha384-ecp384", "aes128gcm16-prfsha256-x25519", "aes256-sha256-modp2048"] {
        ike(text);
    }
    for text in ["aes256gcm16", "aes128gcm16", "aes256-sha256"] {
        esp(text);
    }
}

#[test]
fn a_proposal_that_is_no_good_is_refused_with_the_reason() {
    for (text, reason) in [
        ("", "`` is not a known algorithm"),
        ("aes256gcm16-prfsha384-", "`` is not a known algorithm"),
        ("aes257-sha256-modp2048", "`aes257` is not a known algorithm"),
        ("AES256-sha256-modp2048", "`AES256` is not a known algorithm"),
        (
            "3des-sha256-modp2048",
            "`3des` is refused: blocks of 64 bits give away what they hide (RFC 8221 §5)",
        ),
        ("des-sha256-modp2048", "`des` is refused: keys of 56 bits are found by trying (RFC 8247 §2.1)"),
        ("null-sha256-modp2048", "`null` is refused: it does not encrypt (RFC 8247 §2.1)"),
        ("aes128-md5-modp2048", "`md5` is refused: MD5 is broken (RFC 8247 §2.2)"),
        ("aes128-sha1-modp2048", "`sha1` is refused: SHA-1 is on its way out (RFC 8247 §2.2): use `sha256`"),
        ("aes128-sha256-modp1024", "`modp1024` is refused: the group is too small (RFC 8247 §2.4)"),
        (
            "aes128-sha256-modp2048s256",
            "`modp2048s256` is refused: its small subgroups let keys leak, and nobody knows its origin \
             (RFC 8247 §2.4)",
        ),
        ("aes192-sha256-modp2048", "`aes192` is not supported"),
        ("aes128-aes128-sha256-modp2048", "`aes128` is there twice"),
        ("aes-aes128-sha256-modp2048", "`aes128` is there twice"),
        ("sha256-modp2048", "encryption is missing"),
        ("aes128-modp2048", "integrity, such as `sha256`, is missing"),
        ("aes128-sha256", "a key exchange method, such as `ecp256`, is missing"),
        ("aes128-sha256-modpnone", "`modpnone` has no place in this proposal"),
        ("aes128gcm16-ecp256", "a pseudorandom function, such as `prfsha256`, is missing"),
        (
            "aes128gcm16-sha256-prfsha256-ecp256",
            "the encryption takes care of integrity: `sha256` is too much",
        ),
        (
            "aes128gcm16-aes128-sha256-ecp256",
            "encryption with and without its own integrity must be in different proposals",
        ),
        ("aes128-sha256-modp2048-esn", "`esn` has no place in this proposal"),
    ] {
        assert_eq!(
            text.parse::<IkeProposal>().map_err(|wrong| wrong.to_string()),
            Err(reason.to_owned()),
            "{text}"
        );
    }
    for (text, reason) in [
        ("aes128", "integrity, such as `sha256`, is missing"),
        ("aes128-sha256-prfsha256", "`prfsha256` has no place in this proposal"),
        ("aes256gmac", "`aes256gmac` is refused: it does not encrypt (RFC 8247 §2.1)"),
    ] {
        assert_eq!(
            text.parse::<EspProposal>().map_err(|wrong| wrong.to_string()),
            Err(reason.to_owned()),
            "{text}"
        );
    }
}

#[test]
fn the_first_of_ours_that_the_peer_offers_is_chosen() {
    let ours = ["aes256gcm16-prfsha384-ecp384", "aes256-sha256-modp2048"];

    assert_eq!(
        chosen_from(&ours, &["aes256-sha256-modp2048", "aes256gcm16-prfsha384-modp2048"]),
        Ok("1 aes256-sha256-prfsha256-modp2048".to_owned())
    );
    assert_eq!(
        chosen_from(&ours, &["aes128-sha256-ecp384", "aes256gcm16-prfsha384-ecp384"]),
        Ok("2 aes256gcm16-prfsha384-ecp384".to_owned())
    );
    assert_eq!(chosen_from(&ours, &["aes128-sha256-modp2048"]), Err(NoChoice::NoProposal));
    assert_eq!(chosen_from(&ours, &["aes256-sha384-modp2048"]), Err(NoChoice::NoProposal));
    assert_eq!(
        chosen_from(
            &["aes256-sha512-sha256-prfsha256-modp2048"],
            &["aes256-sha256-sha512-prfsha256-modp2048"]
        ),
        Ok("1 aes256-sha512-prfsha256-modp2048".to_owned())
    );
}

#[test]
fn another_method_is_wanted_only_if_the_one_that_was_sent_will_not_do() {
    let gcm = |methods| format!("aes256gcm16-prfsha384-{methods}");

    assert_eq!(
        chosen_from(&[&gcm("ecp384-x25519")], &[&gcm("x25519-ecp384")]),
        Ok("1 aes256gcm16-prfsha384-x25519".to_owned())
    );
    assert_eq!(
        chosen_from(&[&gcm("ecp384")], &[&gcm("x25519-ecp256-ecp384")]),
        Err(NoChoice::OtherMethod { wanted: KeyExchangeMethod::Ecp384 })
    );
    assert_eq!(chosen_from(&[&gcm("ecp384")], &[&gcm("x25519")]), Err(NoChoice::NoProposal));
    // The method of the proposal that is chosen counts, not that of another.
    assert_eq!(
        chosen_from(&[&gcm("ecp384"), "aes256-sha256-modp2048"], &["aes256-sha256-modp2048", &gcm("ecp384")]),
        Err(NoChoice::OtherMethod { wanted: KeyExchangeMethod::Ecp384 })
    );
}

#[test]
fn esp_has_a_key_exchange_only_outside_ike_auth() {
    let pfs = ["aes256gcm16-ecp384"];
    let plain = ["aes256gcm16"];
    let optional = ["aes256gcm16-ecp384-modpnone"];
    let sent = EspExchange::CreateChildSa(Some(KeyExchangeMethod::Ecp384));
    let none = EspExchange::CreateChildSa(None);
    let with = Ok("1 aes256gcm16-ecp384-noesn".to_owned());
    let without = Ok("1 aes256gcm16-noesn".to_owned());

    for ours in [pfs, plain, optional] {
        for theirs in [pfs, plain, optional] {
            assert_eq!(esp_chosen_from(&ours, &theirs, EspExchange::IkeAuth), without);
        }
    }
    assert_eq!(esp_chosen_from(&pfs, &pfs, sent), with);
    assert_eq!(esp_chosen_from(&optional, &optional, sent), with);
    assert_eq!(esp_chosen_from(&plain, &plain, none), without);
    assert_eq!(esp_chosen_from(&plain, &optional, sent), without);
    assert_eq!(esp_chosen_from(&optional, &plain, none), without);
    assert_eq!(esp_chosen_from(&pfs, &plain, none), Err(NoChoice::NoProposal));
    assert_eq!(esp_chosen_from(&plain, &pfs, sent), Err(NoChoice::NoProposal));
    assert_eq!(
        esp_chosen_from(&pfs, &pfs, none),
        Err(NoChoice::OtherMethod { wanted: KeyExchangeMethod::Ecp384 })
    );
}

#[test]
fn sequence_numbers_are_agreed_upon() {
    let choose = |ours, theirs| esp_chosen_from(&[ours], &[theirs], EspExchange::IkeAuth);

    assert_eq!(choose("aes256gcm16-esn-noesn", "aes256gcm16-noesn-esn"), Ok("1 aes256gcm16-esn".to_owned()));
    assert_eq!(choose("aes256gcm16", "aes256gcm16-esn-noesn"), Ok("1 aes256gcm16-noesn".to_owned()));
    assert_eq!(choose("aes256gcm16", "aes256gcm16-esn"), Err(NoChoice::NoProposal));
}

/// An offer of one proposal that our keywords do not make.
fn foreign(transforms: Vec<Transform>) -> Sa {
    Sa::one(Proposal { number: NonZeroU8::MIN, spi: ProposalSpi::Ike(None), transforms })
}

fn gcm() -> Vec<Transform> {
    vec![
        Transform::Encryption(Encryption::AesGcm16, Some(256)),
        Transform::Prf(Prf::HmacSha2_384),
        Transform::KeyExchange(KeyExchangeMethod::Ecp384),
    ]
}

fn choose_foreign(more: &[Transform]) -> Result<Vec<Transform>, NoChoice> {
    let offer = foreign([gcm(), more.to_vec()].concat());
    let ours = [ike("aes256gcm16-prfsha384-ecp384")];
    let choice = IkeProposal::choose(&ours, &offer, KeyExchangeMethod::Ecp384, false)?;
    let answer = choice.answer(ProposalSpi::Ike(None));
    assert!(IkeSuite::chosen(&offer, &answer).is_ok());
    Ok(answer.into_proposals().remove(0).transforms)
}

#[test]
fn what_the_peer_can_do_without_is_done_without() {
    let additional = |method| Transform::AdditionalKeyExchange(AdditionalIndex::new(0).unwrap(), method);

    // An AEAD may come with the integrity algorithm NONE, which the answer does not repeat.
    assert_eq!(choose_foreign(&[Transform::Integrity(Integrity::None)]), Ok(gcm()));
    // RFC 9370: an additional key exchange that may be NONE is declined by saying so.
    assert_eq!(
        choose_foreign(&[additional(KeyExchangeMethod::MlKem768), additional(KeyExchangeMethod::None)]),
        Ok([gcm(), vec![additional(KeyExchangeMethod::None)]].concat())
    );
    for must in [
        Transform::Integrity(Integrity::HmacSha2_256_128),
        Transform::SequenceNumbers(SequenceNumbers::Short),
        additional(KeyExchangeMethod::MlKem768),
        Transform::Unusable { kind: TransformType::from(13), id: 0, attributes: Box::default() },
    ] {
        assert_eq!(choose_foreign(&[must]), Err(NoChoice::NoProposal));
    }
}

#[test]
fn a_transform_that_must_not_be_chosen_is_passed_over() {
    let unusable =
        Transform::Unusable { kind: TransformType::Encryption, id: 20, attributes: [0x80, 15, 0, 1].into() };

    assert_eq!(choose_foreign(&[unusable]), Ok(gcm()));
}

#[test]
fn proposals_for_another_protocol_are_passed_over() {
    let esp_offer = EspProposal::offer(&esps(&["aes256gcm16"]), spi(256), EspExchange::IkeAuth).unwrap();
    let ike_offer = IkeProposal::offer(&ikes(&["aes256gcm16-prfsha384-ecp384"]), None).unwrap();

    assert_eq!(
        IkeProposal::choose(
            &ikes(&["aes256gcm16-prfsha384-ecp384"]),
            &esp_offer,
            KeyExchangeMethod::Ecp384,
            false
        ),
        Err(NoChoice::NoProposal)
    );
    assert_eq!(
        EspProposal::choose(&esps(&["aes256gcm16"]), &ike_offer, EspExchange::IkeAuth),
        Err(NoChoice::NoProposal)
    );
}

// test of RFC 7296 §3.3.6
#[test]
fn an_answer_that_is_not_part_of_the_offer_is_refused() {
    let offer =
        IkeProposal::offer(&ikes(&["aes256gcm16-prfsha384-ecp384-x25519", "aes256-sha256-modp2048"]), None);
    let offer = offer.unwrap();
    let answer = |number, transforms: Vec<Transform>| {
        let number = NonZeroU8::new(number).unwrap();
        let answer = Sa::one(Proposal { number, spi: ProposalSpi::Ike(None), transforms });
        IkeSuite::chosen(&offer, &answer).map(|choice| choice.suite.to_string())
    };

    assert_eq!(answer(1, gcm()), Ok("aes256gcm16-prfsha384-ecp384".to_owned()));
    // A peer may name what is only implied.
    let named = [gcm(), vec![Transform::Integrity(Integrity::None)]].concat();
    assert_eq!(answer(1, named), Ok("aes256gcm16-prfsha384-ecp384".to_owned()));

    assert_eq!(answer(2, gcm()), Err(NotOffered), "another proposal's");
    assert_eq!(answer(3, gcm()), Err(NotOffered), "a number that there is not");
    assert_eq!(answer(1, gcm()[..2].to_vec()), Err(NotOffered), "no key exchange");
    assert_eq!(answer(1, gcm()[1..].to_vec()), Err(NotOffered), "no encryption");
    let two = [gcm(), vec![Transform::KeyExchange(KeyExchangeMethod::Curve25519)]].concat();
    assert_eq!(answer(1, two), Err(NotOffered), "two methods");
    let shorter =
        [vec![Transform::Encryption(Encryption::AesGcm16, Some(128))], gcm()[1..].to_vec()].concat();
    assert_eq!(answer(1, shorter), Err(NotOffered), "a shorter key");
    let more = [gcm(), vec![Transform::Integrity(Integrity::HmacSha2_256_128)]].concat();
    assert_eq!(answer(1, more), Err(NotOffered), "integrity beside an AEAD");
    let none = [gcm()[..2].to_vec(), vec![Transform::KeyExchange(KeyExchangeMethod::None)]].concat();
    assert_eq!(answer(1, none), Err(NotOffered), "no key exchange, in words");
    assert_eq!(IkeSuite::chosen(&offer, &offer), Err(NotOffered), "two proposals");
}

#[test]
fn an_offer_numbers_its_proposals_from_one() {
    let sa = IkeProposal::offer(&ikes(&["aes256gcm16-prfsha384-ecp384"; 3]), NonZeroU64::new(7)).unwrap();

    let numbers: Vec<_> = sa.proposals().iter().map(|proposal| proposal.number.get()).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(sa.proposals()[0].spi, ProposalSpi::Ike(NonZeroU64::new(7)));
    assert_eq!(IkeProposal::offer(&[], None), None);
    assert_eq!(IkeProposal::offer(&vec![ike("aes256gcm16-prfsha384-ecp384"); 256], None), None);
}

#[test]
fn every_algorithm_has_a_keyword_and_every_keyword_one_meaning() {
    let words = keyword::words();
    for (position, word) in words.iter().enumerate() {
        assert!(!words[..position].contains(word), "`{word}` twice");
        if let Some(Meaning::Algorithm(transform)) = keyword::meaning(word) {
            let name = of(&transform);
            assert!(matches!(keyword::meaning(&name), Some(Meaning::Algorithm(same)) if same == transform));
            assert!(!is_none(&transform) || name == "modpnone");
        }
    }
}
