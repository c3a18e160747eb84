//! The daemon dies, hangs, or meets another program: nothing stale answers, nothing is left.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use xtask::lab::balancer::{Member, Redirectd};
use xtask::lab::topology::{Cluster, VIP4, bpf_object};
use xtask::lab::wait;

use crate::{PATIENCE, asker, without_gateways};

/// How long the fast path may answer without its daemon.
const LIMIT: Duration = Duration::from_secs(1);

/// Fails unless the interface is as it was found.
fn interface_is_clean(cluster: &Cluster) -> Result<()> {
    let program = cluster.balancer.xdp_program("eth0")?;
    ensure!(program.is_none(), "program {program:?} is on eth0");
    Ok(())
}

/// Fails unless nothing is pinned.
fn nothing_is_pinned(pins: &Path) -> Result<()> {
    let left = match fs::read_dir(pins) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    ensure!(left.is_empty(), "pinned: {left:?}");
    Ok(())
}

/// Sends a signal under load; returns the time from the signal to the last reply.
fn last_reply_after(cluster: &Cluster, daemon: &Redirectd, signal: Signal) -> Duration {
    let barrage = asker(cluster, VIP4.into(), 500, 0).barrage();
    wait::until("some requests were made", PATIENCE, || {
        ensure!(barrage.elapsed() > Duration::from_millis(200), "{:?}", barrage.elapsed());
        Ok(())
    })
    .unwrap();
    let sent = barrage.elapsed();
    daemon.signal(signal).unwrap();
    wait::until("the interface is clean", 2 * LIMIT, || interface_is_clean(cluster)).unwrap();
    wait::until("the limit has passed", PATIENCE, || {
        ensure!(barrage.elapsed() > sent + 2 * LIMIT, "{:?}", barrage.elapsed());
        Ok(())
    })
    .unwrap();
    let answers = barrage.stop().unwrap();

    let answered: Vec<_> = answers.iter().filter(|answer| answer.gateway.is_some()).collect();
    assert!(answered.len() > 100, "it answered {} requests", answered.len());
    assert_eq!(answers.last().unwrap().gateway, None, "it has stopped");
    answered.last().map_or(Duration::ZERO, |last| last.at.saturating_sub(sent))
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_killed_daemon_answers_no_more_within_a_second_and_leaves_nothing() {
    let cluster = without_gateways();
    let daemon = Redirectd::start(&cluster, &[Member::imaginary(1, 1)]).unwrap();
    assert!(cluster.balancer.xdp_program("eth0").unwrap().is_some());

    let last = last_reply_after(&cluster, &daemon, Signal::SIGKILL);

    assert!(last < LIMIT, "it answered for {last:?}");
    wait::until("nothing is pinned", LIMIT, || nothing_is_pinned(daemon.pins())).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_daemon_that_hangs_answers_no_more_within_a_second() {
    let cluster = without_gateways();
    let daemon = Redirectd::start(&cluster, &[Member::imaginary(1, 1)]).unwrap();

    let last = last_reply_after(&cluster, &daemon, Signal::SIGSTOP);

    assert!(last < LIMIT, "it answered for {last:?}");
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn an_orderly_end_leaves_nothing() {
    let cluster = without_gateways();
    let mut daemon = Redirectd::start(&cluster, &[Member::imaginary(1, 1)]).unwrap();

    daemon.signal(Signal::SIGTERM).unwrap();
    let status = daemon.wait(PATIENCE).unwrap();

    assert!(status.success(), "{status}");
    interface_is_clean(&cluster).unwrap();
    nothing_is_pinned(daemon.pins()).unwrap();
    assert_eq!(asker(&cluster, VIP4.into(), 500, 0).ask().unwrap(), None);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_daemon_that_was_killed_can_be_started_again() {
    let cluster = without_gateways();
    let member = Member::imaginary(1, 1);
    let mut killed = Redirectd::start(&cluster, std::slice::from_ref(&member)).unwrap();
    killed.signal(Signal::SIGKILL).unwrap();
    killed.wait(PATIENCE).unwrap();

    let mut again = Redirectd::spawn(&cluster.balancer, "auto", std::slice::from_ref(&member)).unwrap();

    again.until_ready().unwrap();
    let mut asker = asker(&cluster, VIP4.into(), 500, 0);
    assert_eq!(asker.ask().unwrap(), Some(member.addresses[0]));
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn an_interface_with_another_xdp_program_is_refused_by_name_and_left_alone() {
    let cluster = without_gateways();
    cluster.balancer.attach_xdp("eth0", &bpf_object("redirect-pass")).unwrap();
    let foreign = cluster.balancer.xdp_program("eth0").unwrap();

    let mut daemon = Redirectd::spawn(&cluster.balancer, "auto", &[Member::imaginary(1, 1)]).unwrap();
    let status = daemon.wait(PATIENCE).unwrap();

    assert!(!status.success());
    let log = daemon.log().unwrap();
    assert!(log.contains("pass") && log.contains("eth0"), "{log}");
    assert!(foreign.is_some());
    assert_eq!(cluster.balancer.xdp_program("eth0").unwrap(), foreign);
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_daemon_that_hung_answers_again_when_it_goes_on() {
    let cluster = without_gateways();
    let member = Member::imaginary(1, 1);
    let daemon = Redirectd::start(&cluster, std::slice::from_ref(&member)).unwrap();
    daemon.signal(Signal::SIGSTOP).unwrap();
    wait::until("the interface is clean", 2 * LIMIT, || interface_is_clean(&cluster)).unwrap();

    daemon.signal(Signal::SIGCONT).unwrap();

    answers_again(&cluster, &member);
    assert!(daemon.log().unwrap().contains("lapsed"));
}

#[test]
#[ignore = "needs root: cargo xtask test e2e"]
fn a_guard_that_was_killed_is_replaced() {
    let cluster = without_gateways();
    let member = Member::imaginary(1, 1);
    let daemon = Redirectd::start(&cluster, std::slice::from_ref(&member)).unwrap();
    let guard = daemon.guard().unwrap();

    nix::sys::signal::kill(guard, Signal::SIGKILL).unwrap();

    wait::until("there is another guard", PATIENCE, || {
        let now = daemon.guard()?;
        ensure!(now != guard, "still {now}");
        Ok(())
    })
    .unwrap();
    answers_again(&cluster, &member);
}

/// Waits until a request to the VIP is answered.
fn answers_again(cluster: &Cluster, member: &Member) {
    wait::until("the VIP answers again", PATIENCE, || {
        let answer = asker(cluster, VIP4.into(), 500, 0).ask()?;
        ensure!(answer == Some(member.addresses[0]), "{answer:?}");
        Ok(())
    })
    .unwrap();
}
