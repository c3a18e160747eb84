//! Who carries the packets of Child SAs: what is configured, or the best there is.
//!
//! # Invariants
//!
//! - What an earlier run has left in the kernel is gone before anybody carries anything, whoever does
//!   now.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::config::{Dataplane, Engine};
use crate::control::DataplaneView;
use crate::dataplane::kernel::{self, Kernel, Terms};
use crate::dataplane::none::Nobody;
use crate::dataplane::replay;
use crate::dataplane::userspace::{self, Userspace};
use crate::dataplane::{DataPlane, News};
use crate::ike::Usage;
use crate::ike::wire::ChildSpi;
use crate::net::ike::Port;
use crate::net::rules::MARK;
use crate::net::tun::{Prefix, Queue};
use crate::rng::Rng;

/// Who carries the packets of its Child SAs.
pub(super) enum Plane {
    /// Nobody.
    None(Nobody),
    /// This thread.
    Userspace(Box<Userspace>),
    /// The kernel.
    Kernel(Box<Kernel>),
}

impl Plane {
    pub(super) fn executor(&mut self) -> &mut dyn DataPlane {
        match self {
            Self::None(nobody) => nobody,
            Self::Userspace(userspace) => &mut **userspace,
            Self::Kernel(kernel) => &mut **kernel,
        }
    }

    /// What IKE wants to know since it asked last.
    pub(super) fn news(&mut self) -> Vec<News> {
        match self {
            Self::None(_) => Vec::new(),
            Self::Userspace(userspace) => userspace.news().collect(),
            Self::Kernel(kernel) => kernel.news().collect(),
        }
    }

    /// What tells that there is something to do.
    pub(super) fn watched(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::None(_) => None,
            Self::Userspace(userspace) => Some(userspace.queue().as_fd()),
            Self::Kernel(kernel) => Some(kernel.as_fd()),
        }
    }

    pub(super) fn usage(&self, spi: ChildSpi) -> Usage {
        let usage = match self {
            Self::None(nobody) => nobody.usage(spi),
            Self::Userspace(userspace) => userspace.usage(spi),
            Self::Kernel(kernel) => kernel.usage(spi),
        };
        usage.unwrap_or_default()
    }
}

/// What all workers share of the data plane.
pub(super) struct Ground {
    kind: Kind,
    /// Why it is not the kernel, where that was tried.
    reason: Option<String>,
}

enum Kind {
    None,
    Userspace(Arc<userspace::Shared>),
    Kernel(Arc<kernel::Shared>),
}

impl Ground {
    /// Makes it, and each worker's part of it. `ports` are the sockets of all workers.
    ///
    /// # Errors
    ///
    /// Its interface cannot be made, or the kernel cannot do what is configured.
    pub(super) fn lay(engine: &Engine, ports: &[Vec<Port>], rng: &mut Rng) -> Result<(Self, Vec<Plane>)> {
        let terms = terms(engine);
        let workers = ports.len();
        let (is_kernel, reason) = match engine.dataplane {
            Dataplane::None | Dataplane::Userspace => (false, None),
            Dataplane::Kernel => {
                kernel::probe(&terms).context("ike.dataplane")?;
                (true, None)
            }
            Dataplane::Auto => match kernel::probe(&terms) {
                Ok(()) => (true, None),
                Err(error) => (false, Some(format!("{error:#}"))),
            },
        };
        if is_kernel {
            return Self::of_kernel(terms, ports).context("ike.dataplane");
        }
        kernel::clear(&terms);
        if engine.dataplane == Dataplane::None {
            let planes = (0..workers).map(|_| Plane::None(Nobody::default())).collect();
            return Ok((Self { kind: Kind::None, reason }, planes));
        }
        if let Some(reason) = &reason {
            tracing::info!(reason, "the daemon carries packets itself: the kernel does not");
        }
        let (shared, queues) =
            userspace::Shared::new(engine.tun.name.as_str(), engine.tun.mtu, workers).context("ike.tun")?;
        let part = |queue: Queue| Userspace::new(Arc::clone(&shared), queue, rng.fork());
        let planes = queues.into_iter().map(part).map(|part| Plane::Userspace(Box::new(part))).collect();
        Ok((Self { kind: Kind::Userspace(shared), reason }, planes))
    }

    fn of_kernel(terms: Terms, ports: &[Vec<Port>]) -> Result<(Self, Vec<Plane>)> {
        ports.iter().flatten().try_for_each(Port::decapsulate)?;
        let shared = kernel::Shared::new(terms)?;
        let part = |_| Kernel::new(Arc::clone(&shared)).map(|part| Plane::Kernel(Box::new(part)));
        let planes = ports.iter().map(part).collect::<Result<_>>()?;
        Ok((Self { kind: Kind::Kernel(shared), reason: None }, planes))
    }

    /// Whether ESP travels in UDP only: there are no raw sockets.
    pub(super) const fn needs_udp(&self) -> bool {
        match self.kind {
            Kind::Userspace(_) => true,
            Kind::None | Kind::Kernel(_) => false,
        }
    }

    /// Leads packets for a pool's addresses here, whether or not somebody has one.
    pub(super) fn serve(&self, prefix: Prefix) {
        match &self.kind {
            Kind::None => {}
            Kind::Userspace(shared) => shared.serve(prefix),
            Kind::Kernel(shared) => shared.serve(prefix),
        }
    }

    /// No longer.
    pub(super) fn unserve(&self, prefix: Prefix) {
        match &self.kind {
            Kind::None => {}
            Kind::Userspace(shared) => shared.unserve(prefix),
            Kind::Kernel(shared) => shared.unserve(prefix),
        }
    }

    /// What all SAs have carried.
    pub(super) fn usage(&self) -> Usage {
        match &self.kind {
            Kind::None => Usage::default(),
            Kind::Userspace(shared) => shared.usage(),
            Kind::Kernel(shared) => shared.usage(),
        }
    }

    /// The same for an operator.
    pub(super) fn view(&self) -> DataplaneView {
        let name = match self.kind {
            Kind::None => "none",
            Kind::Userspace(_) => "userspace",
            Kind::Kernel(_) => "kernel",
        };
        DataplaneView { name: name.to_owned(), reason: self.reason.clone() }
    }
}

fn terms(engine: &Engine) -> Terms {
    Terms {
        name: engine.tun.name.as_str().to_owned(),
        mtu: engine.tun.mtu,
        if_id: IF_ID,
        window: u32::try_from(replay::WINDOW).unwrap_or(u32::MAX),
        mark: Some(MARK),
    }
}

/// Marks what is ours in the kernel: a number that nobody else comes to by counting.
const IF_ID: u32 = 0x1194_4500;
