//! Threads whose work is short and waited for go before others.
//!
//! Encoding a picture takes milliseconds, and so does sending it; behind a busy browser or an update on the same cores
//! each would wait for longer than it takes. Raising a priority needs a right (`CAP_SYS_NICE`, or `LimitNICE=` in a
//! systemd unit); without it nothing changes.

use log::debug;

/// The nice value of such threads (`setpriority(2)`; 0 is everybody's, -20 the most urgent).
const NICE: i32 = -10;

/// Raises the calling thread's priority, and with it that of the threads it will start.
pub fn raise() {
    // On Linux a nice value is a thread's own.
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICE) {
        debug!("this thread keeps its priority: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_raised_if_the_system_allows_it_and_other_threads_are_not() {
        let raised = std::thread::spawn(|| {
            let before = rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap();
            raise();
            (before, rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap())
        });
        let (before, after) = raised.join().unwrap();
        assert!(after == NICE || after == before, "{before} became {after}");
        assert_eq!(rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap(), before);
    }
}
