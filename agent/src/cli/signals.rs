//! SIGINT and SIGTERM: the first one asks the work to stop cleanly, the second one ends the process at once.

use super::failure::Code;
use anyhow::Context as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// Exit code of a process that ended by a signal, as shells count: 128 + its number.
const SIGNAL_BASE: u8 = 128;

struct Signals {
    cancel: Arc<AtomicBool>,
    received: Arc<AtomicUsize>,
}

static SIGNALS: OnceLock<Signals> = OnceLock::new();

/// Registers the handlers once and returns the flag that they set.
pub fn cancel() -> anyhow::Result<Arc<AtomicBool>> {
    if let Some(signals) = SIGNALS.get() {
        return Ok(signals.cancel.clone());
    }
    let signals = Signals { cancel: Arc::default(), received: Arc::default() };
    for signal in [SIGINT, SIGTERM] {
        let code = i32::from(SIGNAL_BASE) + signal;
        // In this order: the shutdown looks at the flag before this signal sets it.
        flag::register_conditional_shutdown(signal, code, signals.cancel.clone())
            .and_then(|_| flag::register(signal, signals.cancel.clone()))
            .and_then(|_| flag::register_usize(signal, signals.received.clone(), signal.unsigned_abs() as usize))
            .context("cannot handle signals")?;
    }
    Ok(SIGNALS.get_or_init(|| signals).cancel.clone())
}

/// The process's exit code: an interruption names its signal.
pub fn exit_code(code: Code) -> ExitCode {
    let received = SIGNALS.get().map_or(0, |signals| signals.received.load(Ordering::Relaxed));
    match (code, u8::try_from(received)) {
        (Code::Interrupted, Ok(signal)) if signal > 0 => ExitCode::from(SIGNAL_BASE + signal),
        _ => ExitCode::from(code as u8),
    }
}
