// SPDX-License-Identifier: GPL-2.0
//! The events of one snapshot and who waits for them.

use kernel::{
    bindings, new_condvar, new_mutex,
    prelude::*,
    sync::{Arc, CondVar, CondVarTimeoutResult, Mutex},
    time::msecs_to_jiffies,
};

use crate::event_queue::{Event, EventQueue, Stamped};

struct Inner {
    queue: EventQueue,
    /// The snapshot is destroyed; nothing comes any more.
    closed: bool,
}

/// A queue that outlives its snapshot until the last waiter has left.
#[pin_data]
pub struct Events {
    #[pin]
    inner: Mutex<Inner>,
    #[pin]
    changed: CondVar,
}

impl Events {
    pub fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                inner <- new_mutex!(Inner { queue: EventQueue::new(), closed: false }),
                changed <- new_condvar!(),
            }),
            GFP_KERNEL,
        )
    }

    /// Adds an event and wakes those who wait. May sleep.
    pub fn push(&self, event: Event) {
        // SAFETY: no preconditions.
        let time_ns = unsafe { bindings::ktime_get_real() };
        self.inner.lock().queue.push(event, time_ns);
        self.changed.notify_all();
    }

    /// Wakes all who wait, for good.
    pub fn close(&self) {
        self.inner.lock().closed = true;
        self.changed.notify_all();
    }

    /// The oldest event. `ENOENT` after the timeout, `EINTR`, `ESRCH` when the snapshot goes.
    pub fn wait(&self, timeout_ms: u32) -> Result<Stamped> {
        let mut inner = self.inner.lock();
        let mut left = msecs_to_jiffies(timeout_ms);
        loop {
            if let Some(event) = inner.queue.pop() {
                return Ok(event);
            }
            if inner.closed {
                return Err(ESRCH);
            }
            if left == 0 {
                return Err(ENOENT);
            }
            left = match self.changed.wait_interruptible_timeout(&mut inner, left) {
                CondVarTimeoutResult::Woken { jiffies } => jiffies,
                CondVarTimeoutResult::Timeout => 0,
                CondVarTimeoutResult::Signal { .. } => return Err(EINTR),
            };
        }
    }

    /// (events that wait, events that were dropped)
    pub fn counts(&self) -> (u32, u32) {
        let inner = self.inner.lock();
        (u32::try_from(inner.queue.len()).unwrap_or(u32::MAX), inner.queue.dropped())
    }
}
