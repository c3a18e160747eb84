//! The cluster, step by step and at random.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::gateway::GatewayAddress;
use crate::rng::Rng;

/// A cluster, its clock and the fast path that it talks to.
struct Script {
    cluster: Cluster,
    now: Now,
    fast_path: FastPath,
}

impl Script {
    fn new() -> Self {
        Self {
            cluster: Cluster::new(Settings::default(), Rng::from_number(1)),
            now: Now::default(),
            fast_path: FastPath::new(),
        }
    }

    fn give(&mut self, input: Input<'_>) -> Vec<Output> {
        let mut out = Outbox::new();
        self.cluster.step(self.now, input, &mut out);
        let outputs: Vec<_> = out.drain().collect();
        for output in &outputs {
            self.fast_path.carry_out(output);
        }
        outputs
    }

    fn members(&mut self, members: &[Member]) -> Vec<Output> {
        self.give(Input::Members(members.to_vec()))
    }

    /// Publishes a table that differs from the one before.
    fn publish_another(&mut self, members: &[Member]) {
        let generation = self.cluster.board.generation();
        let weight = if generation.is_multiple_of(2) { 7 } else { 11 };
        let mut members = members.to_vec();
        members[0].weight = Weight::new(weight);
        self.members(&members);
        assert_eq!(self.cluster.board.generation(), generation.wrapping_add(1));
    }

    fn wait(&mut self) -> Vec<Output> {
        let deadline = self.cluster.deadline().unwrap();
        self.now.mono = deadline.at;
        self.give(Input::Timeout)
    }

    fn gateway(&self, name: &str) -> GatewaySnapshot {
        self.cluster
            .snapshot(self.now)
            .gateways
            .into_iter()
            .find(|gateway| gateway.member.name.as_str() == name)
            .unwrap()
    }

    fn index(&self, name: &str) -> GatewayIndex {
        self.gateway(name).index.unwrap()
    }
}

/// The maps as the fast path has them. Checks every output against what a packet may see.
struct FastPath {
    entries: Vec<maps::Gateway>,
    tables: Vec<LlgTable>,
    redirects: Vec<u64>,
}

impl FastPath {
    fn new() -> Self {
        Self {
            entries: vec![maps::Gateway::EMPTY; MAX_GATEWAYS],
            tables: Vec::new(),
            redirects: vec![0; MAX_GATEWAYS],
        }
    }

    fn carry_out(&mut self, output: &Output) {
        match output {
            Output::SetGateway { index, gateway } => {
                for table in self.tables.iter().rev().take(2) {
                    assert!(!table.slots.contains(&Some(*index)), "{index} was changed while it is in use");
                }
                self.entries[index.position()] = *gateway;
            }
            Output::Publish(table) => {
                let before = self.tables.last().map_or(0, |table| table.generation);
                assert_eq!(table.generation, before.wrapping_add(1));
                for index in table.slots.iter().flatten() {
                    assert_ne!(self.entries[index.position()], maps::Gateway::EMPTY, "{index} has no entry");
                }
                self.tables.push(table.clone());
            }
            Output::Close { .. }
            | Output::Dial { .. }
            | Output::Event(_)
            | Output::Listen { .. }
            | Output::TicketUsed(_)
            | Output::Unlisten
            | Output::Write { .. } => (),
        }
    }

    /// A client for every slot of the live table.
    fn serve(&mut self) {
        for index in self.tables.last().into_iter().flat_map(|table| table.slots.iter().flatten()) {
            self.redirects[index.position()] += 1;
        }
    }

    fn live(&self) -> &LlgTable {
        self.tables.last().unwrap()
    }
}

fn addresses(text: &str) -> GatewayAddresses {
    GatewayAddresses::new(text.split(' ').map(|address| address.parse::<GatewayAddress>().unwrap())).unwrap()
}

fn member(name: &str, at: &str) -> Member {
    Member {
        name: name.parse().unwrap(),
        addresses: addresses(at),
        weight: Some(Weight::ONE),
        is_self: false,
        state: MemberState::Up,
    }
}

fn numbered(count: usize, network: u8) -> Vec<Member> {
    (0..count)
        .map(|n| member(&format!("gw{n:03}"), &format!("10.{network}.{}.{}", n / 250, n % 250 + 1)))
        .collect()
}

fn event(outputs: &[Output]) -> Vec<String> {
    let text = |output: &Output| match output {
        Output::Event(event) => Some(event.to_string()),
        Output::Close { .. }
        | Output::Dial { .. }
        | Output::Listen { .. }
        | Output::Publish(_)
        | Output::SetGateway { .. }
        | Output::TicketUsed(_)
        | Output::Unlisten
        | Output::Write { .. } => None,
    };
    outputs.iter().filter_map(text).collect()
}

#[test]
fn the_entries_are_written_before_the_table() {
    let mut script = Script::new();
    let members = [member("gw1", "10.0.0.1"), member("gw2", "10.0.0.2 fd50::2")];

    let outputs = script.members(&members);

    let (first, second) = (GatewayIndex::new(0).unwrap(), GatewayIndex::new(1).unwrap());
    let slots = (0..SLOTS).map(|slot| Some(if slot % 2 == 0 { first } else { second })).collect();
    let joined = |name: &str| Output::Event(Event::MemberJoined { name: name.parse().unwrap() });
    assert_eq!(
        outputs,
        [
            joined("gw1"),
            joined("gw2"),
            Output::SetGateway { index: first, gateway: members[0].addresses.to_map(false) },
            Output::SetGateway { index: second, gateway: members[1].addresses.to_map(false) },
            Output::Publish(LlgTable { generation: 1, slots, empty: EmptySlot::Keep }),
            Output::Event(Event::TablePublished { generation: 1, gateways: 2, moved: SLOTS }),
        ]
    );
    assert_eq!(script.cluster.deadline(), None);
}

#[test]
fn a_reload_that_changes_nothing_does_nothing() {
    let mut script = Script::new();
    let members = [member("gw1", "10.0.0.1"), member("gw2", "10.0.0.2")];
    script.members(&members);

    assert_eq!(script.members(&members), []);
}

#[test]
fn a_removed_gateway_leaves_the_table() {
    let mut script = Script::new();
    let members = [member("gw1", "10.0.0.1"), member("gw2", "10.0.0.2")];
    script.members(&members);
    let removed = script.index("gw2");

    let outputs = script.members(&members[..1]);

    assert_eq!(event(&outputs), ["gateway gw2 left", "table 2: 1 gateways, 512 slots moved"]);
    assert!(!script.fast_path.live().slots.contains(&Some(removed)));
    assert_eq!(script.gateway("gw1").slots, SLOTS);
}

#[test]
fn a_member_that_takes_no_clients_leaves_the_table_and_keeps_its_index() {
    for state in [MemberState::Draining, MemberState::Down, MemberState::Overloaded] {
        let mut script = Script::new();
        let mut members = [member("gw1", "10.0.0.1"), member("gw2", "10.0.0.2")];
        script.members(&members);
        let index = script.index("gw2");
        members[1].state = state;

        let outputs = script.members(&members);

        assert_eq!(event(&outputs)[0], format!("gateway gw2 was up, is {state}"));
        assert_eq!((script.gateway("gw2").slots, script.index("gw2")), (0, index));

        members[1].state = MemberState::Up;
        script.members(&members);

        assert_eq!((script.gateway("gw2").slots, script.index("gw2")), (512, index));
    }
}

#[test]
fn a_member_without_weight_takes_no_clients() {
    let mut script = Script::new();
    let mut members = [member("gw1", "10.0.0.1"), member("gw2", "10.0.0.2"), member("gw3", "10.0.0.3")];
    members[1].weight = None;
    members[2].weight = Weight::new(3);

    script.members(&members);

    assert_eq!(["gw1", "gw2", "gw3"].map(|name| script.gateway(name).slots), [256, 0, 768]);
    assert!((script.gateway("gw3").share - 0.75).abs() < 1e-9);
}

#[test]
fn a_member_keeps_its_index_when_others_come_and_go() {
    let mut script = Script::new();
    let [a, b, c] = [member("a", "10.0.0.1"), member("b", "10.0.0.2"), member("c", "10.0.0.3")];
    script.members(&[b.clone(), c.clone()]);
    let before = [script.index("b"), script.index("c")];

    script.members(&[a.clone(), b.clone(), c.clone()]);
    script.members(&[c, b]);

    assert_eq!([script.index("b"), script.index("c")], before);
}

#[test]
fn the_index_of_a_member_that_left_rests_and_is_cleared() {
    let mut script = Script::new();
    let members = [member("gw1", "10.0.0.1"), member("gw2", "10.0.0.2"), member("gw3", "10.0.0.3")];
    script.members(&members);
    let index = script.index("gw3");
    let rest = &members[..2];
    script.members(rest);
    let entry = members[2].addresses.to_map(false);

    script.publish_another(rest);
    assert_eq!(script.fast_path.entries[index.position()], entry, "one later table is not enough");

    script.publish_another(rest);
    assert_eq!(script.fast_path.entries[index.position()], maps::Gateway::EMPTY);
    assert_eq!(script.cluster.board.generation(), 4);
}

#[test]
fn other_addresses_mean_another_index_and_the_same_slots() {
    let mut script = Script::new();
    let mut members = [member("gw1", "10.0.0.1"), member("gw2", "10.0.0.2"), member("gw3", "10.0.0.3")];
    script.members(&members);
    let before = script.fast_path.live().slots.clone();
    let old = [script.index("gw1"), script.index("gw2")];
    members[0].addresses = addresses("10.0.0.11");
    members[1].addresses = addresses("10.0.0.22 gw2.example.net");

    let outputs = script.members(&members);

    let new = [script.index("gw1"), script.index("gw2")];
    let renamed = |index| old.iter().position(|old| *old == index).map_or(index, |at| new[at]);
    let expected: Box<[_]> = before.iter().map(|slot| slot.map(renamed)).collect();
    assert_eq!(script.fast_path.live().slots, expected);
    assert_eq!(script.fast_path.entries[new[1].position()], members[1].addresses.to_map(false));
    assert_eq!(
        event(&outputs),
        [
            "gateway gw1 is now at 10.0.0.11",
            "gateway gw2 is now at 10.0.0.22, gw2.example.net",
            "table 2: 3 gateways, 683 slots moved"
        ]
    );
}

#[test]
fn a_member_that_turns_out_to_be_this_node_gets_another_index() {
    let mut script = Script::new();
    let mut members = [member("gw1", "10.0.0.1"), member("gw2", "10.0.0.2")];
    script.members(&members);
    let old = script.index("gw1");
    members[0].is_self = true;

    let outputs = script.members(&members);

    assert_eq!(event(&outputs)[0], "gateway gw1 is this node");
    assert_ne!(script.index("gw1"), old);
    assert!(script.fast_path.entries[script.index("gw1").position()].is_local());
    assert!(!script.fast_path.entries[script.index("gw2").position()].is_local());
}

#[test]
fn redirects_add_up_over_a_change_of_addresses() {
    let mut script = Script::new();
    let mut members = [member("gw1", "10.0.0.1"), member("gw2", "10.0.0.2")];
    script.members(&members);
    let old = script.index("gw2");
    script.fast_path.serve();
    script.give(Input::Redirects(&script.fast_path.redirects.clone()));
    members[1].addresses = addresses("10.0.0.22");
    script.members(&members);
    script.fast_path.serve();
    // A packet that had read the old table.
    script.fast_path.redirects[old.position()] += 1;

    script.give(Input::Redirects(&script.fast_path.redirects.clone()));

    assert_eq!(script.gateway("gw2").redirects, 512 + 512 + 1);
    assert_eq!(script.gateway("gw1").redirects, 1024);
}

#[test]
fn redirects_to_a_member_that_left_are_not_lost() {
    let mut script = Script::new();
    let members = [member("gw1", "10.0.0.1"), member("gw2", "10.0.0.2")];
    script.members(&members);
    script.fast_path.serve();
    script.give(Input::Redirects(&script.fast_path.redirects.clone()));
    let old = script.index("gw2");
    script.members(&members[..1]);
    script.fast_path.redirects[old.position()] += 3;

    script.give(Input::Redirects(&script.fast_path.redirects.clone()));

    assert_eq!(script.cluster.snapshot(script.now).former_redirects, 515);
}

#[test]
fn of_two_members_with_one_name_the_first_counts() {
    let mut script = Script::new();

    script.members(&[member("gw1", "10.0.0.1"), member("gw1", "10.0.0.2")]);

    assert_eq!(script.gateway("gw1").member.addresses, addresses("10.0.0.1"));
    assert_eq!(script.cluster.snapshot(script.now).gateways.len(), 1);
}

#[test]
fn the_status_says_whether_anybody_takes_clients() {
    let mut script = Script::new();
    assert_eq!(script.cluster.snapshot(script.now).status, Status::Starting);

    let outputs = script.members(&[]);
    assert_eq!(event(&outputs), ["table 1: 0 gateways, 0 slots moved"]);
    assert_eq!(script.cluster.snapshot(script.now).status, Status::NoGateway);

    script.members(&[member("gw1", "10.0.0.1")]);
    assert_eq!(script.cluster.snapshot(script.now).status, Status::Up);
}

#[test]
fn new_settings_are_seen_and_move_nothing() {
    let mut script = Script::new();
    script.members(&[member("gw1", "10.0.0.1")]);
    let settings = Settings {
        policy: Policy::LeastLoaded,
        overload_limit: OverloadLimit::new(80).unwrap(),
        ..Settings::default()
    };

    let outputs = script.give(Input::Configure(settings));

    assert_eq!(outputs, []);
    assert_eq!(script.cluster.snapshot(script.now).settings, settings);
}

#[test]
fn members_that_find_no_index_get_one_when_others_have_rested() {
    let mut script = Script::new();
    script.members(&numbered(MAX_MEMBERS, 1));

    let outputs = script.members(&numbered(MAX_MEMBERS, 2));

    let waiting = |script: &Script| {
        script.cluster.snapshot(script.now).gateways.iter().filter(|gateway| gateway.index.is_none()).count()
    };
    assert_eq!(waiting(&script), MAX_MEMBERS - 32);
    let no_index = event(&outputs).iter().filter(|event| event.ends_with("waits for a free index")).count();
    assert_eq!(no_index, MAX_MEMBERS - 32);

    let mut rounds = 0;
    while script.cluster.deadline().is_some() {
        script.wait();
        rounds += 1;
        assert!(rounds <= 4, "still waiting");
    }

    assert_eq!(waiting(&script), 0);
    let slots: BTreeSet<_> =
        script.cluster.snapshot(script.now).gateways.iter().map(|gateway| gateway.slots).collect();
    assert_eq!(slots, BTreeSet::from([2]));
}

#[test]
fn more_members_than_indexes_do_not_make_it_spin() {
    let mut script = Script::new();
    script.members(&numbered(MAX_GATEWAYS + 10, 1));

    assert_eq!(script.cluster.deadline(), None);
    assert_eq!(script.fast_path.live().slots.iter().flatten().collect::<BTreeSet<_>>().len(), MAX_GATEWAYS);
}

#[test]
fn an_early_timeout_changes_nothing() {
    let mut script = Script::new();
    assert_eq!(script.give(Input::Timeout), []);
    script.members(&numbered(MAX_MEMBERS, 1));
    script.members(&numbered(MAX_MEMBERS, 2));
    let before = (script.cluster.snapshot(script.now), script.cluster.deadline());

    let outputs = script.give(Input::Timeout);

    assert_eq!(outputs, []);
    assert_eq!((script.cluster.snapshot(script.now), script.cluster.deadline()), before);
}

#[test]
fn generations_go_on_after_the_last_number() {
    let mut script = Script::new();
    script.cluster.board.generation = u32::MAX - 1;
    script.fast_path.tables.push(LlgTable {
        generation: u32::MAX - 1,
        slots: vec![None; SLOTS].into(),
        empty: EmptySlot::Keep,
    });
    let members = [member("gw1", "10.0.0.1"), member("gw2", "10.0.0.2"), member("gw3", "10.0.0.3")];
    script.members(&members);
    let index = script.index("gw3");
    script.members(&members[..2]);
    assert_eq!(script.cluster.board.generation(), 0);

    script.publish_another(&members[..2]);
    script.publish_another(&members[..2]);

    assert_eq!(script.fast_path.entries[index.position()], maps::Gateway::EMPTY);
}

/// What may happen to a cluster.
#[derive(Clone, Debug)]
enum Happening {
    Members(Vec<Member>),
    Serve,
    Wait(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let state = prop_oneof![
        3 => Just(MemberState::Up),
        1 => Just(MemberState::Draining),
        1 => Just(MemberState::Down),
        1 => Just(MemberState::Overloaded),
    ];
    let one = (0..8_u8, 0..3_u8, 0..4_u16, prop::bool::weighted(0.1), state).prop_map(
        |(name, network, weight, is_self, state)| Member {
            weight: Weight::new(weight),
            is_self,
            state,
            ..member(&format!("gw{name}"), &format!("10.{network}.0.{}", name + 1))
        },
    );
    prop_oneof![
        4 => proptest::collection::vec(one, 0..10).prop_map(Happening::Members),
        2 => Just(Happening::Serve),
        1 => (0..200_u64).prop_map(Happening::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_happens_packets_see_whole_tables_and_every_redirect_counts(
        happenings in proptest::collection::vec(happening(), 1..40),
    ) {
        let (mut script, mut twin) = (Script::new(), Script::new());
        for happening in happenings {
            let outputs = [&mut script, &mut twin].map(|script| match &happening {
                // `FastPath` checks each output.
                Happening::Members(members) => script.members(members),
                Happening::Serve => {
                    script.fast_path.serve();
                    script.give(Input::Redirects(&script.fast_path.redirects.clone()))
                }
                Happening::Wait(millis) => {
                    script.now = script.now.after(Duration::from_millis(*millis));
                    script.give(Input::Timeout)
                }
            });
            prop_assert_eq!(&outputs[0], &outputs[1]);

            let snapshot = script.cluster.snapshot(script.now);
            if let Some(deadline) = script.cluster.deadline() {
                prop_assert!(!matches!(happening, Happening::Wait(_)) || deadline.at > script.now.mono);
            }
            let in_table: BTreeSet<_> =
                script.fast_path.tables.last().into_iter().flat_map(|table| table.slots.iter().flatten()).collect();
            let takes: BTreeSet<_> = snapshot
                .gateways
                .iter()
                .filter(|gateway| gateway.member.state == MemberState::Up && gateway.member.weight.is_some())
                .filter_map(|gateway| gateway.index.as_ref())
                .collect();
            prop_assert_eq!(in_table, takes);
            for gateway in &snapshot.gateways {
                let entry = gateway.index.map(|index| script.fast_path.entries[index.position()]);
                prop_assert_eq!(entry, Some(gateway.member.addresses.to_map(gateway.member.is_self)));
            }
            if matches!(happening, Happening::Serve) {
                let counted: u64 = snapshot.gateways.iter().map(|gateway| gateway.redirects).sum();
                let total: u64 = script.fast_path.redirects.iter().sum();
                prop_assert_eq!(counted + snapshot.former_redirects, total);
            }
        }
    }
}
