//! Program time: our XDP program over a bare MAC swap, by `BPF_PROG_TEST_RUN`.
//!
//! Both run behind the same wrapper, which grows the frame back to the request's length and
//! copies the request in, and both cut it to the reply's length. `nothing` is the wrapper and the
//! cutting alone, so that a ratio without them can be printed as well.

use anyhow::{Result, anyhow};
use aya::maps::{Array, MapData, ProgramArray};
use aya::programs::{ProgramFd, TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use common::decide::{Verdict, decide};
use redirect_userspace::fastpath::FastPath as _;
use redirect_userspace::fastpath::xdp::XdpMaps;
use redirect_userspace::testing::fixtures::{self, GATEWAY_ALL, GATEWAY_NAME, World};
use redirect_userspace::testing::packets::Payload;

use crate::Objects;
use crate::report::{Report, Samples};

const REPEAT: u32 = 50_000;
const ROUNDS: usize = 15;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
pub(crate) const REQUEST_SIZE: usize = 8 + 1024;

struct Case {
    name: &'static str,
    gateway: u16,
    frame: Vec<u8>,
    must: f64,
    aim: f64,
}

fn cases() -> Vec<Case> {
    let nonce = |length| {
        let mut payloads = Payload::strongswan();
        payloads[2] = Payload::nonce(length);
        payloads
    };
    let case = |name, gateway, frame, must, aim| Case { name, gateway, frame, must, aim };
    let v4 = || fixtures::v4();
    let mut cases = vec![
        case("ipv4", GATEWAY_ALL, v4().build(), 2.5, 1.6),
        case("ipv4 port 4500", GATEWAY_ALL, v4().nat_t().build(), 2.5, 1.6),
        case("ipv6", GATEWAY_ALL, fixtures::v6().build(), 2.5, 1.6),
        case("ipv4 apple", GATEWAY_ALL, v4().with_payloads(Payload::apple()).build(), 2.5, 1.6),
        case("ipv4 name", GATEWAY_NAME, v4().build(), 5.0, 5.0),
    ];
    for (name, length) in [("nonce 16", 16), ("nonce 33", 33), ("nonce 64", 64), ("nonce 256", 256)] {
        cases.push(case(name, GATEWAY_ALL, v4().with_payloads(nonce(length)).build(), 5.0, 5.0));
    }
    cases
}

pub(crate) fn run(report: &mut Report, objects: &Objects) -> Result<()> {
    let mut maps = XdpMaps::load(&objects.redirect, World::towards(0).control.multiplier, None)?;
    let redirect = maps.program()?.fd()?.try_clone()?;
    let mut ebpf = EbpfLoader::new().load(&objects.testing)?;
    let swap = load(&mut ebpf, "mac_swap")?;
    let nothing = load(&mut ebpf, "nothing")?;
    load(&mut ebpf, "restore")?;
    let mut request: Array<MapData, [u8; REQUEST_SIZE]> =
        Array::try_from(ebpf.take_map("REQUEST").ok_or_else(|| anyhow!("no map REQUEST"))?)?;
    let mut target: ProgramArray<MapData> =
        ProgramArray::try_from(ebpf.take_map("TARGET").ok_or_else(|| anyhow!("no map TARGET"))?)?;
    let restore: &Xdp = ebpf.program("restore").ok_or_else(|| anyhow!("no program"))?.try_into()?;

    for mut case in cases() {
        // The wrapper copies eight octets at a time; a frame may be longer than its packet.
        case.frame.resize(case.frame.len().next_multiple_of(8), 0);
        let world = World::towards(case.gateway);
        become_world(&mut maps, &world)?;
        let mut reply = case.frame.clone();
        let Verdict::Redirect { length, .. } = decide(reply.as_mut_slice(), &world) else {
            return Err(anyhow!("{} is not redirected", case.name));
        };
        request.set(0, value(&case.frame, length)?, 0)?;

        let mut samples = [Samples::default(), Samples::default(), Samples::default()];
        for _ in 0..ROUNDS {
            for (samples, program) in samples.iter_mut().zip([&nothing, &swap, &redirect]) {
                target.set(0, program, 0)?;
                samples.push(measure(restore, &case.frame, XDP_TX)?);
            }
        }
        let [nothing, swap, redirect] = samples;
        report.ratio(
            "program time over MAC swap",
            case.name,
            "ns",
            &redirect,
            &swap,
            &nothing,
            case.must,
            case.aim,
        );
    }
    target.set(0, &redirect, 0)?;
    passing(report, &mut maps, &mut request, restore)
}

/// What a frame costs that passes: the price every other packet of the interface pays.
fn passing(
    report: &mut Report,
    maps: &mut XdpMaps,
    request: &mut Array<MapData, [u8; REQUEST_SIZE]>,
    restore: &Xdp,
) -> Result<()> {
    let all = fixtures::all();
    let names = [
        "ARP",
        "TCP over IPv4",
        "DNS",
        "another address",
        "disarmed",
        "a response",
        "Windows' client",
        "no gateway in the slot",
    ];
    for name in names {
        let fixture = all.iter().find(|fixture| fixture.name == name).ok_or_else(|| anyhow!("{name}"))?;
        let mut frame = fixture.frame.clone();
        frame.resize(frame.len().next_multiple_of(8), 0);
        become_world(maps, &fixture.world)?;
        maps.arm(fixture.world.control.armed != 0)?;
        request.set(0, value(&frame, frame.len())?, 0)?;
        let mut samples = Samples::default();
        for _ in 0..ROUNDS {
            samples.push(measure(restore, &frame, XDP_PASS)?);
        }
        report.info("a frame that passes", name, "ns", &samples);
    }
    Ok(())
}

fn load(ebpf: &mut Ebpf, name: &str) -> Result<ProgramFd> {
    let program: &mut Xdp = ebpf.program_mut(name).ok_or_else(|| anyhow!("no program {name}"))?.try_into()?;
    program.load()?;
    Ok(program.fd()?.try_clone()?)
}

fn measure(program: &Xdp, frame: &[u8], action: u32) -> Result<f64> {
    let options = TestRunOptions { data_in: Some(frame), repeat: REPEAT, ..TestRunOptions::default() };
    let result = program.test_run(options)?;
    anyhow::ensure!(result.return_value == action, "the program returned {}", result.return_value);
    Ok(result.duration.as_secs_f64() * 1e9)
}

pub(crate) fn value(frame: &[u8], cut: usize) -> Result<[u8; REQUEST_SIZE]> {
    let mut value = [0; REQUEST_SIZE];
    value[..4].copy_from_slice(&u32::try_from(frame.len())?.to_ne_bytes());
    value[4..8].copy_from_slice(&u32::try_from(cut)?.to_ne_bytes());
    value[8..8 + frame.len()].copy_from_slice(frame);
    Ok(value)
}

pub(crate) fn become_world(maps: &mut XdpMaps, world: &World) -> Result<()> {
    maps.set_vips(&world.vips)?;
    maps.set_clients(&world.clients)?;
    for (index, gateway) in (0..).zip(&world.gateways) {
        maps.set_gateway(index, gateway)?;
    }
    maps.publish(&world.table)?;
    maps.arm(true)
}
