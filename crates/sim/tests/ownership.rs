//! Who answers for an address, whatever happens to speakers, nodes and the segment between them.

#![expect(clippy::indexing_slicing, reason = "a test that asks for what is not there has failed")]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use liveness::{Ballot, Carrier, DataPath, Departure, Link, Node, Pace, Recorded};
use names::Mac;
use sim::{Kernel, Path, Segment, Setup};

const MS: Duration = Duration::from_millis(1);
const PACE: Pace =
    Pace { interval: Duration::from_millis(40), multiplier: 3, cover: Duration::from_secs(10) };

#[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
fn segment(machines: usize, seed: u64) -> Segment {
    Segment::new(Setup { machines, pace: PACE, seed }, Instant::now())
}

fn vip(low: u8) -> IpAddr {
    IpAddr::from([10, 0, 200, low])
}

/// All machines, beginning with this one.
fn ballot(segment: &Segment, first: usize, generation: u64) -> Ballot {
    let count = segment.machines.len();
    let ranked = (0..count).map(|place| segment.machines[(first + place) % count].name.clone()).collect();
    Ballot { generation, displaces: true, ranked, recorded: None }
}

/// Machines that run for a second, each address placed on the machine of its number.
fn running(machines: usize, addresses: u8, seed: u64) -> Segment {
    let mut segment = segment(machines, seed);
    for low in 0..addresses {
        let ballot = ballot(&segment, usize::from(low) % machines, 1);
        segment.ballot_to_all(vip(low), Some(&ballot));
    }
    segment.run(Duration::from_secs(2), |_| {});
    segment
}

fn owner(segment: &Segment, address: IpAddr) -> Option<usize> {
    let owners = (0..segment.machines.len()).filter(|place| segment.machines[*place].owns(address));
    let owners: Vec<_> = owners.collect();
    assert!(owners.len() < 2, "{owners:?} own {address}");
    owners.first().copied()
}

#[expect(clippy::expect_used, reason = "a test that asks for what does not run has failed")]
fn node(segment: &mut Segment, place: usize) -> &mut Node {
    &mut segment.machines[place].speaker.as_mut().expect("it runs").node
}

#[test]
fn the_first_in_rank_owns_what_is_new() {
    for machines in [1, 2, 3, 5, 16] {
        let segment = running(machines, 8, 1);
        for low in 0..8 {
            assert_eq!(owner(&segment, vip(low)), Some(usize::from(low) % machines), "of {machines}");
        }
    }
}

#[test]
fn after_a_power_loss_a_claim_is_greater_than_what_is_on_record() {
    let mut segment = segment(3, 1);
    for (low, recorded, expected) in [
        (0, None, (1, 1)),
        (1, Some(Recorded { generation: 1, epoch: 17 }), (1, 18)),
        (2, Some(Recorded { generation: 5, epoch: 2 }), (5, 3)),
    ] {
        let ballot = Ballot { recorded, ..ballot(&segment, 0, 1) };
        segment.ballot_to_all(vip(low), Some(&ballot));
        segment.run(Duration::from_secs(1), |_| {});
        let speaker = segment.machines[0].speaker.as_ref().unwrap();
        let claim = speaker.node.ownership(vip(low)).map(|claim| (claim.generation, claim.epoch));
        assert_eq!(claim, Some(expected), "{recorded:?}");
    }
}

/// How long nobody answers after something happened, and who answers then.
fn outage(segment: &mut Segment, address: IpAddr, time: Duration) -> (Duration, Option<usize>) {
    let start = segment.now();
    let mut dark = Duration::ZERO;
    segment.run(time, |segment| {
        if segment.macs(address).is_empty() {
            dark = segment.now() - start;
        }
    });
    (dark, owner(segment, address))
}

#[test]
fn a_dead_node_is_replaced_by_the_next_in_rank_within_150_ms() {
    for machines in [2, 3, 5] {
        let mut longest = Duration::ZERO;
        for seed in 0..100 {
            let mut segment = running(machines, 1, seed);
            segment.power(0, Kernel::Off);
            let (dark, next) = outage(&mut segment, vip(0), 1000 * MS);
            assert_eq!(next, Some(1), "seed {seed}");
            longest = longest.max(dark);
        }
        assert!(longest < 150 * MS, "{longest:?} with {machines}");
    }
}

/// It may know why not: here it has been told already that it may answer no longer.
#[test]
fn who_ranks_first_and_claims_nothing_is_not_waited_for() {
    for seed in 0..20 {
        let mut segment = running(3, 1, seed);
        segment.ballot(1, vip(0), None);
        segment.power(0, Kernel::Off);
        let (dark, next) = outage(&mut segment, vip(0), 1000 * MS);
        assert_eq!(next, Some(2), "seed {seed}");
        assert!(dark < 170 * MS, "{dark:?} seed {seed}");
    }
}

#[test]
fn a_speaker_that_is_killed_on_a_living_node_is_covered_and_owns_the_same_when_it_is_back() {
    for machines in [2, 3, 5] {
        for seed in 0..20 {
            let mut segment = running(machines, 1, seed);
            let mac = segment.machines[0].mac;
            segment.kill(0);
            let mut dark = Duration::ZERO;
            let start = segment.now();
            segment.run(3000 * MS, |segment| {
                let macs = segment.macs(vip(0));
                if macs.is_empty() {
                    dark = segment.now() - start;
                } else {
                    assert_eq!(macs, [mac].into());
                }
            });
            assert!(dark < 170 * MS, "{dark:?} seed {seed}");
            segment.start(0);
            segment.run(3000 * MS, |segment| assert_eq!(segment.macs(vip(0)), [mac].into(), "seed {seed}"));
            assert_eq!(owner(&segment, vip(0)), Some(0));
            assert_eq!(segment.answers(vip(0)).len(), 1);
        }
    }
}

#[test]
fn a_planned_restart_is_never_dark_and_moves_nothing() {
    for machines in [2, 3, 5] {
        for seed in 0..20 {
            let mut segment = running(machines, 3, seed);
            let mac = segment.machines[0].mac;
            segment.stop(0, Departure::Restart, 200 * MS);
            segment.run(1500 * MS, |segment| assert_eq!(segment.macs(vip(0)), [mac].into(), "seed {seed}"));
            assert!(segment.machines[0].speaker.is_none());
            segment.start(0);
            segment.run(1500 * MS, |segment| assert_eq!(segment.macs(vip(0)), [mac].into(), "seed {seed}"));
            assert_eq!(owner(&segment, vip(0)), Some(0));
        }
    }
}

#[test]
fn a_speaker_that_does_not_come_back_is_covered_for_ten_seconds_and_then_replaced() {
    let mut segment = running(3, 1, 1);
    let mac = segment.machines[0].mac;
    segment.kill(0);
    segment.run(1000 * MS, |_| {});
    segment.run(8500 * MS, |segment| assert_eq!(segment.macs(vip(0)), [mac].into()));
    segment.run(1500 * MS, |_| {});
    assert_eq!(owner(&segment, vip(0)), Some(1));
    segment.start(0);
    segment.run(3000 * MS, |_| {});
    assert_eq!(owner(&segment, vip(0)), Some(1), "who comes back takes nothing");
}

#[test]
fn a_frozen_speaker_answers_nothing_old_when_it_thaws() {
    for (machines, freeze, expected) in
        [(3, 3000 * MS, 0), (3, 15_000 * MS, 1), (20, 3000 * MS, 0), (20, 15_000 * MS, 1)]
    {
        for seed in 0..20 {
            let mut segment = running(machines, 1, seed);
            segment.freeze(0, freeze);
            segment.run(freeze + 2000 * MS, |segment| {
                let answers = segment.answers(vip(0));
                let macs = segment.macs(vip(0));
                assert!(macs.len() < 2, "{machines} machines, seed {seed}: {answers:?}");
            });
            assert_eq!(owner(&segment, vip(0)), Some(expected), "{machines} machines, seed {seed}");
        }
    }
}

/// Nothing passes to a machine, from any other or the gateway, nor from it.
fn cut_off(segment: &mut Segment, place: usize) {
    for other in 0..=segment.machines.len() {
        segment.paths.set_both(place, other, Path { cut: true, ..Path::GOOD });
    }
}

/// As a virtual machine is that its host moves or saves: what is sent meanwhile is lost.
#[test]
fn a_machine_that_was_paused_answers_nothing_old_when_it_goes_on() {
    for machines in [2, 3] {
        for seed in 0..20 {
            let mut segment = running(machines, 1, seed);
            segment.freeze(0, 1000 * MS);
            cut_off(&mut segment, 0);
            segment.run(999 * MS, |_| {});
            segment.paths.heal();
            segment.run(2000 * MS, |segment| assert_eq!(segment.macs(vip(0)).len(), 1, "seed {seed}"));
            assert_eq!(owner(&segment, vip(0)), Some(1), "seed {seed}");
        }
    }
}

/// It was not there to hear, so the silence says nothing of the others.
#[test]
fn a_machine_that_was_paused_for_a_moment_takes_nobody_for_gone() {
    for seed in 0..20 {
        let mut segment = running(2, 2, seed);
        segment.freeze(0, 110 * MS);
        cut_off(&mut segment, 0);
        segment.run(109 * MS, |_| {});
        segment.paths.heal();
        segment.run(500 * MS, |segment| {
            assert!(!segment.answers(vip(1)).contains_key(&0), "seed {seed}");
        });
    }
}

#[test]
fn a_speaker_is_gone_only_when_it_is_silent_for_longer_than_it_said() {
    let mut segment = running(2, 2, 1);
    let now = segment.now();
    let slow = Pace { interval: 400 * MS, ..PACE };
    node(&mut segment, 1).set_pace(now, slow);
    segment.run(5000 * MS, |segment| assert!(!segment.answers(vip(1)).contains_key(&0)));
}

#[test]
fn who_was_replaced_while_it_was_frozen_and_cut_off_asks_all_before_it_answers() {
    for seed in 0..20 {
        let mut segment = running(20, 4, seed);
        segment.freeze(0, 6000 * MS);
        cut_off(&mut segment, 0);
        segment.run(2000 * MS, |_| {});
        assert_eq!(owner(&segment, vip(0)), Some(1), "seed {seed}");
        segment.paths.heal();
        segment.run(6000 * MS, |segment| {
            let answers = segment.answers(vip(0));
            assert!(segment.macs(vip(0)).len() < 2, "seed {seed}: {answers:?}");
        });
        assert_eq!(owner(&segment, vip(0)), Some(1), "seed {seed}");
    }
}

#[test]
fn who_leaves_hands_over_without_a_gap() {
    for seed in 0..20 {
        let mut segment = running(3, 3, seed);
        segment.stop(0, Departure::Leave, 300 * MS);
        segment.run(2000 * MS, |segment| assert!(!segment.macs(vip(0)).is_empty(), "seed {seed}"));
        assert_eq!(owner(&segment, vip(0)), Some(1));
        assert_eq!(owner(&segment, vip(1)), Some(1));
    }
}

#[test]
fn who_may_answer_no_longer_does_so_until_the_next_one_does() {
    for seed in 0..20 {
        let mut segment = running(3, 1, seed);
        let mut without = ballot(&segment, 1, 1);
        without.ranked.truncate(2);
        for place in 0..3 {
            segment.ballot(place, vip(0), Some(&without));
            segment.run(20 * MS, |segment| assert!(!segment.macs(vip(0)).is_empty(), "seed {seed}"));
        }
        segment.run(500 * MS, |segment| assert_eq!(segment.macs(vip(0)).len(), 1, "seed {seed}"));
        assert_eq!(owner(&segment, vip(0)), Some(1), "seed {seed}");
    }
}

#[test]
fn a_newer_placement_moves_an_address_without_a_gap_and_an_older_owner_takes_nothing_back() {
    for seed in 0..20 {
        let mut segment = running(3, 1, seed);
        let moved = ballot(&segment, 2, 2);
        segment.ballot_to_all(vip(0), Some(&moved));
        segment.run(1000 * MS, |segment| assert!(!segment.macs(vip(0)).is_empty(), "seed {seed}"));
        assert_eq!(owner(&segment, vip(0)), Some(2));
        segment.power(2, Kernel::Off);
        segment.run(1000 * MS, |_| {});
        assert_eq!(owner(&segment, vip(0)), Some(0), "the next in rank");
        segment.power(2, Kernel::Running);
        segment.start(2);
        segment.run(3000 * MS, |segment| assert_eq!(segment.macs(vip(0)).len(), 1, "seed {seed}"));
        assert_eq!(owner(&segment, vip(0)), Some(0), "a returning node takes nothing");
    }
}

#[test]
fn a_placement_of_what_is_owned_there_already_makes_the_claim_newer() {
    let mut segment = running(3, 1, 1);
    let placed = ballot(&segment, 0, 2);
    segment.ballot_to_all(vip(0), Some(&placed));
    segment.run(100 * MS, |segment| assert!(segment.machines[0].owns(vip(0))));
    let ownership = node(&mut segment, 0).ownership(vip(0)).expect("it is the owner");
    assert_eq!((ownership.generation, ownership.epoch), (2, 2));
}

/// A node takes no part as long as others have something that it has not; and all do when none has it.
fn goes_from_node_to_node(lose: impl Fn(&mut Node, Instant, Mac)) {
    let mut segment = running(3, 1, 1);
    for (place, next) in [(0, 1), (1, 2), (2, 2)] {
        let (now, mac) = (segment.now(), segment.machines[place].mac);
        lose(node(&mut segment, place), now, mac);
        segment.run(2000 * MS, |segment| assert!(!segment.macs(vip(0)).is_empty()));
        assert_eq!(owner(&segment, vip(0)), Some(next));
    }
}

#[test]
fn who_does_not_forward_answers_only_for_what_no_other_can() {
    goes_from_node_to_node(|node, now, _| node.set_data_path(now, DataPath::Broken));
}

#[test]
fn who_is_not_in_an_addresss_network_answers_only_for_what_no_other_can() {
    goes_from_node_to_node(|node, now, mac| {
        node.set_link(now, Link { mac, carrier: Carrier::Up, networks: Vec::new() });
    });
}

#[test]
fn a_late_placement_that_followed_the_failover_before_takes_nothing_from_the_next_owner() {
    for (displaces, expected) in [(false, 1), (true, 0)] {
        for seed in 0..20 {
            let mut segment = running(3, 1, seed);
            cut_off(&mut segment, 0);
            segment.run(1000 * MS, |_| {});
            assert_eq!(owner(&segment, vip(0)), Some(1), "seed {seed}");
            // Where the address had been before it was lost again.
            let ballot = Ballot { displaces, ..ballot(&segment, 0, 2) };
            segment.ballot_to_all(vip(0), Some(&ballot));
            segment.paths.heal();
            segment.run(2000 * MS, |segment| assert!(!segment.macs(vip(0)).is_empty(), "seed {seed}"));
            assert_eq!(owner(&segment, vip(0)), Some(expected), "seed {seed}");
        }
    }
}

#[test]
fn a_node_that_is_cut_off_falls_silent_and_yields_when_it_is_back() {
    for machines in [2, 3, 5] {
        for seed in 0..20 {
            let mut segment = running(machines, 1, seed);
            cut_off(&mut segment, 0);
            segment.run(1000 * MS, |_| {});
            assert_eq!(owner(&segment, vip(0)), Some(1), "seed {seed}: the cut one is silent");
            segment.paths.heal();
            segment.run(2000 * MS, |segment| assert_eq!(segment.macs(vip(0)).len(), 1, "seed {seed}"));
            assert_eq!(owner(&segment, vip(0)), Some(1));
        }
    }
}

#[test]
fn one_witness_that_answers_is_enough_to_take_over_from_the_others() {
    let mut segment = segment(2, 1);
    segment.neighbour = Kernel::Running;
    for low in 0..2 {
        let ballot = ballot(&segment, usize::from(low), 1);
        segment.ballot_to_all(vip(low), Some(&ballot));
    }
    segment.run(2000 * MS, |_| {});
    segment.neighbour = Kernel::Off;
    segment.power(1, Kernel::Off);
    segment.run(1000 * MS, |segment| assert!(segment.machines[0].owns(vip(0))));
    assert_eq!(owner(&segment, vip(1)), Some(0));
}

#[test]
fn a_link_that_is_lost_ends_ownership_at_once() {
    let mut segment = running(3, 1, 3);
    segment.carrier(0, Carrier::Down);
    assert_eq!(node(&mut segment, 0).ownership(vip(0)), None);
    assert!(segment.answers(vip(0)).is_empty());
    let (dark, next) = outage(&mut segment, vip(0), 1000 * MS);
    assert!(dark < 150 * MS, "{dark:?}");
    assert_eq!(next, Some(1));
    segment.carrier(0, Carrier::Up);
    segment.run(2000 * MS, |segment| assert_eq!(segment.macs(vip(0)).len(), 1));
    assert_eq!(owner(&segment, vip(0)), Some(1));
}

#[test]
fn two_that_a_third_hears_agree_although_they_do_not_hear_each_other() {
    for seed in 0..20 {
        let mut segment = running(3, 2, seed);
        segment.paths.set_both(0, 1, Path { cut: true, ..Path::GOOD });
        segment.run(5000 * MS, |segment| {
            for low in 0..2 {
                assert_eq!(segment.macs(vip(low)).len(), 1, "seed {seed}");
            }
        });
        assert_eq!((owner(&segment, vip(0)), owner(&segment, vip(1))), (Some(0), Some(1)));
    }
}

#[test]
fn who_is_back_hears_of_an_owner_from_those_that_hear_it() {
    for seed in 0..20 {
        let mut segment = running(3, 2, seed);
        segment.power(1, Kernel::Off);
        segment.run(1000 * MS, |_| {});
        assert_eq!(owner(&segment, vip(1)), Some(2));
        segment.paths.set_both(1, 2, Path { cut: true, ..Path::GOOD });
        segment.power(1, Kernel::Running);
        segment.start(1);
        segment.run(3000 * MS, |segment| assert_eq!(segment.macs(vip(1)).len(), 1, "seed {seed}"));
        assert_eq!(owner(&segment, vip(1)), Some(2));
    }
}

#[test]
fn what_hears_nobody_because_the_port_is_closed_everywhere_goes_by_rank() {
    for seed in 0..20 {
        let mut segment = segment(3, seed);
        for one in 0..3 {
            for other in 0..3 {
                segment.paths.set(one, other, Path { closed: true, ..Path::GOOD });
            }
        }
        let first = ballot(&segment, 1, 1);
        segment.ballot_to_all(vip(0), Some(&first));
        segment.run(5000 * MS, |segment| assert!(segment.macs(vip(0)).len() < 2, "seed {seed}"));
        assert_eq!(owner(&segment, vip(0)), Some(1), "seed {seed}");
    }
}

#[test]
fn two_owners_after_a_heal_are_one_within_200_ms() {
    for seed in 0..50 {
        let mut segment = running(5, 4, seed);
        for one in 0..2 {
            for other in 2..5 {
                segment.paths.set_both(one, other, Path { cut: true, ..Path::GOOD });
            }
        }
        segment.run(3000 * MS, |_| {});
        segment.paths.heal();
        segment.run(200 * MS, |_| {});
        segment.run(2000 * MS, |segment| {
            for low in 0..4 {
                assert_eq!(segment.macs(vip(low)).len(), 1, "seed {seed}");
            }
        });
        for low in 0..4 {
            let owner = owner(&segment, vip(low));
            assert_ne!(owner, Some(usize::from(low)), "seed {seed}: the later claim is the greater one");
            let learnt = segment.learnt.get(&vip(low)).copied();
            assert_eq!(
                owner.map(|owner| segment.machines[owner].mac),
                learnt,
                "seed {seed}: who announced last"
            );
        }
    }
}

#[test]
fn who_is_cut_off_claims_nothing_of_the_others() {
    for seed in 0..200 {
        let mut segment = running(3, 3, seed);
        cut_off(&mut segment, 0);
        segment.run(2000 * MS, |segment| {
            for low in 1..3 {
                assert!(!segment.answers(vip(low)).contains_key(&0), "seed {seed}");
            }
        });
        assert_eq!(segment.answers(vip(0)).len(), 1, "seed {seed}");
        assert!(!segment.answers(vip(0)).contains_key(&0), "seed {seed}");
    }
}

#[test]
fn a_gateway_that_is_gone_for_long_does_not_isolate_the_last_node() {
    let mut segment = running(2, 1, 1);
    let gateway = segment.gateway();
    for place in 0..2 {
        segment.paths.set_both(place, gateway, Path { cut: true, ..Path::GOOD });
    }
    // A witness is asked once a minute while another speaker is heard.
    segment.run(Duration::from_secs(70), |_| {});
    segment.power(0, Kernel::Off);
    segment.run(2000 * MS, |_| {});
    assert_eq!(owner(&segment, vip(0)), Some(1));
}

/// For how long two answered with different MACs.
fn overlap(segment: &mut Segment, address: IpAddr, time: Duration) -> Duration {
    let (mut both, mut since) = (Duration::ZERO, None);
    segment.run(time, |segment| {
        since = (segment.macs(address).len() > 1).then(|| since.unwrap_or(segment.now()));
        both = both.max(since.map_or(Duration::ZERO, |since| segment.now() - since));
    });
    both
}

#[test]
fn who_claims_what_is_owned_already_hears_so_at_once() {
    for seed in 0..20 {
        let mut segment = running(2, 0, seed);
        let (newer, older) = (ballot(&segment, 0, 2), ballot(&segment, 1, 1));
        segment.paths.set(0, 1, Path { cut: true, ..Path::GOOD });
        segment.ballot(0, vip(0), Some(&newer));
        segment.run(MS, |_| {});
        segment.paths.set(0, 1, Path::GOOD);
        // Heartbeats alone have to do.
        segment.paths.set(1, 0, Path { unannounced: true, ..Path::GOOD });
        segment.ballot(1, vip(0), Some(&older));
        let both = overlap(&mut segment, vip(0), 200 * MS);
        assert!(both < 5 * MS, "{both:?} seed {seed}");
        assert_eq!(owner(&segment, vip(0)), Some(0), "seed {seed}");
    }
}

/// More than can watch each other.
const MANY: usize = 20;

#[test]
fn among_many_the_next_in_rank_follows_whoever_has_just_claimed() {
    for first in 0..MANY {
        let mut segment = running(MANY, 0, 1);
        let (mut ballot, next) = (ballot(&segment, first, 1), (first + 1) % MANY);
        ballot.ranked.truncate(16);
        segment.ballot_to_all(vip(0), Some(&ballot));
        segment.run(100 * MS, |_| {});
        assert_eq!(owner(&segment, vip(0)), Some(first));
        segment.power(first, Kernel::Off);
        let (dark, owner) = outage(&mut segment, vip(0), 1000 * MS);
        assert_eq!(owner, Some(next), "after {first}");
        assert!(dark < 200 * MS, "{dark:?} after {first}");
    }
}

#[test]
fn of_many_most_may_be_lost_at_once() {
    let mut segment = running(MANY, 20, 1);
    (0..15).for_each(|place| segment.power(place, Kernel::Off));
    segment.run(3000 * MS, |_| {});
    for low in 0..20 {
        let owner = owner(&segment, vip(low));
        assert!(owner.is_some_and(|owner| owner >= 15), "{owner:?} owns {low}");
    }
}
