//! When the kernel lets a thread run.

use std::io;

use libc::{SCHED_FIFO, SCHED_RESET_ON_FORK, c_long, sched_param};

use crate::Error;

/// The lowest of the real-time priorities: before every ordinary thread, behind the kernel's own.
const PRIORITY: i32 = 1;

/// Lets the calling thread run before all ordinary ones (`SCHED_FIFO`). What it starts is ordinary again.
///
/// The thread must never compute for long: nothing ordinary runs on its processor meanwhile.
///
/// # Errors
/// Without `CAP_SYS_NICE` or a fitting `RLIMIT_RTPRIO`, and where the kernel gives the control group no real-time
/// budget. The thread is as before.
pub fn prefer_this_thread() -> Result<(), Error> {
    set().map_err(Error::doing(|| "ask for real-time priority"))
}

const CALLING_THREAD: c_long = 0;

/// The system call itself: musl's function of that name only says that it is not there.
#[expect(unsafe_code, reason = "a system call")]
fn set() -> io::Result<()> {
    let policy = c_long::from(SCHED_FIFO | SCHED_RESET_ON_FORK);
    // SAFETY: all octets zero is a valid value: it has integers only, of which musl adds some.
    let mut parameter: sched_param = unsafe { std::mem::zeroed() };
    parameter.sched_priority = PRIORITY;
    // SAFETY: the kernel only reads `parameter`, which outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_sched_setscheduler, CALLING_THREAD, policy, std::ptr::from_ref(&parameter))
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const NOBODY: u32 = 65534;

    /// The policy and the real-time priority of the calling thread, which are fields 41 and 40 of proc_pid_stat(5).
    fn policy() -> (i32, i32) {
        let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, behind_name) = stat.rsplit_once(')').unwrap();
        let fields: Vec<i32> =
            behind_name.split_whitespace().skip(37).take(2).map(|field| field.parse().unwrap()).collect();
        (fields[1], fields[0])
    }

    /// Of the calling thread alone, unlike the function of the C library.
    #[expect(unsafe_code, reason = "a system call")]
    fn become_user(user: u32) {
        let id = c_long::from(user);
        // SAFETY: it takes numbers only.
        assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, id, id, id) }, 0);
    }

    #[test]
    fn a_thread_that_asked_is_real_time_and_those_that_it_starts_are_not() {
        std::thread::spawn(|| {
            assert_eq!(policy(), (libc::SCHED_OTHER, 0));
            prefer_this_thread().unwrap();
            assert_eq!(policy(), (SCHED_FIFO, PRIORITY));
            assert_eq!(std::thread::spawn(policy).join().unwrap(), (libc::SCHED_OTHER, 0));
        })
        .join()
        .unwrap();
        assert_eq!(policy(), (libc::SCHED_OTHER, 0));
    }

    #[test]
    fn without_the_privilege_the_kernel_says_so_and_the_thread_is_as_before() {
        std::thread::spawn(|| {
            become_user(NOBODY);
            let error = prefer_this_thread().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert_eq!(error.doing, "ask for real-time priority");
            assert_eq!(policy(), (libc::SCHED_OTHER, 0));
        })
        .join()
        .unwrap();
    }
}
