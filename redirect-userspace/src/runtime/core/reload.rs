//! Moving to another configuration.

use anyhow::{Result, bail};

use crate::cluster::Input;
use crate::config::{Config, vips_to_map};
use crate::fastpath::FastPath as _;
use crate::telemetry::Event;

use super::Core;
use crate::runtime::attach::attach;
use crate::runtime::guard::Guard;

impl Core {
    /// Reads the configuration again and moves to it, or stays with the old one whole.
    pub(super) async fn reload(&mut self) -> Result<(), String> {
        let result = match (self.load)() {
            Ok(config) => self.adopt(config).await.map_err(|error| format!("{error:#}")),
            Err(errors) => Err(errors.to_string()),
        };
        match &result {
            Ok(()) => self.record(&Event::Reloaded),
            Err(why) => self.record(&Event::ReloadFailed { why: why.clone() }),
        }
        result
    }

    pub(super) async fn adopt(&mut self, config: Config) -> Result<()> {
        if config.runtime != self.config.runtime {
            bail!("runtime: socket, bpf-pin and metrics change only with a restart");
        }
        if config.fast_path.mode != self.config.fast_path.mode {
            bail!("fast-path.mode changes only with a restart");
        }
        if config.fast_path.program_log != self.config.fast_path.program_log {
            bail!("fast-path.program-log changes only with a restart");
        }
        let engine = |config: &Config| config.ike.as_ref().map(|ike| ike.engine.clone());
        if engine(&config) != engine(&self.config) {
            bail!(
                "ike: listen, dataplane, workers, tun, and whether it is there, change only with a restart"
            );
        }
        // What can fail comes first. New interfaces see the old tables for a moment.
        let old = self.interfaces.len();
        for name in &config.fast_path.interfaces {
            if self.interfaces.iter().any(|interface| interface.name == *name) {
                continue;
            }
            let mode = config.fast_path.mode;
            match attach(name, mode, self.guard.as_mut(), self.paths.no_xdp.as_deref()).await {
                Ok(interface) => self.interfaces.push(interface),
                Err(error) => {
                    for interface in self.interfaces.split_off(old) {
                        self.release(&interface).await;
                    }
                    return Err(error);
                }
            }
        }
        if let Err(error) = self.paths.relisten(&self.listened(&config)) {
            // The old VIPs could be bound before.
            self.paths.relisten(&self.listened(&self.config))?;
            for interface in self.interfaces.split_off(old) {
                self.release(&interface).await;
            }
            return Err(error);
        }
        for interface in self.interfaces.clone().iter().skip(old) {
            self.attached(interface);
        }
        let (kept, dropped): (Vec<_>, Vec<_>) = std::mem::take(&mut self.interfaces)
            .into_iter()
            .partition(|interface| config.fast_path.interfaces.contains(&interface.name));
        self.interfaces = kept;
        for interface in dropped {
            self.release(&interface).await;
            self.record(&Event::Detached { interface: interface.name.to_string() });
        }
        if let (Some(gateway), Some(ike)) = (&mut self.gateway, &config.ike)
            && self.config.ike.as_ref() != Some(ike)
        {
            gateway.configure(ike);
        }
        self.config = config;
        if self.guard.is_none() && self.needs_guard() {
            self.guard = Some(Guard::start(&self.config.runtime.bpf_pin)?);
        }
        self.paths.set_vips(&vips_to_map(&self.vips()))?;
        self.paths.set_clients(&self.config.redirect.clients_to_map())?;
        self.step(Input::Configure(self.config.cluster.settings))?;
        self.step(Input::Members(self.members()))?;
        self.listen_if_needed()?;
        self.arm()?;
        self.entrust().await;
        self.tend_papers().await;
        self.elect()?;
        self.refresh()
    }
}
