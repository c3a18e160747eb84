//! `show standby`: the HSRP groups, with the labels and the layout of Cisco's command.

use std::fmt::Write as _;

use super::super::print::clean;
use crate::control::{AuthenticationKind, StandbyState, StandbyView};

/// The text.
pub(crate) fn render(groups: &[StandbyView]) -> String {
    if groups.is_empty() {
        return NONE.to_owned();
    }
    groups.iter().map(group).collect()
}

const NONE: &str = "No standby groups.\n";

fn group(view: &StandbyView) -> String {
    let mut text = String::new();
    // One `line!` is one line, whatever is in the names. Writing to a string does not fail.
    macro_rules! line {
        ($indent:literal, $($words:tt)*) => {{
            let words = clean(&format!($($words)*), false);
            let _written = writeln!(text, "{:indent$}{words}", "", indent = $indent);
        }};
    }

    line!(0, "{} - Group {} (version {})", view.interface, view.group, view.version);
    line!(2, "State is {}", state(view.state));
    line!(4, "{}", changes(view));
    for track in &view.track {
        match track.up {
            Some(up) => {
                let state = if up { "Up" } else { "Down" };
                line!(4, "Track object {} state {state} decrement {}", track.interface, track.decrement);
            }
            None => line!(4, "Track object {} (unknown)", track.interface),
        }
    }
    match &view.link_local {
        Some(address) => {
            let origin = if view.vip.first() == Some(address) { "conf" } else { "impl auto EUI64" };
            line!(2, "Link-Local Virtual IPv6 address is {address} ({origin})");
            for vip in view.vip.iter().filter(|vip| *vip != address) {
                line!(4, "Virtual IPv6 address {vip}");
            }
        }
        None => {
            line!(2, "Virtual IP address is {}", view.vip.first().map_or(UNKNOWN, String::as_str));
            for vip in view.vip.iter().skip(1) {
                line!(4, "Secondary virtual IP address {vip}");
            }
        }
    }
    match (&view.active_router, view.state) {
        (_, StandbyState::Active) => {
            line!(2, "Active virtual MAC address is {} (MAC In Use)", view.virtual_mac);
        }
        (Some(_), _) => line!(2, "Active virtual MAC address is {} (MAC Not In Use)", view.virtual_mac),
        (None, _) => line!(2, "Active virtual MAC address is {UNKNOWN}"),
    }
    let origin = if view.use_bia { "bia".to_owned() } else { format!("v{} default", view.version) };
    line!(4, "Local virtual MAC address is {} ({origin})", view.virtual_mac);
    let (hello, hold) =
        (timer(view.hello_ms, view.configured_hello_ms), timer(view.hold_ms, view.configured_hold_ms));
    line!(2, "Hello time {hello}, hold time {hold}");
    if let Some(next) = view.next_hello_ms {
        line!(4, "Next hello sent in {} secs", seconds(next));
    }
    match view.authentication {
        AuthenticationKind::Md5 => line!(2, "Authentication MD5, key-string"),
        AuthenticationKind::Text => line!(2, "Authentication text"),
    }
    line!(2, "{}", preemption(view));
    let active = router(view.active_router.as_deref(), view.active_priority, view.active_expires_ms);
    line!(2, "Active router is {active}");
    let standby = router(view.standby_router.as_deref(), view.standby_priority, view.standby_expires_ms);
    line!(2, "Standby router is {standby}");
    match view.configured_priority {
        Some(DEFAULT_PRIORITY) => line!(2, "Priority {} (default {DEFAULT_PRIORITY})", view.priority),
        Some(configured) => line!(2, "Priority {} (configured {configured})", view.priority),
        None => line!(2, "Priority {}", view.priority),
    }
    let origin = if view.name_is_default { "default" } else { "cfgd" };
    line!(2, "Group name is \"{}\" ({origin})", view.name);
    let discards = view.discards.iter().filter(|(_, count)| **count > 0);
    let discards: Vec<_> = discards.map(|(why, count)| format!("{why} {count}")).collect();
    if !discards.is_empty() {
        line!(2, "Packets not used: {}", discards.join(", "));
    }
    text
}

const UNKNOWN: &str = "unknown";
/// Cisco's default, and ours.
const DEFAULT_PRIORITY: u8 = 100;

const fn state(state: StandbyState) -> &'static str {
    match state {
        StandbyState::Initial => "Init",
        StandbyState::Learn => "Learn",
        StandbyState::Listen => "Listen",
        StandbyState::Speak => "Speak",
        StandbyState::Standby => "Standby",
        StandbyState::Active => "Active",
    }
}

fn changes(view: &StandbyView) -> String {
    let noun = if view.state_changes == 1 { "state change" } else { "state changes" };
    match view.last_change_ms {
        Some(ago) => format!("{} {noun}, last state change {}", view.state_changes, elapsed(ago)),
        None => format!("{} {noun}", view.state_changes),
    }
}

/// `01:02:03` within a day, then `1d02h`, `1w2d` and `1y02w`.
fn elapsed(millis: u64) -> String {
    let seconds = millis / 1_000;
    let (hours, days) = (seconds / 3_600, seconds / 86_400);
    if days == 0 {
        format!("{hours:02}:{:02}:{:02}", seconds / 60 % 60, seconds % 60)
    } else if days < 7 {
        format!("{days}d{:02}h", hours % 24)
    } else if days < 365 {
        format!("{}w{}d", days / 7, days % 7)
    } else {
        format!("{}y{:02}w", days / 365, days % 365 / 7)
    }
}

/// `3 sec`, or `9 sec (cfgd 999 msec)` while the active router's time is in force.
fn timer(now: u64, configured: Option<u64>) -> String {
    let time =
        |ms: u64| if ms.is_multiple_of(1_000) { format!("{} sec", ms / 1_000) } else { format!("{ms} msec") };
    match configured {
        Some(configured) if configured != now => format!("{} (cfgd {})", time(now), time(configured)),
        Some(_) | None => time(now),
    }
}

fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1_000, millis % 1_000)
}

fn preemption(view: &StandbyView) -> String {
    if !view.preempt {
        return "Preemption disabled".to_owned();
    }
    let mut text = "Preemption enabled".to_owned();
    let delays = [("delay min", view.preempt_delay_minimum_ms), ("reload", view.preempt_delay_reload_ms)];
    for (name, delay) in delays.into_iter().filter(|(_, delay)| *delay > 0) {
        let whole = delay.is_multiple_of(1_000);
        let delay = if whole { (delay / 1_000).to_string() } else { seconds(delay) };
        let _written = write!(text, ", {name} {delay} secs");
    }
    text
}

fn router(name: Option<&str>, priority: Option<u8>, expires: Option<u64>) -> String {
    let mut text = name.unwrap_or(UNKNOWN).to_owned();
    if let Some(priority) = priority {
        let _written = write!(text, ", priority {priority}");
    }
    if let Some(expires) = expires {
        let _written = write!(text, " (expires in {} sec)", seconds(expires));
    }
    text
}

/// One line for each group.
pub(crate) fn brief(groups: &[StandbyView]) -> String {
    if groups.is_empty() {
        return NONE.to_owned();
    }
    let headings = ["Interface", "Grp", "Pri", "P", "State", "Active", "Standby", "Virtual IP"];
    let mut rows = vec![headings.map(str::to_owned)];
    rows.extend(groups.iter().map(|view| {
        let router = |name: &Option<String>| clean(name.as_deref().unwrap_or(UNKNOWN), false);
        let vip = view.link_local.as_ref().or_else(|| view.vip.first());
        [
            clean(&view.interface, false),
            view.group.to_string(),
            view.priority.to_string(),
            if view.preempt { "P" } else { "" }.to_owned(),
            state(view.state).to_owned(),
            router(&view.active_router),
            router(&view.standby_router),
            clean(vip.map_or(UNKNOWN, String::as_str), false),
        ]
    }));
    // Cisco's widths, and more for IPv6 addresses.
    let mut widths = [11, 4, 3, 1, 7, 15, 15, 0];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let before: usize = widths.iter().take(PREEMPT_COLUMN).map(|width| width + 1).sum();
    let mut text = format!("{:before$}P indicates configured to preempt.\n{:before$}|\n", "", "");
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join(" ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Where the mark stands that the first line explains.
const PREEMPT_COLUMN: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::print::DEFAULT_WIDTH;
    use crate::control::fixtures;

    #[test]
    fn groups_are_shown_as_operators_of_cisco_routers_know_them() {
        assert_eq!(
            render(&fixtures::standby()),
            "\
eth0 - Group 1 (version 2)
  State is Active
    2 state changes, last state change 01:02:03
    Track object eth1 state Down decrement 20
  Virtual IP address is 10.50.0.5
    Secondary virtual IP address fd50::5
  Active virtual MAC address is 0000.0c9f.f001 (MAC In Use)
    Local virtual MAC address is 0000.0c9f.f001 (v2 default)
  Hello time 3 sec, hold time 10 sec
    Next hello sent in 2.848 secs
  Authentication MD5, key-string
  Preemption enabled, delay min 5 secs
  Active router is local
  Standby router is 10.50.0.12, priority 100 (expires in 9.100 sec)
  Priority 90 (configured 110)
  Group name is \"group1\" (cfgd)
  Packets not used: authentication-value 12, other-group 3
eth0 - Group 10 (version 2)
  State is Standby
    1 state change, last state change 1w4d
  Link-Local Virtual IPv6 address is fe80::5:73ff:fea0:a (impl auto EUI64)
    Virtual IPv6 address fd51::5
  Active virtual MAC address is 0005.73a0.000a (MAC Not In Use)
    Local virtual MAC address is 0005.73a0.000a (v2 default)
  Hello time 250 msec, hold time 800 msec
    Next hello sent in 0.051 secs
  Authentication text
  Preemption disabled
  Active router is fe80::1, priority 120 (expires in 0.816 sec)
  Standby router is local
  Priority 100 (default 100)
  Group name is \"hsrp-eth0-10\" (default)
"
        );
    }

    #[test]
    fn a_group_that_knows_nothing_yet_says_so() {
        let view = StandbyView {
            state: StandbyState::Initial,
            vip: Vec::new(),
            use_bia: true,
            version: 1,
            active_router: None,
            standby_router: None,
            standby_priority: None,
            standby_expires_ms: None,
            hello_ms: 9_000,
            configured_hello_ms: Some(999),
            next_hello_ms: None,
            state_changes: 0,
            last_change_ms: None,
            ..fixtures::standby()[0].clone()
        };

        let text = render(&[view]);

        for line in [
            "eth0 - Group 1 (version 1)",
            "  State is Init",
            "    0 state changes",
            "  Virtual IP address is unknown",
            "  Active virtual MAC address is unknown",
            "    Local virtual MAC address is 0000.0c9f.f001 (bia)",
            "  Hello time 9 sec (cfgd 999 msec), hold time 10 sec",
            "  Active router is unknown",
            "  Standby router is unknown",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("Next hello"), "{text}");
    }

    #[test]
    fn brief_is_one_line_for_each_group() {
        assert_eq!(
            brief(&fixtures::standby()),
            "                     P indicates configured to preempt.
                     |
Interface   Grp  Pri P State   Active          Standby         Virtual IP
eth0        1    90  P Active  local           10.50.0.12      10.50.0.5
eth0        10   100   Standby fe80::1         local           fe80::5:73ff:fea0:a
"
        );
    }

    #[test]
    fn brief_grows_with_long_names_and_keeps_the_mark_in_its_place() {
        let mut groups = fixtures::standby();
        groups[0].interface = "enp132s0f1.1234".to_owned();
        groups[1].active_router = Some("fe80::aaaa:bbbb:cccc:dddd".to_owned());

        let text = brief(&groups);

        let lines: Vec<_> = text.lines().collect();
        let mark = lines[1].find('|').unwrap();
        assert_eq!(
            (lines[0].find('P'), lines[2].find(" P "), lines[3].find(" P ")),
            (Some(mark), Some(mark - 1), Some(mark - 1))
        );
        assert!(lines.iter().all(|line| line.chars().count() <= DEFAULT_WIDTH + 20), "{text}");
    }

    #[test]
    fn time_since_a_change_grows_coarser() {
        for (seconds, text) in [
            (0, "00:00:00"),
            (86_399, "23:59:59"),
            (86_400, "1d00h"),
            (604_799, "6d23h"),
            (604_800, "1w0d"),
            (365 * 86_400, "1y00w"),
        ] {
            assert_eq!(elapsed(seconds * 1_000), text);
        }
    }

    #[test]
    fn no_groups_are_said_to_be_none() {
        assert_eq!(render(&[]), "No standby groups.\n");
        assert_eq!(brief(&[]), "No standby groups.\n");
    }

    #[test]
    fn names_cannot_break_out_of_their_line() {
        let mut groups = fixtures::standby();
        groups[0].interface = "e\u{1b}[2J\nx".to_owned();

        assert!(render(&groups).starts_with("e?[2J?x - Group 1"));
        assert!(!brief(&groups).contains('\u{1b}'));
    }
}
