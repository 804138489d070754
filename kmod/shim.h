/* SPDX-License-Identifier: GPL-2.0 */
/* What the C side and the Rust side of the module call of each other. ffi.rs is the same for Rust. */
#ifndef BLKSNAP_SHIM_H
#define BLKSNAP_SHIM_H

#include <linux/blkdev.h>

#include "blkfilter.h"

/* In Rust. */
unsigned int blkfilter_rust_submit(struct bio *bio);
unsigned int blkfilter_rust_submit_throttled(struct bio *bio);
void blkfilter_rust_handle(struct bio *bio);
long blkfilter_rust_ioctl(struct file *file, unsigned int cmd, unsigned long arg, bool compat);
bool blkfilter_rust_wants_ioctl(unsigned int cmd, bool compat);
ssize_t blkfilter_rust_show(struct block_device *bdev, char *buffer);
void blkfilter_rust_gone(struct block_device *bdev);
void blkfilter_rust_reap(void);
void blkfilter_rust_unhook(void);
bool blkfilter_rust_beat(void);
int blkfilter_rust_register(const void *ops);
void blkfilter_rust_unregister(const void *ops);
void blkfilter_rust_resubmit(void *filter, struct bio *bio);
void blksnap_rust_end_chained(void);

#endif
