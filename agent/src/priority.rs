//! How much a job yields to whatever else the machine does: CPU and I/O priority of single threads.
//!
//! One of the few files with `unsafe`: three system calls that take and return plain numbers and that `nix` does not have.

use nix::libc;

/// How much a job yields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Nice 10, and the last level of best-effort I/O. On an idle machine that costs nothing. Not the idle class of I/O: on a disk that
    /// never rests it may wait for ever, and with it the snapshot and everything that this has to preserve.
    #[default]
    Low,
    /// As the process was started.
    Normal,
}

/// Nice of a low priority: about a tenth of what a process with nice 0 gets when both want the same processor.
const LOW_NICE: libc::c_int = 10;
/// linux/ioprio.h: the class stands above 13 bits of level.
const IO_CLASS_SHIFT: libc::c_int = 13;
const IO_CLASS_BEST_EFFORT: libc::c_int = 2;
const IO_CLASS_IDLE: libc::c_int = 3;
const IO_LAST_LEVEL: libc::c_int = 7;
/// `IOPRIO_WHO_PROCESS`: one thread; number 0 is the caller.
const WHO_THREAD: libc::c_int = 1;
const THIS_THREAD: libc::c_int = 0;

impl Priority {
    /// Applies it to the calling thread and to threads that it starts later. Never raises what was lower before. A system that refuses is
    /// no failure: the job only yields less.
    pub fn apply_to_this_thread(self) {
        if self == Self::Normal {
            return;
        }
        if nice_of_this_thread() < LOW_NICE {
            // SAFETY: takes three numbers and touches no memory of ours.
            let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, LOW_NICE) };
            told("nice", i64::from(result));
        }
        if io_class_of_this_thread() != IO_CLASS_IDLE {
            let value = IO_CLASS_BEST_EFFORT << IO_CLASS_SHIFT | IO_LAST_LEVEL;
            // SAFETY: the system call takes three numbers and touches no memory of ours.
            let result = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_THREAD, THIS_THREAD, value) };
            told("ioprio", result);
        }
    }
}

fn nice_of_this_thread() -> libc::c_int {
    // SAFETY: takes two numbers and touches no memory of ours. For the caller itself it cannot fail.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

fn io_class_of_this_thread() -> libc::c_int {
    // SAFETY: the system call takes two numbers and touches no memory of ours.
    let value = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_THREAD, THIS_THREAD) };
    libc::c_int::try_from(value >> IO_CLASS_SHIFT).unwrap_or(0)
}

fn told(what: &str, result: i64) {
    if result != 0 {
        tracing::debug!(what, error = %std::io::Error::last_os_error(), "the priority could not be lowered");
    }
}

#[cfg(test)]
mod tests {
    use super::{IO_CLASS_BEST_EFFORT, LOW_NICE, Priority, io_class_of_this_thread, nice_of_this_thread};

    /// In a thread of its own: a lowered priority cannot be raised again without rights.
    fn in_a_thread<R: Send + 'static>(run: impl FnOnce() -> R + Send + 'static) -> R {
        std::thread::spawn(run).join().unwrap()
    }

    #[test]
    fn low_lowers_the_thread_and_those_that_it_starts_but_no_other() {
        let before = nice_of_this_thread();
        let (own, started) = in_a_thread(|| {
            Priority::Low.apply_to_this_thread();
            let of = || (nice_of_this_thread(), io_class_of_this_thread());
            (of(), std::thread::spawn(of).join().unwrap())
        });
        assert_eq!(own, (before.max(LOW_NICE), IO_CLASS_BEST_EFFORT));
        assert_eq!(started, own);
        assert_eq!(nice_of_this_thread(), before);
    }

    #[test]
    fn normal_changes_nothing() {
        let before = nice_of_this_thread();
        assert_eq!(
            in_a_thread(|| {
                Priority::Normal.apply_to_this_thread();
                nice_of_this_thread()
            }),
            before
        );
    }
}
