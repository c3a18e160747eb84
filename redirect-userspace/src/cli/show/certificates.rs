//! `show certificates`: what is good until a time, and for how long that is.

use super::super::table::{Align, Table};
use crate::control::CertificateView;

/// The text.
pub(crate) fn render(certificates: &[CertificateView], width: usize) -> String {
    if certificates.is_empty() {
        return NONE.to_owned();
    }
    let mut table = Table::new([
        ("Kind", Align::Left),
        ("Until", Align::Left),
        ("Left", Align::Right),
        ("Owner and file", Align::Left),
    ]);
    for CertificateView { kind, file, owner, until, left_s } in certificates {
        let until = until.get(..UNTIL).unwrap_or(until).replace('T', " ");
        table.row([kind.clone(), until, left(*left_s), format!("{owner} {file}")]);
    }
    table.render(width)
}

/// A time in words that fit a column.
fn left(seconds: i64) -> String {
    match seconds {
        ..=0 => "over".to_owned(),
        1..3_600 => format!("{} min", seconds.div_euclid(60)),
        3_600..172_800 => format!("{} h", seconds.div_euclid(3_600)),
        172_800.. => format!("{} d", seconds.div_euclid(86_400)),
    }
}

const NONE: &str = "No certificates.\n";
/// Characters of a time down to its minutes.
const UNTIL: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::print::DEFAULT_WIDTH;
    use crate::control::fixtures;

    #[test]
    fn each_has_a_line_with_what_is_left() {
        let view = fixtures::snapshot().certificates;

        assert_eq!(
            render(&view, DEFAULT_WIDTH),
            "\
Kind  Until             Left  Owner and file
----  ----------------  ----  -----------------------------------------
own   2027-01-22 08:00   7 d  CN=vpn.example.net /etc/redirectd/vpn.crt
ca    2027-01-16 08:00  24 h  CN=VPN CA /etc/redirectd/ca.crt
crl   2027-01-15 07:59  over  CN=VPN CA /etc/redirectd/ca.crl
"
        );
    }

    #[test]
    fn a_node_without_certificates_says_so() {
        assert_eq!(render(&[], DEFAULT_WIDTH), NONE);
    }

    #[test]
    fn what_is_left_is_said_in_a_unit_that_fits() {
        for (seconds, text) in [
            (-5, "over"),
            (0, "over"),
            (59, "0 min"),
            (3_599, "59 min"),
            (3_600, "1 h"),
            (172_799, "47 h"),
            (172_800, "2 d"),
            (864_000, "10 d"),
        ] {
            assert_eq!(left(seconds), text);
        }
    }
}
