//! Randomness.

use crate::Error;

/// Octets that nobody can foresee.
///
/// # Errors
/// When the kernel gives one.
pub fn octets<const N: usize>() -> Result<[u8; N], Error> {
    let mut octets = [0; N];
    fill(&mut octets).map_err(Error::doing(|| "read random octets"))?;
    Ok(octets)
}

#[expect(unsafe_code, reason = "a system call")]
fn fill(octets: &mut [u8]) -> std::io::Result<()> {
    // SAFETY: the pointer and the length describe `octets`, which outlives the call.
    let filled = unsafe { libc::getrandom(octets.as_mut_ptr().cast(), octets.len(), 0) };
    // Up to 256 octets come whole or not at all (getrandom(2)).
    if usize::try_from(filled) == Ok(octets.len()) { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
