//! Addresses and other settings for clients.
//!
//! # References
//!
//! `RFC 7296 §2.19`, `§3.15`.

use std::net::IpAddr;

use crate::ike::aaa::Grants;
use crate::ike::config::Profile;
use crate::ike::event::Failure;
use crate::ike::lease::{Former, Lease, LeaseRequest};
use crate::ike::sa::context::{Context, Refusal};
use crate::ike::wire::{Attribute, AttributeType, Configuration, ConfigurationType, Ipv6Prefix};

/// What a client is given.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) leases: Vec<Lease>,
    pub(crate) reply: Option<Configuration<'static>>,
}

/// Answers a client's request. Whoever asks for addresses of both families is content with one.
///
/// # Errors
///
/// No address of those that are asked for can be had.
pub(crate) fn give(
    ctx: &mut Context<'_>,
    profile: &Profile,
    holder: &[u8],
    (request, grants): (&Configuration<'_>, &Grants),
    takes_over: bool,
    former: &[Former],
) -> Result<Given, Refusal> {
    if request.kind != ConfigurationType::Request {
        return Ok(Given::default());
    }
    let mut given = Given::default();
    let mut attributes = Vec::new();
    let mut is_asked = false;
    for (kind, is_ipv6) in [(AttributeType::Ip4Address, false), (AttributeType::Ip6Address, true)] {
        let Some(asked) = request.attributes.iter().find(|attribute| attribute.kind() == kind) else {
            continue;
        };
        is_asked = true;
        let granted = if is_ipv6 { grants.ipv6.map(IpAddr::V6) } else { grants.ipv4.map(IpAddr::V4) };
        if let Some(lease) = granted.and_then(|address| ctx.leases.claim(holder, address)) {
            attributes.push(address(lease.address));
            keep(&mut given.leases, lease);
            continue;
        }
        let wanted = wanted(asked);
        // RFC 5723 §5, note 5: the one it had, unless it asks for another one.
        let is_former = |former: &&Former| {
            former.address.is_ipv6() == is_ipv6 && wanted.is_none_or(|wanted| wanted == former.address)
        };
        let former = former.iter().find(is_former).copied();
        let request = |pool| LeaseRequest { pool, holder, is_ipv6, wanted, takes_over, former };
        let lease = profile.pools.iter().find_map(|pool| ctx.leases.lease(&request(pool)));
        if let Some(lease) = lease {
            attributes.push(address(lease.address));
            keep(&mut given.leases, lease);
        }
    }
    if is_asked && given.leases.is_empty() {
        let detail = match profile.pools.as_slice() {
            [] if grants.ipv4.is_some() || grants.ipv6.is_some() => {
                "somebody else has the address that was granted".to_owned()
            }
            [] => format!("profile {} has no pools", profile.name),
            pools => {
                let pools: Vec<&str> = pools.iter().map(|pool| pool.as_str()).collect();
                format!("no address is left in {}", pools.join(", "))
            }
        };
        return Err(Refusal::new(Failure::NoAddress, detail));
    }
    let asks = |kind: AttributeType| request.attributes.iter().any(|attribute| attribute.kind() == kind);
    let guidance = &profile.guidance;
    // RFC 7296 §3.15: a reply has nothing that was not asked for.
    for server in guidance.dns.iter().chain(&grants.dns) {
        match server {
            IpAddr::V4(server) if asks(AttributeType::Ip4Dns) => {
                attributes.push(Attribute::Ip4Dns(Some(*server)));
            }
            IpAddr::V6(server) if asks(AttributeType::Ip6Dns) => {
                attributes.push(Attribute::Ip6Dns(Some(*server)));
            }
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        }
    }
    if asks(AttributeType::Ip4Subnet) {
        attributes.extend(guidance.subnets4.iter().map(|subnet| Attribute::Ip4Subnet(Some(*subnet))));
    }
    if asks(AttributeType::Ip6Subnet) {
        attributes.extend(guidance.subnets6.iter().map(|subnet| Attribute::Ip6Subnet(Some(*subnet))));
    }
    if asks(AttributeType::DnsDomain) {
        let domains = guidance.domains.iter();
        attributes.extend(domains.map(|domain| Attribute::DnsDomain(domain.to_string().into())));
    }
    given.reply = Some(Configuration { kind: ConfigurationType::Reply, attributes });
    Ok(given)
}

/// The address that an attribute names.
fn wanted(attribute: &Attribute<'_>) -> Option<IpAddr> {
    let address: IpAddr = if let Attribute::Ip4Address(Some(address)) = attribute {
        (*address).into()
    } else if let Attribute::Ip6Address(Some(prefix)) = attribute {
        prefix.address().into()
    } else {
        return None;
    };
    (!address.is_unspecified()).then_some(address)
}

fn address(address: IpAddr) -> Attribute<'static> {
    match address {
        IpAddr::V4(address) => Attribute::Ip4Address(Some(address)),
        IpAddr::V6(address) => Attribute::Ip6Address(Ipv6Prefix::new(address, HOST_LENGTH)),
    }
}

/// What a client asks for. Of each family it would like the address that it `has` from another
/// gateway.
pub(crate) fn ask(wants_ipv4: bool, wants_ipv6: bool, has: &[IpAddr]) -> Option<Configuration<'static>> {
    let mut attributes = Vec::new();
    if wants_ipv4 {
        let wish = has.iter().find_map(|has| if let IpAddr::V4(has) = has { Some(*has) } else { None });
        attributes.extend([Attribute::Ip4Address(wish), Attribute::Ip4Dns(None), Attribute::Ip4Subnet(None)]);
    }
    if wants_ipv6 {
        let wish = has.iter().find_map(|has| if let IpAddr::V6(has) = has { Some(*has) } else { None });
        let wish = wish.and_then(|wish| Ipv6Prefix::new(wish, HOST_LENGTH));
        attributes.extend([Attribute::Ip6Address(wish), Attribute::Ip6Dns(None), Attribute::Ip6Subnet(None)]);
    }
    if attributes.is_empty() {
        return None;
    }
    Some(Configuration { kind: ConfigurationType::Request, attributes })
}

/// One address for each family at most, and very many clients.
fn keep(leases: &mut Vec<Lease>, lease: Lease) {
    leases.reserve_exact(1);
    leases.push(lease);
}

/// The addresses that a client was given.
pub(crate) fn addresses(reply: &Configuration<'_>) -> Vec<IpAddr> {
    if reply.kind != ConfigurationType::Reply {
        return Vec::new();
    }
    reply.attributes.iter().filter_map(wanted).collect()
}

/// Bits of an IPv6 prefix that is one address.
const HOST_LENGTH: u8 = 128;
