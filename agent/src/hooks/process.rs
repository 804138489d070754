//! One program, run within a time limit: its output is kept in bounded memory, its process group ends at the limit, it is always reaped.
//!
//! What leaves the group on purpose (`setsid`) lives on: a hook may leave behind what keeps a lock until `after`. So may what stays in the
//! group of a program that ended in time.

use super::captured::Captured;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use std::io::{self, PipeReader, Read as _};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between the polite signal and the last one, and between that and giving up.
const GRACE: Duration = Duration::from_secs(3);
/// How long output is waited for that a program's children still hold open.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// How often the cancel flag is looked at.
const GLANCE: Duration = Duration::from_millis(100);

/// How a program ended.
#[derive(Debug)]
pub enum End {
    /// By itself.
    Exited(ExitStatus),
    /// At the time limit.
    TimedOut {
        /// False when even SIGKILL did not end it: it hangs in the kernel.
        is_gone: bool,
    },
    /// Because the job was stopped.
    Cancelled,
}

/// A run.
#[derive(Debug)]
pub struct Ran {
    /// How it ended.
    pub end: End,
    /// What it printed to both outputs.
    pub output: Captured,
    /// How long it took.
    pub duration: Duration,
}

/// Runs the program to its end, the limit or the job's, whichever comes first. Fails only when it could not be started.
pub fn run(mut command: Command, limit: Duration, cancel: Option<&AtomicBool>) -> io::Result<Ran> {
    let started = Instant::now();
    let (reader, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    let child = command.spawn()?;
    // Our ends of the pipe stand in the command; with them open the output would never end.
    drop(command);
    let output = Output::read(reader);
    let watched = Watched::new(child);
    let end = match watched.wait(started + limit, cancel) {
        Waited::Ended => End::Exited(watched.reap()?),
        Waited::Cancelled => {
            watched.kill();
            End::Cancelled
        }
        Waited::TooLong => End::TimedOut { is_gone: watched.kill() },
    };
    Ok(Ran { end, output: output.so_far(), duration: started.elapsed() })
}

/// A program's output, taken by a thread until everybody who has it closed it. That may be long after the program: then the thread
/// goes on alone, so that nobody is stopped by a closed pipe.
struct Output {
    captured: Arc<Mutex<Captured>>,
    closed: Receiver<()>,
}

impl Output {
    fn read(mut reader: PipeReader) -> Self {
        let captured: Arc<Mutex<Captured>> = Arc::default();
        let (open, closed) = channel::<()>();
        let shared = Arc::clone(&captured);
        std::thread::spawn(move || {
            // Dropped at the end: that is what `closed` hears.
            let _open = open;
            let mut buffer = vec![0; 1 << 16];
            loop {
                match reader.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(length) => shared.lock().expect("no panic while held").push(&buffer[..length]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
            }
        });
        Self { captured, closed }
    }

    fn so_far(self) -> Captured {
        let _ = self.closed.recv_timeout(LAST_WORDS);
        self.captured.lock().expect("no panic while held").clone()
    }
}

enum Waited {
    Ended,
    Cancelled,
    TooLong,
}

/// A child and the thread that reaps it. The thread notices its end but leaves it a zombie until it is told: so its number, and with
/// it the group's, means nobody else while signals are sent.
struct Watched {
    group: Pid,
    ended: Receiver<()>,
    release: Sender<()>,
    keeper: JoinHandle<io::Result<ExitStatus>>,
}

impl Watched {
    fn new(mut child: Child) -> Self {
        let group = Pid::from_raw(i32::try_from(child.id()).expect("the kernel's numbers of processes fit"));
        let (tell, ended) = channel();
        let (release, released) = channel::<()>();
        let keeper = std::thread::spawn(move || {
            while let Err(Errno::EINTR) = waitid(Id::Pid(group), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {}
            let _ = tell.send(());
            // Ends when the sender is dropped, too.
            let _ = released.recv();
            child.wait()
        });
        Self { group, ended, release, keeper }
    }

    fn wait(&self, until: Instant, cancel: Option<&AtomicBool>) -> Waited {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.ended.recv_timeout(left.min(GLANCE)) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return Waited::Ended,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
                return Waited::Cancelled;
            }
            if left.is_zero() {
                return Waited::TooLong;
            }
        }
    }

    /// Ends the whole group, first politely. False when the program did not end: then its thread reaps it whenever it does.
    fn kill(self) -> bool {
        let _ = killpg(self.group, Signal::SIGTERM);
        let is_gone = self.ended.recv_timeout(GRACE).is_ok();
        // Its children may have ignored the first signal even if it did not.
        let _ = killpg(self.group, Signal::SIGKILL);
        if is_gone || self.ended.recv_timeout(GRACE).is_ok() {
            let _ = self.reap();
            return true;
        }
        false
    }

    fn reap(self) -> io::Result<ExitStatus> {
        drop(self.release);
        self.keeper.join().unwrap_or_else(|_| Err(io::Error::other("the thread that waits for it is gone")))
    }
}

#[cfg(test)]
mod tests {
    use super::{End, Ran, run};
    use nix::sys::signal::kill;
    use nix::unistd::Pid;
    use std::process::Command;
    use std::sync::atomic::AtomicBool;
    use std::time::{Duration, Instant};

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(300);

    fn shell(text: &str, limit: Duration) -> Ran {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", text]);
        run(command, limit, None).unwrap()
    }

    #[test]
    fn the_exit_status_and_both_outputs_are_told() {
        let ran = shell("echo out; echo err >&2; exit 3", LONG);
        assert!(matches!(ran.end, End::Exited(status) if status.code() == Some(3)), "{ran:?}");
        assert_eq!(ran.output.text(), "out\nerr");
    }

    #[test]
    fn at_the_limit_the_whole_group_is_gone_and_reaped() {
        let ran = shell("trap '' TERM; sleep 600 & echo $!; echo $$; sleep 600", SHORT);
        assert!(matches!(ran.end, End::TimedOut { is_gone: true }), "{ran:?}");
        for number in ran.output.text().lines() {
            let pid = Pid::from_raw(number.parse().unwrap());
            let began = Instant::now();
            // A child of the killed shell is reaped by the machine's init, which takes a moment, or stays a zombie without one.
            let is_gone = || match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
                Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
                Err(_) => kill(pid, None).is_err(),
            };
            while !is_gone() {
                assert!(began.elapsed() < LONG, "{pid} lives");
            }
        }
    }

    #[test]
    fn a_child_that_keeps_the_output_open_does_not_keep_us() {
        let began = Instant::now();
        let ran = shell("sleep 20 & echo $!", LONG);
        assert!(matches!(ran.end, End::Exited(status) if status.success()), "{ran:?}");
        assert!(began.elapsed() < Duration::from_secs(15));
        let left = Pid::from_raw(ran.output.text().parse().unwrap());
        kill(left, nix::sys::signal::Signal::SIGKILL).expect("it lives on");
    }

    #[test]
    fn an_endless_output_is_counted_and_its_end_kept() {
        let ran = shell("yes | head -c 50000000; echo; echo the end", LONG);
        assert_eq!(ran.output.total_bytes(), 50_000_009);
        assert!(ran.output.text().ends_with("the end") && ran.output.text().len() < 5000);
    }

    #[test]
    fn a_job_that_is_stopped_stops_its_program() {
        let mut command = Command::new("sleep");
        command.arg("600");
        let ran = run(command, LONG, Some(&AtomicBool::new(true))).unwrap();
        assert!(matches!(ran.end, End::Cancelled), "{ran:?}");
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        assert!(run(Command::new("/no/such/program"), LONG, None).is_err());
    }
}
