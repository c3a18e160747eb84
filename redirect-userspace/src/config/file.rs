//! The file's sections, one function each, and the checks between them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use common::maps::{MAX_CLIENTS, MAX_VIPS};
use toml::de::DeTable;

use crate::config::client::client;
use crate::config::cluster::cluster;
use crate::config::drain::drain;
use crate::config::error::{ConfigErrors, Problems};
use crate::config::hsrp::Groups;
use crate::config::ike::{Files, ike};
use crate::config::reader::{At, Section};
use crate::config::reconnect::reconnect;
use crate::config::{
    ClientPrefix, Cluster, Config, FastPath, InterfaceName, Mode, Node, Redirect, Runtime, VipAddress,
};
use crate::gateway::{AddressesError, GatewayAddress, GatewayAddresses, GatewayName};
use crate::time::UnixTime;

/// Reads and checks a file.
pub(super) fn load(path: &Path, now: UnixTime) -> Result<Config, ConfigErrors> {
    let (octets, mode) = match read(path) {
        Ok(content) => content,
        Err(error) => {
            let mut problems = Problems::default();
            problems.add(&(0..0), format!("cannot be read: {error}"));
            return problems.finish(None, path, "");
        }
    };
    let mut problems = Problems::with_mode(mode);
    match str::from_utf8(&octets) {
        Ok(text) => check(path, text, (now, Files::default()), problems),
        Err(error) => {
            let valid = error.valid_up_to();
            problems.add(&(valid..valid), "not UTF-8 text");
            problems.finish(None, path, &String::from_utf8_lossy(&octets))
        }
    }
}

/// The content and the permissions.
fn read(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let mut file = File::open(path)?;
    let mode = file.metadata()?.mode();
    let mut octets = Vec::new();
    file.read_to_end(&mut octets)?;
    Ok((octets, mode))
}

/// Checks the content of a file.
pub(super) fn parse(path: &Path, text: &str, now: UnixTime) -> Result<Config, ConfigErrors> {
    check(path, text, (now, Files::default()), Problems::default())
}

/// Checks the content of a file again, which was right before, with what is in other files now.
pub(super) fn reread(path: &Path, text: &str, now: UnixTime, files: Files) -> Result<Config, ConfigErrors> {
    check(path, text, (now, files), Problems::default())
}

fn check(
    path: &Path,
    text: &str,
    (now, files): (UnixTime, Files),
    mut problems: Problems,
) -> Result<Config, ConfigErrors> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let end = text.len();
        problems.add(&error.span().unwrap_or(end..end), one_line(error.message()));
    }
    // What is left after a syntax error means little: complaints about it would mislead.
    let config =
        if errors.is_empty() { config(table.get_ref(), text, (now, files), &mut problems) } else { None };
    let config = config.map(|config| Config { ike: config.ike.map(|ike| ike.of(path, text)), ..config });
    problems.finish(config, path, text)
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join(", ")
}

fn config(
    table: &DeTable<'_>,
    text: &str,
    (now, files): (UnixTime, Files),
    problems: &mut Problems,
) -> Option<Config> {
    let mut root = Section::root(table);
    let node = node(&mut root, problems);
    let runtime = runtime(&mut root, problems);
    let fast_path = fast_path(&mut root, problems);
    let groups = Groups::new(&mut root, text, problems);
    let mut owners = Owners::new();
    let cluster = cluster(&mut root, &node, &groups, &mut owners, text, problems);
    if let Some(node) = &node.node {
        for address in node.addresses.iter().flat_map(GatewayAddresses::iter) {
            owners.entry(address).or_insert_with(|| node.name.clone());
        }
    }
    groups.check_owners(&owners, problems);
    let redirect = redirect(&mut root, &cluster, &groups, &owners, problems);
    let reconnect = reconnect(&mut root, &node, &cluster, (text, now), problems);
    let name = node.node.as_ref().map_or("", |node| node.name.as_str());
    let ike = ike(&mut root, (&redirect, reconnect), name, (text, now, files), problems);
    root.finish(problems);
    Some(Config { node: node.node?, runtime, fast_path, hsrp: groups.read, cluster, redirect, ike })
}

/// Which gateway has an address.
pub(super) type Owners = BTreeMap<GatewayAddress, GatewayName>;

/// A VIP as the address of a gateway, which it must not be.
pub(super) const fn as_gateway(vip: IpAddr) -> GatewayAddress {
    match vip {
        IpAddr::V4(address) => GatewayAddress::Ipv4(address),
        IpAddr::V6(address) => GatewayAddress::Ipv6(address),
    }
}

/// `[node]`, and where what is missing in it belongs.
pub(super) struct PlacedNode {
    pub(super) node: Option<Node>,
    pub(super) header: Range<usize>,
    /// None are there, right or wrong.
    pub(super) is_without_addresses: bool,
}

fn node(root: &mut Section<'_>, problems: &mut Problems) -> PlacedNode {
    let mut section = root.section("node", problems);
    let name = section.parsed("name", problems);
    let name = section.required("name", name, problems);
    let addresses = addresses(&mut section, problems).map(|addresses| addresses.all);
    let (header, is_without_addresses) = (section.span().clone(), !section.has("addresses"));
    section.finish(problems);
    PlacedNode { node: name.map(|name| Node { name: name.value, addresses }), header, is_without_addresses }
}

/// The value of `addresses`.
pub(super) struct Addresses {
    pub(super) all: GatewayAddresses,
    pub(super) each: Vec<At<GatewayAddress>>,
}

/// Where clients are sent, of a section that says so.
pub(super) fn addresses(section: &mut Section<'_>, problems: &mut Problems) -> Option<Addresses> {
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
    let socket = section.string("socket", problems).and_then(|path| {
        if path.value.len() > MAX_SOCKET_PATH {
            let length = path.value.len();
            problems.add(
                &path.span,
                format!("a socket's path has at most {MAX_SOCKET_PATH} octets, not {length}"),
            );
        }
        absolute(&path, problems)
    });
    let bpf_pin = section.string("bpf-pin", problems).and_then(|path| absolute(&path, problems));
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

/// A path from the root: the daemon has no working directory that anybody would expect.
pub(super) fn absolute(path: &At<&str>, problems: &mut Problems) -> Option<PathBuf> {
    if !path.value.starts_with('/') {
        problems.add(&path.span, format!("{:?}: not an absolute path", path.value));
        return None;
    }
    Some(path.value.into())
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

fn redirect(
    root: &mut Section<'_>,
    cluster: &Cluster,
    groups: &Groups,
    owners: &Owners,
    problems: &mut Problems,
) -> Redirect {
    let is_gateway = root.has("ike");
    let mut section = root.section("redirect", problems);
    let vips = vips(&mut section, cluster, groups, owners, problems);
    let (on_init, on_auth) = exchanges(&mut section, is_gateway, problems);
    let accept_from = accept_from(&mut section, problems);
    let client = client(&mut section, problems);
    let drain = drain(&mut section, problems);
    section.finish(problems);
    Redirect { vips, on_init, on_auth, accept_from, client, drain }
}

fn vips(
    section: &mut Section<'_>,
    cluster: &Cluster,
    groups: &Groups,
    owners: &Owners,
    problems: &mut Problems,
) -> Vec<IpAddr> {
    let list = section.strings("vip", problems);
    let list = list.map(|list| list.value).unwrap_or_default();
    let elected = elected_vips(cluster, groups);
    if let Some(surplus) = list.get(MAX_VIPS.saturating_sub(elected)) {
        let count = list.len() + elected;
        problems.add(&surplus.span, format!("there are at most {MAX_VIPS} VIPs, not {count}"));
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
        if let Some(group) = groups.owner_of(address) {
            problems.add(&vip.span, format!("VIP {address} is one of HSRP group \"{group}\" already"));
        }
        // Clients would be sent where they come from, for ever.
        if let Some(owner) = owners.get(&as_gateway(address)) {
            problems.add(&vip.span, format!("VIP {address} is the address of gateway \"{owner}\""));
        }
        vips.push(address);
    }
    vips
}

/// How many VIPs the election brings. One that is still to be learned counts.
fn elected_vips(cluster: &Cluster, groups: &Groups) -> usize {
    let name = cluster.election.as_ref().map(|election| &election.standby_group);
    let group = name.and_then(|name| groups.read.iter().find(|group| group.settings.name == *name));
    group.map_or(0, |group| group.settings.vips.len().max(1))
}

/// Whether clients are redirected in IKE_SA_INIT, and in IKE_AUTH.
fn exchanges(section: &mut Section<'_>, is_gateway: bool, problems: &mut Problems) -> (bool, bool) {
    let Some(list) = section.strings("gateway", problems) else {
        return (true, false);
    };
    let (mut on_init, mut on_auth) = (false, false);
    for text in list.value {
        let exchange = match text.value {
            "init" => &mut on_init,
            "auth" => &mut on_auth,
            other => {
                let message = format!("`gateway` lists \"init\" or \"auth\", not {other:?}");
                problems.add(&text.span, message);
                continue;
            }
        };
        if *exchange {
            problems.add(&text.span, format!("{:?} is listed twice", text.value));
        }
        *exchange = true;
        if text.value == "auth" && !is_gateway {
            problems.add(&text.span, "\"auth\" needs [ike]: only a gateway gets as far as IKE_AUTH");
        }
    }
    (on_init, on_auth)
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
