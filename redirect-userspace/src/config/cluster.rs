//! `[cluster]`: the election and its protocol, the master's choice, and the configured members.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::clb::{ClusterKey, LoadWeights, Settings as ClbSettings, SlaveSettings};
use crate::cluster::{MAX_MEMBERS, OverloadAction, OverloadLimit, Policy, Settings};
use crate::config::error::{Problems, place};
use crate::config::file::{Owners, PlacedNode, addresses};
use crate::config::hsrp::Groups;
use crate::config::key::secret;
use crate::config::reader::{At, Section, similar};
use crate::config::{Cluster, DurationText, Election, Node, StaticMember, cluster_ip};
use crate::gateway::{GatewayAddress, GatewayName, Weight};
use crate::hsrp::GroupName;

/// Reads the section and notes whose the members' addresses are.
pub(super) fn cluster(
    root: &mut Section<'_>,
    node: &PlacedNode,
    groups: &Groups,
    owners: &mut Owners,
    text: &str,
    problems: &mut Problems,
) -> Cluster {
    let mut section = root.section("cluster", problems);
    let settings = settings(&mut section, problems);
    let is_elected = section.has("standby-group");
    let election = election(&mut section, groups, problems);
    let sections = section.sections("static", problems);
    section.finish(problems);
    if is_elected && node.is_without_addresses {
        let message = "`addresses` in [node] is missing: with `standby-group` this node is a member";
        problems.add(&node.header, message);
    }
    let node = node.node.as_ref();
    let members = members(sections, node, is_elected, owners, text, problems);
    Cluster { settings, members, election }
}

fn members(
    sections: Vec<Section<'_>>,
    node: Option<&Node>,
    is_elected: bool,
    owners: &mut Owners,
    text: &str,
    problems: &mut Problems,
) -> Vec<StaticMember> {
    if let Some(surplus) = sections.get(MAX_MEMBERS) {
        let count = sections.len();
        problems.add(surplus.span(), format!("a cluster has at most {MAX_MEMBERS} members, not {count}"));
    }
    let mut lines: BTreeMap<GatewayName, usize> = BTreeMap::new();
    let mut own: Option<GatewayName> = None;
    let mut members = Vec::new();
    for section in sections {
        let Some((member, name, each)) = member(section, problems) else {
            continue;
        };
        if let Some(line) = lines.get(&member.name) {
            problems.add(&name, format!("member \"{}\" is already defined in line {line}", member.name));
        } else {
            lines.insert(member.name.clone(), place(text, name.start).0);
        }
        for address in each {
            if let Some(owner) = owners.get(&address.value) {
                problems.add(
                    &address.span,
                    format!("{} is already an address of member \"{owner}\"", address.value),
                );
            } else {
                owners.insert(address.value, member.name.clone());
            }
        }
        if node.is_some_and(|node| node.is(&member)) {
            match &own {
                _ if is_elected => {
                    let message = "this node is a member already, by `standby-group`";
                    problems.add(&name, message);
                }
                Some(own) if *own != member.name => {
                    let message = format!("this node is already member \"{own}\", by name or address");
                    problems.add(&name, message);
                }
                Some(_) => (),
                None => own = Some(member.name.clone()),
            }
        }
        members.push(member);
    }
    members
}

/// A member, with the places of its name and of its addresses.
type Placed = (StaticMember, Range<usize>, Vec<At<GatewayAddress>>);

fn member(mut section: Section<'_>, problems: &mut Problems) -> Option<Placed> {
    let name = section.parsed("name", problems);
    let name = section.required("name", name, problems);
    let addresses = addresses(&mut section, problems);
    let addresses = section.required("addresses", addresses, problems);
    let weight = section.number("weight", 0..=u16::MAX, problems);
    section.finish(problems);
    let (name, addresses) = (name?, addresses?);
    let weight = weight.map_or(Some(Weight::ONE), |weight| Weight::new(weight.value));
    Some((StaticMember { name: name.value, addresses: addresses.all, weight }, name.span, addresses.each))
}

/// `[cluster.master]`
fn settings(cluster: &mut Section<'_>, problems: &mut Problems) -> Settings {
    let mut section = cluster.section("master", problems);
    let policies = Policy::ALL.map(|policy| (policy.as_str(), policy));
    let policy = section.word("policy", &policies, problems);
    let limit = section.number("overload-limit", OverloadLimit::MIN..=OverloadLimit::MAX, problems);
    let actions = OverloadAction::ALL.map(|action| (action.as_str(), action));
    let action = section.word("overload-action", &actions, problems);
    let weights = weights(&mut section, problems);
    section.finish(problems);
    Settings {
        policy: policy.map(|policy| policy.value).unwrap_or_default(),
        overload_limit: limit.and_then(|limit| OverloadLimit::new(limit.value)).unwrap_or_default(),
        overload_action: action.map(|action| action.value).unwrap_or_default(),
        weights,
    }
}

fn weights(master: &mut Section<'_>, problems: &mut Problems) -> LoadWeights {
    let mut section = master.section("weight", problems);
    let default = LoadWeights::default();
    let crypto = section.number("crypto-load", 0..=LoadWeights::MAX, problems);
    let system = section.number("system-load", 0..=LoadWeights::MAX, problems);
    section.finish(problems);
    LoadWeights {
        crypto: crypto.map_or(default.crypto, |weight| weight.value),
        system: system.map_or(default.system, |weight| weight.value),
    }
}

/// What `standby-group` makes of the node; nothing without it.
fn election(section: &mut Section<'_>, groups: &Groups, problems: &mut Problems) -> Option<Election> {
    let group = standby_group(section, groups, problems);
    let port = section.number("port", 1..=u16::MAX, problems);
    let (least, most) = ClbSettings::HOLDTIME;
    let holdtime = section.duration_in("holdtime", least..=most, problems);
    let holdtime = section.or("holdtime", holdtime, ClbSettings::DEFAULT_HOLDTIME);
    let key = cluster_key(section, "key", "key-file", problems);
    let accept_key = cluster_key(section, "accept-key", "accept-key-file", problems);
    let shutdown = section.flag("shutdown", problems);
    let (slave, hello) = slave(section, problems);
    if !section.has("standby-group") {
        let others =
            ["port", "holdtime", "key", "key-file", "accept-key", "accept-key-file", "shutdown", "slave"];
        section.refuse(&others, "needs `standby-group`", problems);
        return None;
    }
    if let Some(holdtime) = &holdtime
        && holdtime.value <= slave.hello
    {
        let span = if section.has("holdtime") { &holdtime.span } else { &hello };
        let [holdtime, hello] = [holdtime.value, slave.hello].map(DurationText);
        let message = format!(
            "`holdtime` in [cluster], {holdtime}, is to be longer than `hello` in [cluster.slave], {hello}"
        );
        problems.add(span, message);
    }
    let is_shutdown = shutdown.is_some_and(|flag| flag.value);
    let group = group?;
    if !is_shutdown && !section.has("key") && !section.has("key-file") {
        let message = "`key` or `key-file` in [cluster] is missing: members know each other by it";
        problems.add(&group.span, message);
    }
    let settings = |key| Some(ClbSettings { accept_key, holdtime: holdtime?.value, ..ClbSettings::new(key) });
    Some(Election {
        standby_group: group.value,
        port: port.map_or(ClbSettings::DEFAULT_PORT, |port| port.value),
        clb: if is_shutdown { None } else { Some(key.and_then(settings)?) },
        slave,
    })
}

fn cluster_key(
    section: &mut Section<'_>,
    key: &'static str,
    key_file: &'static str,
    problems: &mut Problems,
) -> Option<ClusterKey> {
    let secret = secret(section, key, key_file, problems)?;
    match ClusterKey::new(secret.value) {
        Ok(key) => Some(key),
        Err(error) => {
            problems.add(&secret.span, error.to_string());
            None
        }
    }
}

/// The name, which has to be that of a group.
fn standby_group(
    section: &mut Section<'_>,
    groups: &Groups,
    problems: &mut Problems,
) -> Option<At<GroupName>> {
    let name = section.parsed::<GroupName>("standby-group", problems)?;
    if !groups.is_any_nameless && !groups.names.contains(&name.value) {
        let names: Vec<_> = groups.names.iter().map(GroupName::as_str).collect();
        let hint = similar(name.value.as_str(), &names).map(|name| format!(", did you mean \"{name}\"?"));
        let hint = hint.unwrap_or_default();
        problems.add(&name.span, format!("no [[hsrp]] has the name \"{}\"{hint}", name.value));
    }
    // A group without VIPs learns one.
    let group = groups.read.iter().find(|group| group.settings.name == name.value);
    let vips = group.map_or(&[][..], |group| &group.settings.vips);
    if !vips.is_empty() && cluster_ip(vips).is_none() {
        let message =
            format!("the VIP of \"{}\" is link-local: members and clients need another one", name.value);
        problems.add(&name.span, message);
    }
    Some(name)
}

/// `[cluster.slave]`, and the place of `hello` or where it would be.
fn slave(cluster: &mut Section<'_>, problems: &mut Problems) -> (SlaveSettings, Range<usize>) {
    let mut section = cluster.section("slave", problems);
    let default = SlaveSettings::default();
    let (least, most) = SlaveSettings::HELLO;
    let hello = section.duration_in("hello", least..=most, problems);
    let (least, most) = SlaveSettings::UPDATE;
    let update = section.duration_in("update", least..=most, problems);
    let priority = section.number("priority", 1..=SlaveSettings::MAX_PRIORITY, problems);
    let max_session = section.number("max-session", 1..=SlaveSettings::MAX_MAX_SESSION, problems);
    let place = hello.as_ref().map_or_else(|| section.span().clone(), |hello| hello.span.clone());
    section.finish(problems);
    let slave = SlaveSettings {
        hello: hello.map_or(default.hello, |hello| hello.value),
        update: update.map_or(default.update, |update| update.value),
        priority: priority.map_or(default.priority, |priority| priority.value),
        max_session: max_session.map_or(default.max_session, |most| most.value),
    };
    (slave, place)
}
