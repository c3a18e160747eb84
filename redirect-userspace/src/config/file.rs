//! The file's sections, one function each, and the checks between them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};

use common::maps::{MAX_CLIENTS, MAX_VIPS};
use toml::de::DeTable;

use crate::cluster::{MAX_MEMBERS, OverloadLimit, Policy, Settings};
use crate::config::error::{ConfigErrors, Problems, place};
use crate::config::reader::{At, Section};
use crate::config::{
    ClientPrefix, Cluster, Config, FastPath, InterfaceName, Mode, Node, Redirect, Runtime, StaticMember,
    VipAddress,
};
use crate::gateway::{AddressesError, GatewayAddress, GatewayAddresses, GatewayName, Weight};

/// Reads and checks a file.
pub(super) fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let mut problems = Problems::default();
    let octets = match std::fs::read(path) {
        Ok(octets) => octets,
        Err(error) => {
            problems.add(&(0..0), format!("cannot be read: {error}"));
            return problems.finish(None, path, "");
        }
    };
    match str::from_utf8(&octets) {
        Ok(text) => parse(path, text),
        Err(error) => {
            let valid = error.valid_up_to();
            problems.add(&(valid..valid), "not UTF-8 text");
            problems.finish(None, path, &String::from_utf8_lossy(&octets))
        }
    }
}

/// Checks the content of a file.
pub(super) fn parse(path: &Path, text: &str) -> Result<Config, ConfigErrors> {
    let mut problems = Problems::default();
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let end = text.len();
        problems.add(&error.span().unwrap_or(end..end), one_line(error.message()));
    }
    // What is left after a syntax error means little: complaints about it would mislead.
    let config = if errors.is_empty() { config(table.get_ref(), text, &mut problems) } else { None };
    problems.finish(config, path, text)
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join(", ")
}

fn config(table: &DeTable<'_>, text: &str, problems: &mut Problems) -> Option<Config> {
    let mut root = Section::root(table);
    let node = node(&mut root, problems);
    let runtime = runtime(&mut root, problems);
    let fast_path = fast_path(&mut root, problems);
    let mut owners = Owners::new();
    let cluster = cluster(&mut root, node.as_ref(), &mut owners, text, problems);
    if let Some(node) = &node {
        for address in node.addresses.iter().flat_map(GatewayAddresses::iter) {
            owners.entry(address).or_insert_with(|| node.name.clone());
        }
    }
    let redirect = redirect(&mut root, &owners, problems);
    root.unsupported(&["hsrp", "reconnect", "ike"], problems);
    root.finish(problems);
    Some(Config { node: node?, runtime, fast_path, cluster, redirect })
}

/// Which gateway has an address.
type Owners = BTreeMap<GatewayAddress, GatewayName>;

fn node(root: &mut Section<'_>, problems: &mut Problems) -> Option<Node> {
    let mut section = root.section("node", problems);
    let name = section.parsed("name", problems);
    let name = section.required("name", name, problems);
    let addresses = addresses(&mut section, problems).map(|addresses| addresses.all);
    section.finish(problems);
    Some(Node { name: name?.value, addresses })
}

/// The value of `addresses`.
struct Addresses {
    all: GatewayAddresses,
    each: Vec<At<GatewayAddress>>,
}

fn addresses(section: &mut Section<'_>, problems: &mut Problems) -> Option<Addresses> {
    let list = section.strings("addresses", problems)?;
    let each: Vec<_> = list.value.iter().filter_map(|text| text.parse(problems)).collect();
    if each.len() < list.value.len() {
        return None;
    }
    match GatewayAddresses::new(each.iter().map(|address: &At<GatewayAddress>| address.value.clone())) {
        Ok(all) => Some(Addresses { all, each }),
        Err(error) => {
            let span = match error {
                AddressesError::None => &list.span,
                AddressesError::Second { position, .. } => {
                    each.get(position).map_or(&list.span, |at| &at.span)
                }
            };
            problems.add(span, error.to_string());
            None
        }
    }
}

fn runtime(root: &mut Section<'_>, problems: &mut Problems) -> Runtime {
    let mut section = root.section("runtime", problems);
    let default = Runtime::default();
    let socket = section.string("socket", problems).map(|path| {
        if path.value.len() > MAX_SOCKET_PATH {
            let length = path.value.len();
            problems.add(
                &path.span,
                format!("a socket's path has at most {MAX_SOCKET_PATH} octets, not {length}"),
            );
        }
        absolute(&path, problems)
    });
    let bpf_pin = section.string("bpf-pin", problems).map(|path| absolute(&path, problems));
    let metrics = section.string("metrics", problems).and_then(|text| {
        let address = text.value.parse::<SocketAddr>().ok();
        if address.is_none() {
            problems.add(&text.span, format!("{:?}: not ADDRESS:PORT", text.value));
        }
        address
    });
    section.finish(problems);
    Runtime {
        socket: socket.unwrap_or(default.socket),
        bpf_pin: bpf_pin.unwrap_or(default.bpf_pin),
        metrics: metrics.unwrap_or(default.metrics),
    }
}

/// `sun_path` without the final zero.
const MAX_SOCKET_PATH: usize = 107;

fn absolute(path: &At<&str>, problems: &mut Problems) -> PathBuf {
    // The daemon has no working directory that anybody would expect.
    if !path.value.starts_with('/') {
        problems.add(&path.span, format!("{:?}: not an absolute path", path.value));
    }
    path.value.into()
}

fn fast_path(root: &mut Section<'_>, problems: &mut Problems) -> FastPath {
    let mut section = root.section("fast-path", problems);
    let modes = Mode::ALL.map(|mode| (mode.as_str(), mode));
    let mode = section.word("mode", &modes, problems);
    let mode = section.or_default("mode", mode);
    let list = section.strings("interfaces", problems);
    let list = section.or_default("interfaces", list);
    if let (Some(mode), Some(list)) = (&mode, &list)
        && mode.value.needs_interfaces()
        && list.value.is_empty()
    {
        let message = format!("mode \"{}\" needs at least one of `interfaces` in [fast-path]", mode.value);
        problems.add(&list.span, message);
    }
    let program_log = section.flag("program-log", problems).is_some_and(|flag| flag.value);
    section.finish(problems);
    FastPath {
        program_log,
        interfaces: interfaces(list.map(|list| list.value).unwrap_or_default(), problems),
        mode: mode.map(|mode| mode.value).unwrap_or_default(),
    }
}

fn interfaces(list: Vec<At<&str>>, problems: &mut Problems) -> Vec<InterfaceName> {
    let mut interfaces = Vec::new();
    for text in list {
        let Some(name) = text.parse::<InterfaceName>(problems) else {
            continue;
        };
        if interfaces.contains(&name.value) {
            problems.add(&name.span, format!("interface \"{}\" is listed twice", name.value));
        }
        interfaces.push(name.value);
    }
    interfaces
}

fn cluster(
    root: &mut Section<'_>,
    node: Option<&Node>,
    owners: &mut Owners,
    text: &str,
    problems: &mut Problems,
) -> Cluster {
    let mut section = root.section("cluster", problems);
    let settings = settings(&mut section, problems);
    let sections = section.sections("static", problems);
    section.unsupported(
        &["standby-group", "port", "holdtime", "key", "key-file", "shutdown", "slave"],
        problems,
    );
    section.finish(problems);

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
    Cluster { settings, members }
}

fn settings(cluster: &mut Section<'_>, problems: &mut Problems) -> Settings {
    let mut section = cluster.section("master", problems);
    let policies = Policy::ALL.map(|policy| (policy.as_str(), policy));
    let policy = section.word("policy", &policies, problems);
    let limit = section.number("overload-limit", OverloadLimit::MIN..=OverloadLimit::MAX, problems);
    section.unsupported(&["weight"], problems);
    section.finish(problems);
    Settings {
        policy: policy.map(|policy| policy.value).unwrap_or_default(),
        overload_limit: limit.and_then(|limit| OverloadLimit::new(limit.value)).unwrap_or_default(),
        ..Settings::default()
    }
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

fn redirect(root: &mut Section<'_>, owners: &Owners, problems: &mut Problems) -> Redirect {
    let mut section = root.section("redirect", problems);
    let vips = vips(&mut section, owners, problems);
    let on_init = on_init(&mut section, problems);
    let accept_from = accept_from(&mut section, problems);
    section.unsupported(&["client"], problems);
    section.finish(problems);
    Redirect { vips, on_init, accept_from }
}

fn vips(section: &mut Section<'_>, owners: &Owners, problems: &mut Problems) -> Vec<IpAddr> {
    let list = section.strings("vip", problems);
    let list = list.map(|list| list.value).unwrap_or_default();
    if let Some(surplus) = list.get(MAX_VIPS) {
        problems.add(&surplus.span, format!("there are at most {MAX_VIPS} VIPs, not {}", list.len()));
    }
    let mut vips = Vec::new();
    for text in list {
        let Some(vip) = text.parse::<VipAddress>(problems) else {
            continue;
        };
        let VipAddress(address) = vip.value;
        if vips.contains(&address) {
            problems.add(&vip.span, format!("VIP {address} is listed twice"));
        }
        let as_gateway = match address {
            IpAddr::V4(address) => GatewayAddress::Ipv4(address),
            IpAddr::V6(address) => GatewayAddress::Ipv6(address),
        };
        // Clients would be sent where they come from, for ever.
        if let Some(owner) = owners.get(&as_gateway) {
            problems.add(&vip.span, format!("VIP {address} is the address of gateway \"{owner}\""));
        }
        vips.push(address);
    }
    vips
}

fn on_init(section: &mut Section<'_>, problems: &mut Problems) -> bool {
    let Some(list) = section.strings("gateway", problems) else {
        return true;
    };
    let mut on_init = false;
    for text in list.value {
        match text.value {
            "init" if on_init => problems.add(&text.span, "\"init\" is listed twice"),
            "init" => on_init = true,
            "auth" => problems.add(&text.span, "\"auth\" is not available yet: needs the IKE gateway"),
            other => problems.add(&text.span, format!("`gateway` lists \"init\" or \"auth\", not {other:?}")),
        }
    }
    on_init
}

fn accept_from(section: &mut Section<'_>, problems: &mut Problems) -> Vec<ClientPrefix> {
    let list = section.strings("accept-from", problems);
    let list = list.map(|list| list.value).unwrap_or_default();
    if let Some(surplus) = list.get(MAX_CLIENTS) {
        problems.add(
            &surplus.span,
            format!("there are at most {MAX_CLIENTS} client prefixes, not {}", list.len()),
        );
    }
    let mut prefixes = Vec::new();
    for text in list {
        let Some(prefix) = text.parse::<ClientPrefix>(problems) else {
            continue;
        };
        if prefixes.contains(&prefix.value) {
            problems.add(&prefix.span, format!("client prefix {} is listed twice", prefix.value));
        }
        prefixes.push(prefix.value);
    }
    prefixes
}
