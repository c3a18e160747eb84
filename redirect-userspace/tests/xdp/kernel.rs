//! The program in the kernel, without any interface.

use std::path::PathBuf;

use aya::programs::{TestRun as _, TestRunOptions};
use common::reason::Reason;
use redirect_userspace::fastpath::FastPath as _;
use redirect_userspace::fastpath::xdp::XdpMaps;
use redirect_userspace::testing::fixtures::World;

pub(crate) const XDP_DROP: u32 = 1;
pub(crate) const XDP_PASS: u32 = 2;
pub(crate) const XDP_TX: u32 = 3;

/// The loaded program, its maps, and a place for output.
pub(crate) struct Kernel {
    pub(crate) maps: XdpMaps,
    output: Vec<u8>,
}

impl Kernel {
    pub(crate) fn load() -> Self {
        Self::with(false)
    }

    /// With or without the program's own log lines.
    pub(crate) fn with(log: bool) -> Self {
        let multiplier = World::towards(0).control.multiplier;
        let object = std::fs::read(object("redirect")).expect("cargo xtask build makes the eBPF objects");
        let maps = XdpMaps::load_with_log(&object, multiplier, None, log).unwrap();
        Self { maps, output: vec![0; 8192] }
    }

    /// Writes the maps.
    pub(crate) fn become_world(&mut self, world: &World) {
        self.maps.set_vips(&world.vips).unwrap();
        self.maps.set_clients(&world.clients).unwrap();
        for (index, gateway) in (0..).zip(&world.gateways) {
            self.maps.set_gateway(index, gateway).unwrap();
        }
        self.maps.publish(&world.table).unwrap();
        self.maps.arm(world.control.armed != 0).unwrap();
    }

    /// Runs the program once; returns its action and what became of the frame.
    pub(crate) fn run(&mut self, frame: &[u8]) -> (u32, Vec<u8>) {
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut self.output),
            repeat: 1,
            ..TestRunOptions::default()
        };
        let result = self.maps.program().unwrap().test_run(options).unwrap();
        let length = usize::try_from(result.data_size_out).unwrap();
        (result.return_value, self.output[..length].to_vec())
    }

    /// One counter.
    pub(crate) fn packets(&self, reason: Reason) -> u64 {
        self.maps.packets(reason).unwrap()
    }
}

/// Path of an eBPF object.
pub(crate) fn object(name: &str) -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "xtask says where the objects are")]
    let directory = std::env::var_os("REDIRECT_BPF_DIR")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bpf")), PathBuf::from);
    directory.join(name)
}
