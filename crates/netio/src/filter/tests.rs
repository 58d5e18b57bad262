use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::instruction::{
    AND, FROM_INDEX, JUMP, JUMP_GREATER_EQUAL, LOAD_IMMEDIATE, LOAD_MEMORY, RETURN, SHIFT_LEFT_BY_INDEX,
    STORE, SUBTRACT, TO_INDEX,
};
use super::*;

/// What the kernel does with a program and a frame for all, and how many instructions that takes.
fn interpret(program: &[Instruction], frame: &[u8]) -> (bool, usize) {
    let octets = |at: u32, count: usize| {
        let at = usize::try_from(at).unwrap();
        frame.get(at..at + count).map(|octets| octets.iter().fold(0, |all, one| all << 8 | u32::from(*one)))
    };
    let (mut value, mut index, mut memory) = (0u32, 0u32, None);
    let (mut at, mut taken) = (0, 0);
    loop {
        let Instruction { code, holds, fails, operand } = program[at];
        at += 1;
        taken += 1;
        let mut branch = |condition| at += usize::from(if condition { holds } else { fails });
        let loaded = match code {
            LOAD_WORD if operand == PACKET_TYPE => Some(1),
            LOAD_WORD => octets(operand, 4),
            LOAD_HALF => octets(operand, 2),
            LOAD_OCTET => octets(operand, 1),
            LOAD_OCTET_AT_INDEX => octets(operand + index, 1),
            LOAD_LENGTH => Some(u32::try_from(frame.len()).unwrap()),
            LOAD_IMMEDIATE => Some(operand),
            LOAD_MEMORY => Some(memory.unwrap()),
            SUBTRACT => Some(value.wrapping_sub(operand)),
            AND => Some(value & operand),
            SHIFT_LEFT_BY_INDEX => Some(value << index),
            FROM_INDEX => Some(index),
            _ => Some(value),
        };
        // The kernel drops a frame that is too short for what is loaded from it.
        let Some(loaded) = loaded else { return (false, taken) };
        value = loaded;
        match code {
            JUMP_EQUAL => branch(value == operand),
            JUMP_GREATER => branch(value > operand),
            JUMP_GREATER_EQUAL => branch(value >= operand),
            JUMP_BITS => branch(value & operand != 0),
            JUMP => at += usize::try_from(operand).unwrap(),
            STORE => memory = Some(value),
            TO_INDEX => index = value,
            LOAD_INDEX_HEADER => index = 4 * (octets(operand, 1).unwrap() & 0x0f),
            RETURN => return (operand != 0, taken),
            _ => {}
        }
    }
}

fn arp(sender: u32, target: u32) -> Vec<u8> {
    let head = [0; 12].into_iter().chain([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]).chain([0; 6]);
    head.chain(sender.to_be_bytes()).chain([0; 6]).chain(target.to_be_bytes()).collect()
}

fn filter(values: impl IntoIterator<Item = u32>) -> Filter {
    values.into_iter().map(|value| IpAddr::V4(Ipv4Addr::from_bits(value))).collect()
}

/// Whether the program passes a frame with the value as target, and as sender.
fn passes(program: &[Instruction], value: u32) -> [bool; 2] {
    // One that is in no set below.
    let nobody = 0x0900_0000;
    [arp(nobody, value), arp(value, nobody)].map(|frame| interpret(program, &frame).0)
}

/// Sets as nodes own them: dense ranges, every third address of a pool, addresses anywhere, and the extremes.
fn sets() -> impl Strategy<Value = BTreeSet<u32>> {
    let somewhere = prop_oneof![Just(0x0a00_0000u32), Just(0xc0a8_0000), Just(0xffff_f000)];
    let range = (somewhere.clone(), 0u32..200, 1u32..300)
        .prop_map(|(base, from, count)| (base + from..base + from + count).collect::<Vec<_>>());
    let share = (somewhere, prop::collection::vec(0u32..4000, 0..700))
        .prop_map(|(base, all)| all.into_iter().map(|offset| base + offset).collect());
    let anywhere = prop::collection::vec(any::<u32>(), 0..300);
    let extremes = Just(vec![0, u32::MAX]);
    let parts = prop::collection::vec(prop_oneof![range, share, anywhere, extremes], 0..4);
    parts.prop_map(|parts| parts.into_iter().flatten().filter(|value| *value >> 24 != 9).collect())
}

proptest! {
    #[test]
    fn exactly_the_addresses_pass(values in sets(), others: Vec<u32>) {
        let program = filter(values.iter().copied()).arp_program(usize::MAX);
        let near = values.iter().flat_map(|value| [value.wrapping_sub(1), *value, value.wrapping_add(1)]);
        for value in near.chain(others).filter(|value| value >> 24 != 9) {
            prop_assert_eq!(passes(&program, value), [values.contains(&value); 2], "{:#x}", value);
        }
    }

    #[test]
    fn a_shorter_program_passes_all_addresses_still(values in sets(), longest in 0usize..LONGEST) {
        let program = filter(values.iter().copied()).arp_program(longest);
        // Where one range is left, it is as short as it can be.
        prop_assert!(program.len() <= longest.max(8 + 2 * 5), "{}", program.len());
        for value in values {
            prop_assert_eq!(passes(&program, value), [true; 2]);
        }
    }
}

#[test]
fn a_thousand_addresses_without_neighbours_are_told_apart() {
    let values: Vec<_> = (0..1000u32).map(|number| 0x0a00_0000 + number * 97).collect();
    let program = filter(values.iter().copied()).arp_program(LONGEST);
    assert!(program.len() <= LONGEST, "{}", program.len());
    let (mut most, mut passed) = (0, 0);
    for value in 0x0a00_0000..0x0a00_0000 + 97_000 {
        let (passes, taken) = interpret(&program, &arp(0x0900_0000, value));
        passed += usize::from(passes);
        most = most.max(taken);
    }
    assert_eq!(passed, values.len());
    // Seven for the kind of frame, and twice ten comparisons.
    assert!(most <= 45, "{most} instructions for one frame");
}

#[test]
fn a_third_of_a_pool_of_ten_thousand_is_told_apart() {
    let values: Vec<_> =
        (0..10_000u32).filter(|number| number.wrapping_mul(2_654_435_761) % 3 == 0).collect();
    let program = filter(values.iter().map(|value| value + 0x0a00_0000)).arp_program(LONGEST);
    assert!(program.len() <= LONGEST, "{}", program.len());
    let passed = (0..10_000).filter(|value| passes(&program, value + 0x0a00_0000) == [true; 2]);
    assert_eq!(passed.collect::<Vec<_>>(), values);
}

#[test]
fn of_more_than_fit_some_that_lie_between_pass_as_well() {
    let values: Vec<_> = (0..20_000u32).map(|number| number * number * 9).collect();
    let program = filter(values.iter().copied()).arp_program(LONGEST);
    assert!(program.len() <= LONGEST && program.len() > LONGEST / 2, "{}", program.len());
    assert!(
        values.iter().filter(|value| *value >> 24 != 9).all(|value| passes(&program, *value) == [true; 2])
    );
    let far = u32::MAX - 5;
    assert!(!interpret(&program, &arp(far, far)).0);
}

#[test]
fn without_addresses_nothing_passes() {
    let programs: [Program; 4] =
        [Filter::arp_program, Filter::ndp_program, Filter::echo_program, Filter::echo_v6_program];
    for program in programs {
        let program = program(&Filter::default(), LONGEST);
        assert!(program.len() < 20);
        assert!(!interpret(&program, &[0; 80]).0);
        assert!(!interpret(&program, &arp(1, 1)).0);
    }
}

/// An IPv4 packet with these header octets, fragment field, protocol, destination and first octet behind the header.
fn ipv4(words: u8, fragment: u16, protocol: u8, destination: u32, kind: u8) -> Vec<u8> {
    let mut packet = vec![0x40 | words, 0, 0, 0, 0, 0];
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0, 1, 2, 3, 4]);
    packet.extend(destination.to_be_bytes());
    packet.resize(usize::from(words) * 4, 0);
    packet.push(kind);
    packet.resize(packet.len() + 20, 0);
    [&[0; 12], [8, 0].as_slice(), &packet].concat()
}

#[test]
fn echo_requests_to_the_addresses_pass_and_no_other_ipv4_packets() {
    let program = filter([10, 12]).echo_program(LONGEST);
    let long = |mut frame: Vec<u8>, length| {
        frame.resize(length, 0);
        frame
    };
    let cases = [
        ("request", ipv4(5, 0, 1, 10, 8), true),
        ("request behind options", ipv4(9, 0, 1, 12, 8), true),
        ("request that must not be fragmented", ipv4(5, 0x4000, 1, 12, 8), true),
        ("the longest", long(ipv4(5, 0, 1, 10, 8), 1514), true),
        ("longer", long(ipv4(5, 0, 1, 10, 8), 1515), false),
        ("to another", ipv4(5, 0, 1, 11, 8), false),
        ("reply", ipv4(5, 0, 1, 10, 0), false),
        ("UDP", ipv4(5, 0, 17, 10, 8), false),
        ("first fragment", ipv4(5, 0x2000, 1, 10, 8), false),
        ("later fragment", ipv4(5, 100, 1, 10, 8), false),
    ];
    for (name, frame, expected) in cases {
        assert_eq!(interpret(&program, &frame).0, expected, "{name}");
    }
}

#[test]
fn echo_requests_to_the_addresses_pass_and_no_other_ipv6_packets() {
    let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
    let program = Filter::from_iter([IpAddr::V6(address)]).echo_v6_program(LONGEST);
    let packet = |next_header, destination: Ipv6Addr, kind| {
        let head = [0x60, 0, 0, 0, 0, 8, next_header, 64].into_iter().chain([0; 16]);
        let ip = head.chain(destination.octets()).chain([kind, 0, 0, 0, 0, 0, 0, 0]);
        [0; 12].into_iter().chain([0x86, 0xdd]).chain(ip).collect::<Vec<u8>>()
    };
    let other = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x11);
    assert!(interpret(&program, &packet(58, address, 128)).0);
    assert!(!interpret(&program, &packet(58, other, 128)).0);
    assert!(!interpret(&program, &packet(58, address, 129)).0);
    assert!(!interpret(&program, &packet(58, address, 135)).0);
    assert!(!interpret(&program, &packet(17, address, 128)).0);
}

#[test]
fn a_filter_says_what_it_passes() {
    let mut filter = filter([10]);
    let address = |last| IpAddr::V4(Ipv4Addr::from_bits(last));
    assert!(filter.passes(address(10)) && !filter.passes(address(11)));
    filter.extend([address(11), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
    assert!(filter.passes(address(11)) && filter.passes(IpAddr::V6(Ipv6Addr::LOCALHOST)));
    assert!(!filter.passes(IpAddr::V6(Ipv6Addr::UNSPECIFIED)));
}
