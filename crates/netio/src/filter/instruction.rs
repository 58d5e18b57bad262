//! Instructions of classic BPF (`linux/bpf_common.h`): an accumulator, an index register, and jumps forward only.

use socket2::SockFilter;

pub(super) const LOAD_IMMEDIATE: u16 = 0x00;
pub(super) const LOAD_WORD: u16 = 0x20;
pub(super) const LOAD_HALF: u16 = 0x28;
pub(super) const LOAD_OCTET: u16 = 0x30;
pub(super) const LOAD_OCTET_AT_INDEX: u16 = 0x50;
pub(super) const LOAD_MEMORY: u16 = 0x60;
pub(super) const LOAD_LENGTH: u16 = 0x80;
/// The index becomes four times the low half of an octet: the length of an IPv4 header.
pub(super) const LOAD_INDEX_HEADER: u16 = 0xb1;
pub(super) const STORE: u16 = 0x02;
pub(super) const SUBTRACT: u16 = 0x14;
pub(super) const AND: u16 = 0x54;
pub(super) const SHIFT_LEFT_BY_INDEX: u16 = 0x6c;
pub(super) const TO_INDEX: u16 = 0x07;
pub(super) const FROM_INDEX: u16 = 0x87;
pub(super) const JUMP: u16 = 0x05;
pub(super) const JUMP_EQUAL: u16 = 0x15;
pub(super) const JUMP_GREATER: u16 = 0x25;
pub(super) const JUMP_GREATER_EQUAL: u16 = 0x35;
pub(super) const JUMP_BITS: u16 = 0x45;
pub(super) const RETURN: u16 = 0x06;

/// One of them, with its operand and how many instructions it skips if its condition holds, and if not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(super) code: u16,
    pub(super) holds: u8,
    pub(super) fails: u8,
    pub(super) operand: u32,
}

impl From<&Instruction> for SockFilter {
    fn from(instruction: &Instruction) -> Self {
        Self::new(instruction.code, instruction.holds, instruction.fails, instruction.operand)
    }
}

pub(super) const fn plain(code: u16, operand: u32) -> Instruction {
    Instruction { code, holds: 0, fails: 0, operand }
}

pub(super) const fn jump(code: u16, operand: u32, holds: u8, fails: u8) -> Instruction {
    Instruction { code, holds, fails, operand }
}

pub(super) const fn pass() -> Instruction {
    plain(RETURN, u32::MAX)
}

pub(super) const fn drop() -> Instruction {
    plain(RETURN, 0)
}
