//! `show llg`: how the table's slots are divided.

use super::super::table::{Align, Table, label, percentage};
use crate::control::LlgView;

/// The text.
pub(crate) fn render(view: &LlgView, width: usize) -> String {
    let mut text = String::new();
    label(&mut text, "Generation", &view.generation.to_string());
    label(&mut text, "Slots", &view.slots.to_string());
    text.push('\n');
    let mut table = Table::new([
        ("Gateway", Align::Left),
        ("Slots", Align::Right),
        ("Share", Align::Right),
        ("", Align::Left),
    ]);
    let mut row = |name: &str, slots: u32| {
        let share = percentage(u64::from(slots), u64::from(view.slots));
        table.row([name.to_owned(), slots.to_string(), share, bar(slots, view.slots)]);
    };
    for gateway in &view.gateways {
        row(&gateway.name, gateway.slots);
    }
    let taken: u32 = view.gateways.iter().fold(0, |sum, gateway| sum.saturating_add(gateway.slots));
    let free = view.slots.saturating_sub(taken);
    if free > 0 {
        row(NOBODY, free);
    }
    if table.is_empty() {
        text.push_str("No table yet.\n");
    } else {
        text.push_str(&table.render(width));
    }
    text
}

/// Slots that lead nowhere: their requests go to the stack.
const NOBODY: &str = "(nobody)";

/// Filled in proportion; a gateway with any slot at all has at least one mark.
fn bar(slots: u32, whole: u32) -> String {
    const LENGTH: u64 = 40;

    let filled = (u64::from(slots) * LENGTH).checked_div(u64::from(whole)).unwrap_or(0);
    let filled = filled.max(u64::from(slots > 0)).min(LENGTH);
    (0..LENGTH).map(|at| if at < filled { '#' } else { '.' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::print::DEFAULT_WIDTH;
    use crate::control::{LlgGateway, fixtures};

    #[test]
    fn every_gateway_has_its_slots_and_a_bar() {
        let view = fixtures::snapshot().llg;

        assert_eq!(
            render(&view, DEFAULT_WIDTH),
            "\
Generation      : 7
Slots           : 1024

Gateway   Slots  Share
--------  -----  -----  ----------------------------------------
gw1         256  25.0%  ##########..............................
gw2         512  50.0%  ####################....................
gw3         128  12.5%  #####...................................
(nobody)    128  12.5%  #####...................................
"
        );
    }

    #[test]
    fn a_full_table_has_nobody_left_over() {
        let gateways = vec![LlgGateway { name: "gw1".to_owned(), slots: 1024 }];
        let view = LlgView { generation: 1, slots: 1024, gateways };

        let text = render(&view, DEFAULT_WIDTH);

        assert!(!text.contains(NOBODY), "{text}");
        assert!(text.contains(&"#".repeat(40)), "{text}");
    }

    #[test]
    fn one_slot_is_visible_and_none_is_not() {
        assert_eq!(bar(1, 1024).matches('#').count(), 1);
        assert_eq!(bar(0, 1024).matches('#').count(), 0);
        assert_eq!(bar(5, 0).matches('#').count(), 1);
    }

    #[test]
    fn a_daemon_without_a_table_says_so() {
        assert!(render(&LlgView::default(), DEFAULT_WIDTH).ends_with("No table yet.\n"));
    }
}
