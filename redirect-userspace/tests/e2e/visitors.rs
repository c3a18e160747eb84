//! strongSwan clients that arrive one after the other, whatever happens to the cluster meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use xtask::lab::strongswan::Tunnel;
use xtask::lab::topology::{Client, VIP4, VIP6};
use xtask::lab::wait::{self, Stopwatch};

/// Time between two arrivals.
const ARRIVALS: Duration = Duration::from_millis(200);
/// How long the last of them may take: a gateway that died just now costs several seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lets clients arrive while `meanwhile` runs; returns every client's tunnel, in order of arrival.
///
/// # Errors
///
/// When a client is refused by its own daemon, or does not get its tunnel.
pub(crate) fn arrive_while(client: &Client, meanwhile: impl FnOnce()) -> Result<Vec<Tunnel>> {
    let is_over = AtomicBool::new(false);
    let names = std::thread::scope(|scope| {
        let arriving = scope.spawn(|| arrive(client, &is_over));
        // The thread has to end even if this panics.
        let ending = Ending(&is_over);
        meanwhile();
        drop(ending);
        arriving.join().unwrap()
    })?;
    names.iter().map(|name| client.charon.wait_for_tunnel(name, PATIENCE)).collect()
}

/// Waits until a ping goes through the tunnel of every client of these, which may have to make
/// another one first.
///
/// # Errors
///
/// When one of them has no tunnel that works.
pub(crate) fn ping_through_all(client: &Client, tunnels: &[Tunnel]) -> Result<()> {
    for Tunnel { name, .. } in tunnels {
        wait::until(&format!("a ping goes through the tunnel of {name}"), PATIENCE, || {
            let tunnel = client.charon.wait_for_tunnel(name, PATIENCE)?;
            client.charon.ping_through(&tunnel, Duration::ZERO).with_context(|| format!("{tunnel:?}"))
        })?;
    }
    Ok(())
}

struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn arrive(client: &Client, is_over: &AtomicBool) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let watch = Stopwatch::start();
    while !is_over.load(Ordering::Relaxed) {
        let number = u32::try_from(names.len())?;
        if watch.elapsed() < ARRIVALS * number {
            wait::pause();
            continue;
        }
        let name = format!("visitor{number}");
        let vip = if number.is_multiple_of(2) { VIP4.into() } else { VIP6.into() };
        let mut connection = client.connection(&name, vip, 500);
        connection.is_watchful = true;
        client.charon.add_client(&connection)?;
        client.charon.initiate(&name)?;
        names.push(name);
    }
    Ok(names)
}
