//! The same packets through the program in the kernel: verdict and octets of the host.

use common::decide::{Verdict, decide};
use common::reason::Reason;
use redirect_userspace::testing::fixtures::{GATEWAY_ALL, GATEWAY_SHORT_NAME};

use crate::frame::{Named, world};
use crate::kernel::{Kernel, XDP_DROP, XDP_PASS, XDP_TX};
use crate::{captures, data, messages, seeds};

/// What a test run takes: an Ethernet header at least, and no more than fits a page beside the
/// kernel's own head room and tail room.
const LENGTHS: std::ops::RangeInclusive<usize> = 14..=3400;

#[test]
#[ignore = "needs root: cargo xtask test xdp"]
fn foreign_packets_get_the_verdict_and_the_octets_of_the_host() {
    let Some(root) = data::root() else { return };
    let mut kernel = Kernel::load();
    let mut gateways = (GATEWAY_ALL..=GATEWAY_SHORT_NAME).cycle();
    let (mut compared, mut redirected, mut left_out) = (0, 0, 0);
    let frames: Vec<Named<Vec<u8>>> =
        [captures::frames(&root), messages::frames(&root), seeds::frames(&root)].concat();

    for (name, frame) in frames {
        if !LENGTHS.contains(&frame.len()) {
            left_out += 1;
            continue;
        }
        let world = world(&frame, gateways.next().unwrap());
        let mut expected = frame.clone();
        let verdict = decide(expected.as_mut_slice(), &world);
        let reason = verdict.reason();
        kernel.become_world(&world);
        let before = kernel.packets(reason);

        let (action, output) = kernel.run(&frame);

        assert_eq!(kernel.packets(reason), before + 1, "{name}: {}", reason.name());
        match verdict {
            Verdict::Pass(_) => {
                assert_eq!(action, XDP_PASS, "{name}: {}", reason.name());
                assert_eq!(output, frame, "{name}: a frame that passes is untouched");
            }
            Verdict::Drop(_) => assert_eq!(action, XDP_DROP, "{name}: {}", reason.name()),
            Verdict::Redirect { length, .. } => {
                assert_eq!(action, XDP_TX, "{name}");
                assert_eq!(output, expected[..length], "{name}");
            }
        }
        compared += 1;
        redirected += usize::from(reason == Reason::Redirected);
    }

    data::say(&format!(
        "{compared} packets compared, {redirected} of them redirected; {left_out} left out for their length"
    ));
    assert!(compared >= 4000 && redirected >= 300, "{compared} {redirected}");
    assert!(left_out * 20 < compared, "{left_out} left out");
}
