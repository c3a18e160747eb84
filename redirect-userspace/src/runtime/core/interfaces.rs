//! Keeping the fast path on its interfaces.

use anyhow::{Result, bail};

use crate::config::Mode;
use crate::control::AttachMode;
use crate::fastpath::guard::{Order, PATIENCE, XdpMode};
use crate::telemetry::Event;

use super::{Core, MAX_GUARD_LOSSES};
use crate::runtime::attach::{Interface, attach};
use crate::runtime::guard::{Guard, News};

impl Core {
    /// The guard has let go: because we were silent, or because it is gone itself.
    pub(super) async fn recover(&mut self, news: News) -> Result<()> {
        match news {
            News::Lapsed => self.record(&Event::Lapsed { silent_for: PATIENCE }),
            News::Gone => {
                for interface in self.interfaces.clone().iter().filter(|i| i.xdp.is_some()) {
                    self.record(&Event::Detached { interface: interface.name.to_string() });
                }
                if let Some(guard) = self.guard.take() {
                    guard.stop().await;
                }
                self.guard_losses += 1;
                if self.guard_losses > MAX_GUARD_LOSSES {
                    bail!("the guard ends again and again");
                }
                self.guard = Some(Guard::start(&self.config.runtime.bpf_pin)?);
            }
        }
        // What happened while we were not there comes before any answer.
        self.refresh()?;
        for position in 0..self.interfaces.len() {
            self.attach_again(position).await;
        }
        // What could not be attached again is tried again at every inspection.
        self.arm()
    }

    /// Notices interfaces that were removed, or made anew under the same name.
    pub(super) async fn inspect(&mut self) -> Result<()> {
        for position in 0..self.interfaces.len() {
            let Some(interface) = self.interfaces.get_mut(position) else { continue };
            if interface.is_gone() {
                let detached = Event::Detached { interface: interface.name.to_string() };
                let gone = interface.clone();
                interface.xdp = None;
                self.release(&gone).await;
                self.record(&detached);
            }
            let is_lost = self.interfaces.get(position).is_some_and(|i| i.xdp.is_none());
            if is_lost && self.guard.is_some() && !self.paths.is_listening() {
                self.attach_again(position).await;
            }
        }
        self.arm()
    }

    pub(super) async fn attach_again(&mut self, position: usize) {
        let Some(interface) = self.interfaces.get(position).cloned() else { return };
        let mode = self.config.fast_path.mode;
        let name = &interface.name;
        match attach(name, mode, self.guard.as_mut(), self.paths.no_xdp.as_deref()).await {
            Ok(again) => {
                if again.xdp.is_some() {
                    self.guard_losses = 0;
                    self.attached(&again);
                }
                if let Some(place) = self.interfaces.get_mut(position) {
                    *place = again;
                }
            }
            Err(error) => {
                let why = format!("{error:#}");
                // Said once, not at every look.
                if interface.why != why {
                    self.record(&Event::AttachFailed { interface: name.to_string(), why: why.clone() });
                }
                if let Some(place) = self.interfaces.get_mut(position) {
                    place.xdp = None;
                    place.why = why;
                }
            }
        }
    }

    /// Takes the program off one interface.
    pub(super) async fn release(&mut self, interface: &Interface) {
        if let (Some(guard), Some((index, _))) = (&mut self.guard, interface.xdp) {
            // A guard that is gone has let go already.
            let _gone = guard.order(Order::Detach { interface: index }).await;
        }
    }

    pub(super) fn attached(&self, interface: &Interface) {
        let mode = match interface.xdp {
            Some((_, XdpMode::Native)) => AttachMode::Native,
            Some((_, XdpMode::Generic)) => AttachMode::Generic,
            None if self.config.fast_path.mode == Mode::Off => return,
            None => AttachMode::Userspace,
        };
        let name = interface.name.to_string();
        self.record(&Event::Attached { interface: name, mode, why: interface.why.clone() });
    }
}
