//! `show sa`: the IKE SAs, with the labels and columns of Cisco's `show crypto ikev2 sa`.

use std::fmt::Write as _;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::print::clean;
use super::suite::Algorithms;
use crate::control::client::{self, AskError};
use crate::control::{ChildView, Method, Request, SaRole, SaSelector, SaView};

/// SAs, and how many are left out.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Page<T> {
    pub(super) sas: Vec<T>,
    pub(super) more: u64,
}

/// Has a number.
pub(super) trait Numbered {
    /// The number.
    fn id(&self) -> Option<u64>;
}

impl Numbered for SaView {
    fn id(&self) -> Option<u64> {
        Some(self.id)
    }
}

impl Numbered for Value {
    fn id(&self) -> Option<u64> {
        self.get("id")?.as_u64()
    }
}

/// Asks for the first SAs, or for one page after the other until there are no more.
pub(super) fn ask<T>(socket: &Path, select: &SaSelector, all: bool) -> Result<Page<T>, AskError>
where
    T: DeserializeOwned + Numbered,
{
    let mut page = Page { sas: Vec::new(), more: 0 };
    let mut after = None;
    loop {
        let request = Request::ShowSa { select: select.clone(), after, limit: None };
        let next: Page<T> = client::ask(socket, request)?;
        let last = next.sas.last().and_then(T::id);
        page.sas.extend(next.sas);
        page.more = next.more;
        // A daemon that repeats itself must not keep us here.
        if !all || page.more == 0 || last <= after {
            return Ok(page);
        }
        after = last;
    }
}

/// The text.
pub(super) fn render(page: &Page<SaView>, detail: bool, width: usize) -> String {
    if page.sas.is_empty() {
        return "No IKE SAs.\n".to_owned();
    }
    let mut text = String::new();
    for (family, is_ipv6) in [("IPv4", false), ("IPv6", true)] {
        // As Cisco's command: the headline is there even if nothing follows.
        let _written = writeln!(text, " {family} Crypto IKEv2  SA\n");
        for sa in page.sas.iter().filter(|sa| sa.remote.starts_with('[') == is_ipv6) {
            one(&mut text, sa, is_ipv6, detail, width);
        }
    }
    if page.more > 0 {
        let sas = if page.more == 1 { "SA is" } else { "SAs are" };
        let _written = writeln!(text, "{} more IKE {sas} not shown: --all shows them.", page.more);
    }
    text
}

fn one(text: &mut String, sa: &SaView, is_ipv6: bool, detail: bool, width: usize) {
    // One `line!` is one line, whatever is in the names. Writing to a string does not fail.
    macro_rules! line {
        ($indent:literal, $($words:tt)*) => {{
            let words = clean(&format!($($words)*), false);
            let line = format!("{:indent$}{words}", "", indent = $indent);
            let _written = writeln!(text, "{}", line.trim_end());
        }};
    }

    let (local, remote, status) = (slashed(&sa.local), slashed(&sa.remote), status(&sa.state));
    if is_ipv6 {
        line!(0, "{:<12} {:<22} Status", "Tunnel-id", "fvrf/ivrf");
        line!(0, "{:<12} {NO_VRF:<22} {status}", sa.id);
        line!(0, "Local  {local}");
        line!(0, "Remote  {remote}");
    } else {
        line!(0, "{:<9} {:<21} {:<21} {:<19} Status", "Tunnel-id", "Local", "Remote", "fvrf/ivrf");
        line!(0, "{:<9} {local:<21} {remote:<21} {NO_VRF:<19} {status}", sa.id);
    }
    for line in wrapped(&suite(sa), width.saturating_sub(INDENT)) {
        line!(6, "{line}");
    }
    let life = sa.rekey_in_s.map_or_else(|| "-".to_owned(), |left| sa.age_s.saturating_add(left).to_string());
    line!(6, "Life/Active Time: {life}/{} sec", sa.age_s);
    if detail {
        let (own, other) = match sa.role {
            SaRole::Initiator => (Some(&sa.spi_i), sa.spi_r.as_ref()),
            SaRole::Responder => (sa.spi_r.as_ref(), Some(&sa.spi_i)),
        };
        line!(6, "Status Description: {}", description(&sa.state));
        line!(6, "Local spi: {:<20} Remote spi: {}", spi(own), spi(other));
        line!(6, "Local id: {}", sa.local_id);
        line!(6, "Remote id: {}", sa.remote_id);
        if let Some(profile) = &sa.profile {
            line!(6, "Profile: {profile}");
        }
        line!(6, "{}", nat(sa));
        line!(6, "Initiator of SA : {}", if sa.role == SaRole::Initiator { "Yes" } else { "No" });
        for address in &sa.addresses {
            line!(6, "Pushed IP address: {address}");
        }
        if let Some(gateway) = &sa.redirected_from {
            line!(6, "Redirected from: {gateway}");
        }
        if sa.resumed {
            line!(6, "Session resumed by ticket");
        }
        for child in &sa.children {
            for (number, line) in self::child(child, width).iter().enumerate() {
                if number == 0 {
                    line!(0, "Child sa: {line}");
                } else {
                    line!(10, "{line}");
                }
            }
        }
    }
    text.push('\n');
}

/// Columns before the lines under an SA.
const INDENT: usize = 6;
/// There are no VRFs here.
const NO_VRF: &str = "none/none";

/// The parts that a line may be broken between.
fn suite(sa: &SaView) -> Vec<String> {
    let algorithms = Algorithms::of(&sa.suite);
    let mut parts = vec![
        format!("Encr: {}", algorithms.encryption),
        format!("PRF: {}", algorithms.prf),
        format!("Hash: {}", algorithms.hash),
        format!("DH Grp:{}", algorithms.group),
    ];
    for (what, method) in [("sign", sa.local_auth), ("verify", sa.remote_auth)] {
        let method = match method {
            Some(Method::Psk) => "PSK",
            // Cisco's word for any signature.
            Some(Method::Pubkey) => "RSA",
            Some(Method::Eap) => "EAP",
            None => "-",
        };
        parts.push(format!("Auth {what}: {method}"));
    }
    parts
}

/// Parts joined by commas, on as many lines as it takes.
fn wrapped(parts: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.chars().count() + part.chars().count() + 3 <= width => {
                let _written = write!(line, ", {part}");
            }
            Some(line) => {
                line.push(',');
                lines.push(part.clone());
            }
            None => lines.push(part.clone()),
        }
    }
    lines
}

/// What is told of a Child SA.
fn child(child: &ChildView, width: usize) -> Vec<String> {
    let algorithms = Algorithms::of(&child.suite);
    let mut lines = Vec::new();
    for (side, selectors) in [("local", &child.local_ts), ("remote", &child.remote_ts)] {
        lines.extend(selectors.iter().map(|selector| format!("{side:<6} selector {selector}")));
    }
    lines.push(format!(
        "ESP spi in/out: 0x{}/0x{}",
        child.spi_in.to_uppercase(),
        child.spi_out.to_uppercase()
    ));
    let mut parts = vec![
        format!("Encr: {}", algorithms.encryption),
        format!("esp_hmac: {}", algorithms.hash),
        format!("DH Grp:{}", algorithms.group),
        format!("mode {}", child.mode),
    ];
    if child.udp_encapsulated {
        parts.push("UDP encapsulated".to_owned());
    }
    lines.extend(wrapped(&parts, width.saturating_sub(10)));
    lines.push(format!("Bytes in/out: {}/{}", child.bytes_in, child.bytes_out));
    lines.push(format!("Packets in/out: {}/{}", child.packets_in, child.packets_out));
    let life = child.rekey_in_s.map(|left| child.age_s.saturating_add(left).to_string());
    let idle = child.idle_s.map_or_else(|| "-".to_owned(), |idle| format!("{idle} sec"));
    let life = life.unwrap_or_else(|| "-".to_owned());
    lines.push(format!("Life/Active Time: {life}/{} sec, idle {idle}", child.age_s));
    lines
}

/// `66.66.66.1/500` for `66.66.66.1:500`, and the same for IPv6.
fn slashed(address: &str) -> String {
    match address.rsplit_once(':') {
        Some((host, port)) => format!("{}/{port}", host.trim_matches(['[', ']'])),
        None => address.to_owned(),
    }
}

/// Cisco's words for the states.
fn status(state: &str) -> &str {
    match state {
        "half-open" => "IN-NEG",
        "established" => "READY",
        "rekeying" => "REKEY",
        "redirected" => "REDIRECT",
        "closing" => "DELETE",
        other => other,
    }
}

fn description(state: &str) -> &str {
    match state {
        "half-open" => "Negotiation in progress",
        "established" => "Negotiation done",
        "rekeying" => "Another SA is taking its place",
        "redirected" => "The client was told to go to another gateway",
        "closing" => "Being deleted",
        other => other,
    }
}

fn spi(spi: Option<&String>) -> String {
    spi.map_or_else(|| "0".repeat(16), |spi| spi.to_uppercase())
}

fn nat(sa: &SaView) -> &'static str {
    match (sa.local_behind_nat, sa.remote_behind_nat) {
        (false, false) => "NAT-T is not detected",
        (true, false) => "NAT-T is detected inside",
        (false, true) => "NAT-T is detected outside",
        (true, true) => "NAT-T is detected inside and outside",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::print::DEFAULT_WIDTH;
    use crate::control::fixtures;

    fn page(more: u64) -> Page<SaView> {
        Page { sas: fixtures::sas().iter().map(SaView::from).collect(), more }
    }

    #[test]
    fn sas_are_shown_as_operators_of_cisco_routers_know_them() {
        assert_eq!(
            render(&page(0), false, DEFAULT_WIDTH),
            "\u{20}IPv4 Crypto IKEv2  SA

Tunnel-id Local                 Remote                fvrf/ivrf           Status
7         10.50.0.11/4500       192.0.2.7/61234       none/none           READY
      Encr: AES-GCM, keysize: 256, PRF: SHA384, Hash: None, DH Grp:20,
      Auth sign: RSA, Auth verify: PSK
      Life/Active Time: 14400/735 sec

 IPv6 Crypto IKEv2  SA

Tunnel-id    fvrf/ivrf              Status
8            none/none              IN-NEG
Local  fd50::11/500
Remote  fd60::7/500
      Encr: None, PRF: None, Hash: None, DH Grp:None, Auth sign: -,
      Auth verify: -
      Life/Active Time: -/1 sec

"
        );
    }

    #[test]
    fn the_detail_has_ids_spis_and_children() {
        let mut page = page(0);
        page.sas.truncate(1);

        assert_eq!(
            render(&page, true, DEFAULT_WIDTH),
            "\u{20}IPv4 Crypto IKEv2  SA

Tunnel-id Local                 Remote                fvrf/ivrf           Status
7         10.50.0.11/4500       192.0.2.7/61234       none/none           READY
      Encr: AES-GCM, keysize: 256, PRF: SHA384, Hash: None, DH Grp:20,
      Auth sign: RSA, Auth verify: PSK
      Life/Active Time: 14400/735 sec
      Status Description: Negotiation done
      Local spi: 99AABBCCDDEEFF00     Remote spi: 1122334455667788
      Local id: vpn.example.net
      Remote id: alice@example.net
      Profile: remote-access
      NAT-T is detected outside
      Initiator of SA : No
      Pushed IP address: 10.98.0.1
      Pushed IP address: fd98::1
      Redirected from: 10.50.0.5
Child sa: local  selector 10.99.0.0/16
          local  selector 10.97.0.1/32[6/443]
          remote selector 10.98.0.1/32
          ESP spi in/out: 0xC2320001/0x3076C002
          Encr: AES-GCM, keysize: 256, esp_hmac: None, DH Grp:None, mode tunnel,
          UDP encapsulated
          Bytes in/out: 123456/7890
          Packets in/out: 120/78
          Life/Active Time: 3500/700 sec, idle 4 sec

 IPv6 Crypto IKEv2  SA

"
        );
    }

    #[test]
    fn a_wide_terminal_has_the_algorithms_on_one_line() {
        let text = render(&page(0), false, 120);

        assert!(
            text.contains("      Encr: AES-GCM, keysize: 256, PRF: SHA384, Hash: None, DH Grp:20, Auth sign: RSA, Auth verify: PSK\n"),
            "{text}"
        );
    }

    #[test]
    fn what_is_left_out_is_said() {
        let last = |more| render(&page(more), false, DEFAULT_WIDTH).lines().last().unwrap().to_owned();

        assert_eq!(last(1), "1 more IKE SA is not shown: --all shows them.");
        assert_eq!(last(19_500), "19500 more IKE SAs are not shown: --all shows them.");
        assert_eq!(render(&Page { sas: Vec::new(), more: 0 }, true, DEFAULT_WIDTH), "No IKE SAs.\n");
    }

    #[test]
    fn identities_cannot_break_out_of_their_line() {
        let mut page = page(0);
        page.sas[0].remote_id = "a\u{1b}[2J\nb".to_owned();

        let text = render(&page, true, DEFAULT_WIDTH);

        assert!(text.contains("      Remote id: a?[2J?b\n"), "{text}");
    }
}
