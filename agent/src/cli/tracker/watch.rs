//! `icecore tracker snapshot watch`, and the waiting of `create --hold`.

use super::super::context::Context;
use agent::output;
use agent::source::sys::SysRoot;
use agent::tracker::snapshots::{Event, What, event};
use agent::tracker::{Id, Module, TrackerError};
use nix::errno::Errno;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long one call waits, so that a signal is seen soon.
const TURN_MS: u32 = 500;

/// Options of `tracker snapshot watch`.
#[derive(clap::Args)]
pub struct Args {
    /// The snapshot
    #[arg(value_name = "ID", value_parser = super::parse_id)]
    id: Id,
    /// End after so many seconds [default: when the snapshot ends]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// End after the first event
    #[arg(long)]
    once: bool,
}

/// Prints events: a line each; with `--json` a line of JSON each. Ends when the snapshot does.
pub fn run(args: &Args, module: &dyn Module, sys: &SysRoot, context: &Context) -> anyhow::Result<()> {
    let stop = context.cancel()?;
    let deadline = args.timeout.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
    let mut first = true;
    while !stop.load(Ordering::Relaxed) && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        match next(module, sys, args.id) {
            Ok(None) => {}
            Ok(Some(event)) => {
                let mut line = if context.console.json() { serde_json::to_string(&event)? } else { text(&event) };
                line.push('\n');
                context.console.write(line.as_bytes())?;
                if args.once {
                    break;
                }
            }
            // It ended while it was watched, which is how watching ends; but it must have been there.
            Err(error) if !first && error.errno() == Some(Errno::ESRCH) => break,
            Err(error) => return Err(error.into()),
        }
        first = false;
    }
    Ok(())
}

/// Waits until `stop`, and warns of events meanwhile.
pub fn hold(
    module: &dyn Module,
    sys: &SysRoot,
    id: Id,
    stop: &AtomicBool,
    context: &Context,
) -> Result<(), TrackerError> {
    while !stop.load(Ordering::Relaxed) {
        match next(module, sys, id) {
            Ok(event) => event.iter().for_each(|event| context.console.warn(&text(event))),
            Err(error) if error.errno() == Some(Errno::ESRCH) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn next(module: &dyn Module, sys: &SysRoot, id: Id) -> Result<Option<Event>, TrackerError> {
    match module.wait_event(id, TURN_MS) {
        Err(error) if error.errno() == Some(Errno::EINTR) => Ok(None),
        other => Ok(other?.map(|raw| event(sys, &raw))),
    }
}

fn text(event: &Event) -> String {
    let at = event.at.map(|at| output::time(at) + " ").unwrap_or_default();
    let what = match &event.what {
        What::Corrupted { device, error } => {
            format!("the image of {} is no longer true: {}", output::name(device), output::name(error))
        }
        What::NoSpace { requested_bytes } => {
            let wanted = output::bytes(*requested_bytes);
            format!("the difference storage is at its limit and nearly full; it would need {wanted} more")
        }
        What::Unknown { code } => format!("event {code}, which this program does not know"),
    };
    at + &what
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_in_words() {
        let told = |what| text(&Event { at: None, what });
        let corrupted = told(What::Corrupted { device: "/dev/sda".into(), error: "I/O error (EIO)".into() });
        assert_eq!(corrupted, "the image of /dev/sda is no longer true: I/O error (EIO)");
        assert!(told(What::NoSpace { requested_bytes: 1 << 30 }).contains("1.0 GiB more"));
        assert!(told(What::Unknown { code: 7 }).contains("event 7"));
    }
}
