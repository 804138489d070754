// SPDX-License-Identifier: GPL-2.0
//! The blksnap module.
use kernel::prelude::*;

module! {
    type: Blksnap,
    name: "blksnap",
    authors: ["Icecore"],
    description: "Changed-block tracking and copy-on-write snapshots",
    license: "GPL",
    params: {
        abi: i32 { default: 2, description: "abi", },
    },
}

struct Blksnap;
impl kernel::Module for Blksnap {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        pr_info!("loaded\n");
        Ok(Self)
    }
}
impl Drop for Blksnap { fn drop(&mut self) { pr_info!("unloaded\n"); } }
