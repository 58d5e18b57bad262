//! Which boot of the machine this is.

use crate::Error;

/// A name that no other boot has, of this machine or of another.
///
/// # Errors
/// When the kernel does not say.
pub fn id() -> Result<String, Error> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    Ok(id.map_err(Error::doing(|| "read the boot's name"))?.trim().to_owned())
}
