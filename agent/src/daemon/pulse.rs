//! Signs of life, and the machine's disks with them when they are others than before.

use super::link::Asked;
use super::pause::{self, Pauses};
use super::{Daemon, Refused, devices, service};
use std::time::Duration;
use web_api::agent_work::Heartbeat;
use web_api::device::Device;

/// What the server knows, and when it wants to hear again.
pub struct Pulse {
    devices: Vec<Device>,
    again_in: Duration,
}

impl Daemon<'_> {
    /// The first sign of life, sent until the server takes it or a signal comes. Only then jobs are asked for: it frees those of an
    /// earlier process.
    pub(super) fn pulse_begin(&self) -> Result<Option<Pulse>, Refused> {
        let mut pauses = Pauses::default();
        while !self.is_stopping() {
            let devices = devices::list(&self.sys);
            match self.lane.link.heartbeat(&self.said(true, Some(devices.clone()))) {
                Ok(answer) => {
                    tracing::info!(devices = devices.len(), "the server knows this agent; waiting for jobs");
                    service::status("waiting for jobs");
                    let again_in = Duration::from_secs(answer.again_in_s.max(1).into());
                    return Ok(Some(Pulse { devices, again_in }));
                }
                Err(Asked::Refused(refused)) => return Err(refused),
                Err(Asked::Away(why)) => {
                    let pause = pauses.another();
                    tracing::warn!(why, pause_s = pause.as_secs(), "the server is not reached");
                    service::status(&format!("cannot reach the server: {why}"));
                    pause::wait(pause, &self.stop);
                }
            }
        }
        Ok(None)
    }

    /// Signs of life until the end. What the server refuses here it refuses where jobs are asked for, too, and there it is told.
    pub(super) fn pulse(&self, began: Option<Pulse>) {
        let Some(Pulse { mut devices, mut again_in }) = began else { return };
        loop {
            pause::wait(again_in, &self.stop);
            if self.is_stopping() {
                return;
            }
            let now = devices::list(&self.sys);
            let news = (now != devices).then(|| now.clone());
            match self.lane.link.heartbeat(&self.said(false, news)) {
                Ok(answer) => {
                    devices = now;
                    again_in = Duration::from_secs(answer.again_in_s.max(1).into());
                }
                Err(asked) => tracing::debug!(?asked, "a sign of life was not taken"),
            }
        }
    }

    fn said(&self, begins: bool, devices: Option<Vec<Device>>) -> Heartbeat {
        let boot_id = std::fs::read_to_string(self.sys.join("/proc/sys/kernel/random/boot_id".as_ref()));
        Heartbeat {
            instance: self.lane.link.instance(),
            begins,
            version: env!("CARGO_PKG_VERSION").into(),
            host: self.host.clone(),
            boot_id: boot_id.unwrap_or_default().trim().to_owned(),
            devices,
        }
    }
}
