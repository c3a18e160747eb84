//! How the fast path comes to an interface: the fastest way in which replies really leave.

use crate::config::Mode;
use crate::fastpath::guard::XdpMode;
use crate::net::link::Link;

/// What to try on an interface, best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// XDP modes, each with why it is tried.
    pub(super) attempts: Vec<(XdpMode, &'static str)>,
    /// What to do when none of them works: why sockets are used, or that it is an error.
    pub(super) userspace: Option<&'static str>,
}

/// Chooses for one interface.
pub(super) fn plan(mode: Mode, link: &Link) -> Plan {
    const CONFIGURED: &str = "configured";
    match mode {
        Mode::Off => Plan { attempts: Vec::new(), userspace: None },
        Mode::Userspace => Plan { attempts: Vec::new(), userspace: Some(CONFIGURED) },
        Mode::Native => Plan { attempts: vec![(XdpMode::Native, CONFIGURED)], userspace: None },
        Mode::Generic => Plan { attempts: vec![(XdpMode::Generic, CONFIGURED)], userspace: None },
        Mode::Auto if !link.is_ethernet => Plan {
            attempts: Vec::new(),
            userspace: Some("the interface has no Ethernet header, so XDP cannot answer on it"),
        },
        Mode::Auto => {
            let native = match link.far_end_has_xdp {
                None => Some("the driver takes the program"),
                Some(true) => Some("a veth whose far end carries an XDP program"),
                // XDP_TX puts a reply into the far end's ring, which only an XDP program there
                // makes the kernel look at: native mode would count replies that never leave.
                Some(false) => None,
            };
            let generic = if native.is_some() {
                "the driver does not take the program"
            } else {
                "a veth whose far end carries no XDP program: replies sent by the driver would wait there"
            };
            let mut attempts: Vec<_> = native.map(|why| (XdpMode::Native, why)).into_iter().collect();
            attempts.push((XdpMode::Generic, generic));
            Plan { attempts, userspace: Some("the kernel takes the program in no mode") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NIC: Link = Link { index: 2, is_ethernet: true, xdp_program: None, far_end_has_xdp: None };

    fn modes(plan: &Plan) -> Vec<XdpMode> {
        plan.attempts.iter().map(|(mode, _)| *mode).collect()
    }

    #[test]
    fn a_nic_is_tried_in_the_driver_first() {
        let plan = plan(Mode::Auto, &NIC);

        assert_eq!(modes(&plan), [XdpMode::Native, XdpMode::Generic]);
        assert!(plan.userspace.is_some());
    }

    #[test]
    fn a_veth_is_native_only_if_its_far_end_has_a_program() {
        let with = plan(Mode::Auto, &Link { far_end_has_xdp: Some(true), ..NIC });
        let without = plan(Mode::Auto, &Link { far_end_has_xdp: Some(false), ..NIC });

        assert_eq!(modes(&with), [XdpMode::Native, XdpMode::Generic]);
        assert_eq!(modes(&without), [XdpMode::Generic]);
    }

    #[test]
    fn without_an_ethernet_header_sockets_answer() {
        let plan = plan(Mode::Auto, &Link { is_ethernet: false, ..NIC });

        assert_eq!(modes(&plan), []);
        assert!(plan.userspace.is_some());
    }

    #[test]
    fn a_mode_that_was_asked_for_has_no_substitute() {
        for (mode, expected) in [(Mode::Native, XdpMode::Native), (Mode::Generic, XdpMode::Generic)] {
            let plan = plan(mode, &NIC);

            assert_eq!(modes(&plan), [expected]);
            assert_eq!(plan.userspace, None);
        }
    }
}
