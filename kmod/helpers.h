/* SPDX-License-Identifier: GPL-2.0 */
/* What the C side and the Rust side of the module call of each other. ffi.rs is the same for Rust. */
#ifndef BLKSNAP_HELPERS_H
#define BLKSNAP_HELPERS_H

#include <linux/blkdev.h>

/* In Rust. */
bool blkfilter_rust_submit(struct bio *bio);
long blkfilter_rust_ioctl(struct file *file, unsigned int cmd, unsigned long arg, bool compat);
bool blkfilter_rust_wants_ioctl(unsigned int cmd, bool compat);
ssize_t blkfilter_rust_show(struct block_device *bdev, char *buffer);
void blkfilter_rust_gone(struct block_device *bdev);
void blkfilter_rust_reap(void);
void blkfilter_rust_unhook(void);
int blkfilter_rust_register(const void *ops);
void blkfilter_rust_unregister(const void *ops);
void blkfilter_rust_resubmit(void *filter, struct bio *bio);
void blksnap_rust_end_chained(void);

#endif
