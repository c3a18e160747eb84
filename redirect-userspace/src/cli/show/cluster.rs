//! `show cluster`: role, policy and members, with the labels Cisco operators know.

use super::super::table::{Align, Table, label, or_dash, ratio};
use crate::control::{ClusterView, GatewayView, Role};

/// The text.
pub(crate) fn render(view: &ClusterView, width: usize) -> String {
    let mut text = String::new();
    label(&mut text, "Role", role(view.role));
    label(&mut text, "Status", &capitalised(&view.status));
    label(&mut text, "Cluster IP", &list(&view.vip));
    label(&mut text, "Standby group", view.standby_group.as_deref().unwrap_or("-"));
    label(&mut text, "Policy", &view.policy);
    label(&mut text, "Overload limit", &format!("{}%", view.overload_limit));
    label(&mut text, "Codes", "'*' this node");
    text.push('\n');
    if view.gateways.is_empty() {
        text.push_str("No gateways.\n");
        return text;
    }
    let mut table = Table::new([
        (" Gateway", Align::Left),
        ("State", Align::Left),
        ("Weight", Align::Right),
        ("Prio", Align::Right),
        ("Load", Align::Right),
        ("IKE", Align::Right),
        ("Share", Align::Right),
        ("Redirects", Align::Right),
        ("Last-seen", Align::Right),
    ]);
    for gateway in &view.gateways {
        table.row_with_note(cells(gateway), &list(&gateway.addresses));
    }
    text.push_str(&table.render(width));
    text
}

fn cells(gateway: &GatewayView) -> [String; 9] {
    [
        format!("{}{}", if gateway.is_self { '*' } else { ' ' }, gateway.name),
        gateway.state.name().to_owned(),
        or_dash(gateway.weight),
        or_dash(gateway.priority),
        or_dash(gateway.load.map(|load| format!("{load}%"))),
        or_dash(gateway.sessions),
        ratio(gateway.share),
        gateway.redirects.to_string(),
        or_dash(gateway.last_seen_ms.map(ago)),
    ]
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::Master => "CLB Master",
        Role::Slave => "CLB Slave",
        Role::None => "None",
    }
}

fn list(values: &[String]) -> String {
    if values.is_empty() { "-".to_owned() } else { values.join(", ") }
}

fn capitalised(word: &str) -> String {
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
    use crate::control::{GatewayState, fixtures};

    #[test]
    fn a_static_cluster_shows_dashes_where_nobody_reports() {
        let view = fixtures::snapshot().cluster;

        assert_eq!(
            render(&view, DEFAULT_WIDTH),
            "\
Role            : None
Status          : Static
Cluster IP      : 10.50.0.5, fd50::5
Standby group   : -
Policy          : balanced
Overload limit  : 99%
Codes           : '*' this node

 Gateway  State     Weight  Prio  Load  IKE  Share  Redirects  Last-seen
--------  --------  ------  ----  ----  ---  -----  ---------  ---------
*gw1      up             1     -     -    -  25.0%        617          -
    10.50.0.11
 gw2      up             1     -     -    -  50.0%       1234          -
    10.50.0.12, fd50::12
 gw3      draining       1     -     -    -  12.5%        617          -
    gw3.vpn.example.net
"
        );
    }

    #[test]
    fn a_master_shows_the_reports_of_its_members_within_80_columns() {
        let mut view = fixtures::snapshot().cluster;
        view.role = Role::Master;
        view.status = "up".to_owned();
        view.standby_group = Some("group1".to_owned());
        view.gateways.truncate(1);
        view.gateways[0] = GatewayView {
            state: GatewayState::Overloaded,
            weight: None,
            priority: Some(100),
            load: Some(100),
            sessions: Some(10_000),
            last_seen_ms: Some(62_345),
            redirects: 1_000_000_000,
            ..view.gateways[0].clone()
        };

        let text = render(&view, DEFAULT_WIDTH);

        assert!(text.starts_with("Role            : CLB Master\nStatus          : Up\n"), "{text}");
        assert!(text.contains("Standby group   : group1\n"), "{text}");
        assert!(
            text.contains("*gw1      overloaded       -   100  100%  10000  25.0%  1000000000    01:02.3\n"),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= DEFAULT_WIDTH), "{text}");
    }

    #[test]
    fn a_cluster_without_gateways_says_so() {
        let text = render(&ClusterView::default(), DEFAULT_WIDTH);

        assert!(text.ends_with("\n\nNo gateways.\n"), "{text}");
        assert!(text.contains("Cluster IP      : -\n"), "{text}");
    }
}
