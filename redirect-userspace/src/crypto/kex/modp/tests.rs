use crypto_bigint::BitOps as _;

use super::*;

/// Wider than the widest prime, by more than the guard bits of [`pi`].
type Wide = Uint<72>;

/// The whole part of pi times 2^`bits`, by Machin's formula: pi = 16 atan(1/5) - 4 atan(1/239).
fn pi(bits: u32) -> Wide {
    // What is cut off in some thousand divisions does not reach beyond these bits.
    const GUARD: u32 = 64;
    let unit = Wide::ONE.shl_vartime(bits + GUARD);
    let atan_of_inverse = |x: u64| {
        let square = Wide::from_u64(x * x).to_nz().unwrap();
        let mut power = unit.div_rem_vartime(&Wide::from_u64(x).to_nz().unwrap()).0;
        let mut sum = Wide::ZERO;
        for term in 0.. {
            let part = power.div_rem_vartime(&Wide::from_u64(2 * term + 1).to_nz().unwrap()).0;
            if part == Wide::ZERO {
                break;
            }
            sum = if term % 2 == 0 { sum.wrapping_add(&part) } else { sum.wrapping_sub(&part) };
            power = power.div_rem_vartime(&square).0;
        }
        sum
    };
    let sixteen = atan_of_inverse(5).shl_vartime(4);
    let four = atan_of_inverse(239).shl_vartime(2);
    sixteen.wrapping_sub(&four).shr_vartime(GUARD)
}

// test of RFC 3526 §3, §4 and §5: p = 2^n - 2^(n-64) - 1 + 2^64 * ([2^(n-130) pi] + c)
#[test]
fn the_primes_are_those_that_the_rfc_makes_of_pi() {
    let prime = |bits: u32, constant: u64| {
        let middle = pi(bits - 130).wrapping_add(&Wide::from_u64(constant)).shl_vartime(64);
        Wide::ONE
            .shl_vartime(bits)
            .wrapping_sub(&Wide::ONE.shl_vartime(bits - 64))
            .wrapping_sub(&Wide::ONE)
            .wrapping_add(&middle)
    };

    assert_eq!(prime(2048, 124_476), Modulus2048::PARAMS.modulus().as_ref().resize());
    assert_eq!(prime(3072, 1_690_314), Modulus3072::PARAMS.modulus().as_ref().resize());
    assert_eq!(prime(4096, 240_904), Modulus4096::PARAMS.modulus().as_ref().resize());
}

/// 2 to the power of `exponent` by plain squaring.
fn plainly<M: ConstMontyParams<LIMBS>, const LIMBS: usize>(exponent: &[u64]) -> Uint<LIMBS> {
    let mut power = ConstMontyForm::<M, LIMBS>::ONE;
    for word in exponent.iter().rev() {
        for bit in (0..64).rev() {
            power = power.square();
            if word >> bit & 1 == 1 {
                power = power.double();
            }
        }
    }
    power.retrieve()
}

fn check_comb<M: ConstMontyParams<LIMBS>, const LIMBS: usize, const WORDS: usize>(comb: &Comb<M, LIMBS>) {
    let mut rng = Rng::from_number(3);
    let mut exponents = vec![[0; WORDS], [u64::MAX; WORDS]];
    for bit in [0, 1, 15, 16, 63, 64, 64 * WORDS - 1] {
        let mut exponent = [0; WORDS];
        exponent[bit / 64] = 1 << (bit % 64);
        exponents.push(exponent);
    }
    for _ in 0..3 {
        exponents.push(std::array::from_fn(|_| rng.u64()));
    }
    for exponent in exponents {
        assert_eq!(comb.power(&exponent).retrieve(), plainly::<M, LIMBS>(&exponent), "{exponent:x?}");
    }
}

#[test]
fn the_tables_give_the_powers_of_two() {
    check_comb::<_, _, 4>(comb_2048());
    check_comb::<_, _, 5>(comb_3072());
    check_comb::<_, _, 6>(comb_4096());
}

// test of RFC 6989 §2.1
#[test]
fn public_values_from_2_to_p_minus_2_are_taken_and_others_are_not() {
    let mut rng = Rng::from_number(4);
    let (exchange, _) = ModpExchange::generate(Prime::Modp2048, &mut rng);
    let prime = U2048::from_be_slice(&octets(Modulus2048::PARAMS.modulus().as_ref()));
    let offset = |below: u64| octets(&prime.wrapping_sub(&U2048::from_u64(below)));
    let small = |value: u64| octets(&U2048::from_u64(value));
    let degenerate = Err(KeyExchangeError::Degenerate { group: Group::Modp2048 });

    assert_eq!(exchange.agree(&small(0)), degenerate);
    assert_eq!(exchange.agree(&small(1)), degenerate);
    assert!(exchange.agree(&small(2)).is_ok());
    assert!(exchange.agree(&offset(2)).is_ok());
    assert_eq!(exchange.agree(&offset(1)), degenerate);
    assert_eq!(exchange.agree(&offset(0)), degenerate);
    assert_eq!(exchange.agree(&octets(&prime.wrapping_add(&U2048::ONE))), degenerate);
    assert_eq!(exchange.agree(&[0xff; 256]), degenerate);
}

// test of RFC 7296 §2.14
#[test]
fn secrets_are_as_long_as_the_prime_whatever_their_value() {
    let exponent = Exponent::<4>(Zeroizing::new(Uint::from_u64(3)));

    let secret = exponent.power_of::<Modulus2048, _>(&octets(&U2048::from_u64(5))).unwrap();

    let mut expected = [0; 256];
    expected[255] = 125;
    assert_eq!(secret.expose(), expected);
}

// test of RFC 7919 §A
#[test]
fn private_exponents_are_long_enough() {
    let bits = |group| match group {
        Prime::Modp2048 => Exponent::<4>::generate(&mut Rng::from_number(1)).0.bits_precision(),
        Prime::Modp3072 => Exponent::<5>::generate(&mut Rng::from_number(1)).0.bits_precision(),
        Prime::Modp4096 => Exponent::<6>::generate(&mut Rng::from_number(1)).0.bits_precision(),
    };

    assert!(bits(Prime::Modp2048) >= 225);
    assert!(bits(Prime::Modp3072) >= 275);
    assert!(bits(Prime::Modp4096) >= 325);
}
