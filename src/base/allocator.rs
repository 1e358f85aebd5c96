//! What becomes of memory that is given back.
//!
//! glibc raises by itself the size from which a block is the system's own, up to 32 MiB; smaller ones are kept by whichever of
//! its arenas a thread happened to have. So a flood of logins left the 19 MiB of a hash in one arena after the other. Once a size
//! is set, it stays.

use std::ffi::c_int;

/// Larger blocks go back to the system at once: a password's hash, and no frame below 4K, whose blocks come and go all the time.
const KEPT_BYTES: c_int = 16 << 20;

/// Sets it, for the whole process.
pub fn set_up() {
    #[cfg(target_env = "gnu")]
    for parameter in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: mallopt may be called at any time, and refuses values that it cannot use.
        if unsafe { libc::mallopt(parameter, KEPT_BYTES) } == 0 {
            log::debug!("the allocator does not take {parameter} = {KEPT_BYTES}");
        }
    }
}
