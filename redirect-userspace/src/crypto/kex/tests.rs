use super::*;

#[test]
fn both_sides_arrive_at_the_same_secret() {
    let mut rng = Rng::from_number(1);
    for group in Group::ALL {
        let ours = KeyExchange::generate(group, &mut rng).unwrap();
        let theirs = Answer::new(group, ours.public(), &mut rng).unwrap();
        let (public, answer) = (ours.public().to_vec(), theirs.public().to_vec());

        let secret = ours.agree(&answer).unwrap();

        assert_eq!((public.len(), answer.len()), (group.public_length(), group.answer_length()));
        assert_ne!(public, answer);
        assert_eq!(secret.len(), group.secret_length());
        assert_eq!((theirs.group(), theirs.secret().unwrap()), (group, secret), "{group:?}");
    }
}

/// The groups whose private values come from our own generator.
fn own() -> impl Iterator<Item = Group> {
    Group::ALL.into_iter().filter(|group| !kems().contains(group))
}

fn kems() -> [Group; 3] {
    [Group::MlKem512, Group::MlKem768, Group::MlKem1024]
}

#[test]
fn the_same_generator_gives_the_same_private_value() {
    for group in own() {
        let public =
            |number| KeyExchange::generate(group, &mut Rng::from_number(number)).unwrap().public().to_vec();

        assert_eq!(public(7), public(7));
        assert_ne!(public(7), public(8));
    }
}

#[test]
fn public_values_of_another_length_are_refused() {
    let mut rng = Rng::from_number(2);
    let around = |length| [0, 1, length - 1, length + 1, 65_535];
    for group in Group::ALL {
        for length in around(group.answer_length()) {
            let exchange = KeyExchange::generate(group, &mut rng).unwrap();

            let refused = exchange.agree(&vec![4; length]);

            assert_eq!(refused, Err(KeyExchangeError::Length { group, length }));
        }
        for length in around(group.public_length()) {
            let refused = Answer::new(group, &vec![4; length], &mut rng).err();

            assert_eq!(refused, Some(KeyExchangeError::Length { group, length }));
        }
    }
}

#[test]
fn whatever_octets_come_they_are_taken_or_refused() {
    let mut rng = Rng::from_number(3);
    for group in [Group::P256, Group::P384, Group::P521, Group::Curve25519, Group::Modp2048] {
        for _ in 0..4 {
            let mut peer = vec![0; group.public_length()];
            rng.fill(&mut peer);
            let exchange = KeyExchange::generate(group, &mut rng).unwrap();

            match exchange.agree(&peer) {
                Ok(secret) => assert_eq!(secret.len(), group.secret_length()),
                Err(error) => assert_eq!(error, KeyExchangeError::OffCurve { group }),
            }
        }
    }
}

// test of FIPS 203 §7.2
#[test]
fn an_encapsulation_key_with_coefficients_that_are_too_large_is_refused() {
    let mut rng = Rng::from_number(4);
    for group in kems() {
        let good = KeyExchange::generate(group, &mut rng).unwrap().public().to_vec();
        // Three octets have two coefficients of twelve bits, each less than 3329.
        let mut bad = good.clone();
        bad[..3].fill(0xff);

        assert!(Answer::new(group, &good, &mut rng).is_ok());
        for bad in [bad, vec![0xff; good.len()]] {
            let refused = Answer::new(group, &bad, &mut rng).err();
            assert_eq!(refused, Some(KeyExchangeError::BadKey { group }));
        }
    }
}

// test of FIPS 203 §6.3
#[test]
fn a_changed_ciphertext_gives_another_secret_and_no_error() {
    let mut rng = Rng::from_number(5);
    for group in kems() {
        for at in [0, group.answer_length() / 2, group.answer_length() - 1] {
            let ours = KeyExchange::generate(group, &mut rng).unwrap();
            let theirs = Answer::new(group, ours.public(), &mut rng).unwrap();
            let mut forged = theirs.public().to_vec();
            forged[at] ^= 1;

            let secret = ours.agree(&forged).unwrap();

            assert_eq!(secret.len(), group.secret_length());
            assert_ne!(secret, theirs.secret().unwrap(), "{group:?} {at}");
        }
    }
}
