//! `show cluster`: role, policy and members, with the labels Cisco operators know.

use super::super::table::{Align, Table, label, or_dash, ratio};
use crate::control::{ClusterView, GatewayRole, GatewayState, GatewayView, Role};

/// The text. With `detail`, what the load of each member is made of.
pub(crate) fn render(view: &ClusterView, detail: bool, width: usize) -> String {
    let mut text = String::new();
    label(&mut text, "Role", role(view.role));
    label(&mut text, "Status", &capitalised(&view.status));
    label(&mut text, "Standby group", view.standby_group.as_deref().unwrap_or("-"));
    label(&mut text, "Cluster IP", &list(&view.vip));
    let mut time = |name: &str, millis: Option<u64>| {
        if let Some(millis) = millis {
            label(&mut text, name, &format!("{millis} msec"));
        }
    };
    time("Hold time", view.holdtime_ms);
    if view.role == Role::Slave {
        time("Hello-Interval", view.hello_ms);
        time("Update-Interval", view.update_ms);
    }
    label(&mut text, "Overload limit", &format!("{}%", view.overload_limit));
    label(&mut text, "Policy", &view.policy);
    if detail && !view.overload_action.is_empty() {
        label(&mut text, "Overload action", &view.overload_action);
    }
    if !view.drained_away.is_empty() {
        label(&mut text, "Drained, away", &list(&view.drained_away));
    }
    label(&mut text, "Codes", "'*' Least loaded, '-' Overloaded");
    text.push('\n');
    if view.gateways.is_empty() {
        text.push_str("No gateways.\n");
        return text;
    }
    text.push_str("Load statistics:\n");
    let mut table = Table::new([
        (" Gateway", Align::Left),
        ("Role", Align::Left),
        ("Last-seen", Align::Right),
        ("Prio", Align::Right),
        ("Load", Align::Right),
        ("SAs", Align::Right),
        ("Share", Align::Right),
        ("Redirects", Align::Right),
        ("State", Align::Left),
    ]);
    let least_loaded = least_loaded(&view.gateways).map(|gateway| gateway.name.as_str());
    for gateway in &view.gateways {
        let is_least_loaded = least_loaded == Some(&gateway.name);
        let mut notes = vec![whereabouts(gateway)];
        if detail {
            notes.extend(details(gateway));
        }
        table.row_with_notes(cells(gateway, is_least_loaded), &notes);
    }
    text.push_str(&table.render(width));
    text
}

fn cells(gateway: &GatewayView, is_least_loaded: bool) -> [String; 9] {
    let code = match gateway.state {
        GatewayState::Overloaded => '-',
        GatewayState::Up if is_least_loaded => '*',
        GatewayState::Up | GatewayState::Draining | GatewayState::Down => ' ',
    };
    [
        format!("{code}{}", gateway.name),
        or_dash(gateway.role.map(gateway_role)),
        or_dash(gateway.last_seen_ms.map(ago)),
        or_dash(gateway.priority),
        or_dash(gateway.load.map(|load| format!("{:.0}%", load.trunc()))),
        or_dash(gateway.sessions),
        ratio(gateway.share),
        gateway.redirects.to_string(),
        gateway.state.name().to_owned(),
    ]
}

/// The member that a client would be sent to if the load alone decided: of several, the one with
/// the higher priority.
pub(crate) fn least_loaded(gateways: &[GatewayView]) -> Option<&GatewayView> {
    let offered = gateways.iter().filter(|gateway| gateway.state == GatewayState::Up);
    let loads = offered.filter_map(|gateway| Some((gateway, gateway.load?)));
    let least = loads.min_by(|(first, one), (second, other)| {
        one.total_cmp(other).then(second.priority.cmp(&first.priority))
    });
    least.map(|(gateway, _)| gateway)
}

/// Where it is, whether here, and its weight if it has one.
fn whereabouts(gateway: &GatewayView) -> String {
    let mut parts = Vec::new();
    if gateway.is_self {
        parts.push("this node".to_owned());
    }
    if let Some(weight) = gateway.weight {
        parts.push(format!("weight {weight}"));
    }
    parts.extend(gateway.addresses.iter().cloned());
    list(&parts)
}

/// What its load is made of, and why it has its share.
fn details(gateway: &GatewayView) -> Vec<String> {
    let mut lines = Vec::new();
    if let (Some(crypto), Some(system)) = (gateway.crypto_load, gateway.system_load) {
        let mut line = format!("crypto load {crypto:.1}%, system load {system:.1}%");
        if let (Some(sessions), Some(most)) = (gateway.sessions, gateway.max_session) {
            line.push_str(&format!(", {sessions} of {most} SAs"));
        }
        lines.push(line);
    }
    lines.extend(gateway.why.as_ref().map(|why| format!("share: {why}")));
    lines
}

pub(crate) const fn role(role: Role) -> &'static str {
    match role {
        Role::Master => "CLB Master",
        Role::Slave => "CLB Slave",
        Role::None => "None",
    }
}

const fn gateway_role(role: GatewayRole) -> &'static str {
    match role {
        GatewayRole::Master => "Master",
        GatewayRole::Slave => "Slave",
        GatewayRole::Static => "Static",
    }
}

fn list(values: &[String]) -> String {
    if values.is_empty() { "-".to_owned() } else { values.join(", ") }
}

pub(crate) fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(|| "-".to_owned(), |first| first.to_uppercase().chain(chars).collect())
}

/// `01:02.3` for a minute, two seconds and three tenths.
fn ago(millis: u64) -> String {
    format!("{:02}:{:02}.{}", millis / 60_000, millis / 1000 % 60, millis / 100 % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::print::DEFAULT_WIDTH;
    use crate::control::fixtures;

    #[test]
    fn a_static_cluster_shows_dashes_where_nobody_reports() {
        let view = fixtures::snapshot().cluster;

        assert_eq!(
            render(&view, false, DEFAULT_WIDTH),
            "\
Role            : None
Status          : Static
Standby group   : -
Cluster IP      : 10.50.0.5, fd50::5
Overload limit  : 99%
Policy          : balanced
Codes           : '*' Least loaded, '-' Overloaded

Load statistics:
 Gateway  Role    Last-seen  Prio  Load  SAs  Share  Redirects  State
--------  ------  ---------  ----  ----  ---  -----  ---------  --------
 gw1      Static          -     -     -    -  25.0%        617  up
    this node, weight 1, 10.50.0.11
 gw2      Static          -     -     -    -  50.0%       1234  up
    weight 1, 10.50.0.12, fd50::12
 gw3      Static          -     -     -    -  12.5%        617  draining
    weight 1, gw3.vpn.example.net
"
        );
    }

    #[test]
    fn a_master_shows_the_reports_of_its_members() {
        assert_eq!(
            render(&fixtures::elected(), false, DEFAULT_WIDTH),
            "\
Role            : CLB Master
Status          : Up
Standby group   : group1
Cluster IP      : 10.50.0.5, fd50::5
Hold time       : 3000 msec
Overload limit  : 80%
Policy          : balanced
Codes           : '*' Least loaded, '-' Overloaded

Load statistics:
 Gateway  Role    Last-seen  Prio  Load  SAs  Share  Redirects  State
--------  ------  ---------  ----  ----  ---  -----  ---------  ----------
 gw1      Master    00:00.0   100   24%  812  25.0%        617  up
    this node, 10.50.0.11
*gw2      Slave     00:00.7   100   12%  812  62.5%       1234  up
    10.50.0.12, fd50::12
-gw3      Slave     01:02.3   100   80%  812   0.0%        617  overloaded
    gw3.vpn.example.net
 gw9      Static          -     -     -    -  12.5%          0  up
    weight 1, 10.50.0.19
"
        );
    }

    #[test]
    fn who_is_drained_and_away_is_named() {
        let mut view = fixtures::elected();
        view.drained_away = vec!["gw5".to_owned(), "gw6".to_owned()];

        let text = render(&view, false, DEFAULT_WIDTH);

        assert!(text.contains("\nDrained, away   : gw5, gw6\n"), "{text}");
    }

    #[test]
    fn the_detail_says_what_a_load_is_made_of() {
        let text = render(&fixtures::elected(), true, DEFAULT_WIDTH);

        assert!(text.contains("Overload action : spread\n"), "{text}");
        assert!(
            text.contains(
                "\
*gw2      Slave     00:00.7   100   12%  812  62.5%       1234  up
    10.50.0.12, fd50::12
    crypto load 5.0%, system load 19.7%, 812 of 10000 SAs
    share: load
"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_slave_shows_how_often_it_reports() {
        let mut view = fixtures::elected();
        view.role = Role::Slave;
        view.status = "connected".to_owned();

        let text = render(&view, false, DEFAULT_WIDTH);

        assert!(
            text.starts_with(
                "\
Role            : CLB Slave
Status          : Connected
Standby group   : group1
Cluster IP      : 10.50.0.5, fd50::5
Hold time       : 3000 msec
Hello-Interval  : 1000 msec
Update-Interval : 5000 msec
"
            ),
            "{text}"
        );
    }

    #[test]
    fn busy_members_fit_80_columns() {
        let mut view = fixtures::elected();
        view.gateways[2].sessions = Some(100_000);
        view.gateways[2].load = Some(100.0);
        view.gateways[2].redirects = 100_000_000;
        view.gateways[2].share = 1.0;

        let text = render(&view, true, DEFAULT_WIDTH);

        assert!(text.contains("100%  100000"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= DEFAULT_WIDTH), "{text}");
    }

    #[test]
    fn of_equal_loads_the_higher_priority_is_the_least_loaded() {
        let mut gateways = fixtures::elected().gateways;
        assert_eq!(least_loaded(&gateways).unwrap().name, "gw2");

        gateways[0].load = gateways[1].load;
        assert_eq!(least_loaded(&gateways).unwrap().name, "gw1");
        gateways[0].priority = Some(99);
        assert_eq!(least_loaded(&gateways).unwrap().name, "gw2");
        gateways[1].state = GatewayState::Draining;
        assert_eq!(least_loaded(&gateways).unwrap().name, "gw1");
        assert_eq!(least_loaded(&gateways[3..]), None);
    }

    #[test]
    fn a_cluster_without_gateways_says_so() {
        let text = render(&ClusterView::default(), false, DEFAULT_WIDTH);

        assert!(text.ends_with("\n\nNo gateways.\n"), "{text}");
        assert!(text.contains("Cluster IP      : -\n"), "{text}");
    }
}
