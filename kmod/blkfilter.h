/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Block device filters: see every bio of a block device, and hold it back if need be.
 *
 * A filter registers once; user space attaches it to block devices (see docs/kernel/blkfilter.md).
 */
#ifndef BLKFILTER_H
#define BLKFILTER_H

#include <linux/blkdev.h>

#define BLKFILTER_NAME_LENGTH 32

struct blkfilter;

/* What a filter does with a bio. */
enum blkfilter_verdict {
	/* Nothing more: it goes on. */
	BLKFILTER_PASS,
	/* The filter owns it now and gives it back with blkfilter_resubmit(). */
	BLKFILTER_HELD,
	/* The same, and handle_bio is called next, in the submitter's context. Only by blkfilter_here(). */
	BLKFILTER_HERE,
};

struct blkfilter_ops {
	struct module *owner;
	/* Ends with a zero. */
	char name[BLKFILTER_NAME_LENGTH];
	/* Also show reads, not only what changes the device. */
	bool reads;
	/* Begins to filter filter->bdev; the options are those of the ioctl. May sleep. */
	int (*attach)(struct blkfilter *filter, u64 opt, u32 optlen);
	/*
	 * Ends it. No submit_bio runs any more, and none will. May sleep. All bios that the filter holds must have
	 * been resubmitted before it returns.
	 */
	void (*detach)(struct blkfilter *filter);
	/* Whether it may be detached now: 0 or -EBUSY. Not asked when the device is gone. May sleep. */
	int (*may_detach)(struct blkfilter *filter);
	/* The device vanishes; detach follows when whoever uses the filter lets go of it. May sleep. */
	void (*gone)(struct blkfilter *filter);
	/*
	 * A command of user space. *optlen is also returned to it. May sleep, and copy from and to user space: no lock
	 * is held. The filter stays attached until it returns; several commands may run at once.
	 */
	int (*ctl)(struct blkfilter *filter, u32 cmd, u64 opt, u32 *optlen);
	/*
	 * A bio that touches the sectors first .. first + count of filter->bdev (a bio of the whole disk or of another
	 * partition that touches them is shown too; count is 0 for a flush without data). Called with preemption off
	 * and must not sleep.
	 */
	enum blkfilter_verdict (*submit_bio)(struct blkfilter *filter, struct bio *bio, sector_t first, sector_t count);
	/*
	 * Follows BLKFILTER_HERE: handles the bio, which may sleep as submit_bio_noacct() may, but with whatever locks
	 * the submitter holds. detach must wait for those that are on their way.
	 */
	void (*handle_bio)(struct blkfilter *filter, struct bio *bio);
	/*
	 * As submit_bio, for a bio that comes out of throttling and may have gone in before the filter was attached;
	 * without it the filter is not told. BLKFILTER_HERE is not allowed.
	 */
	enum blkfilter_verdict (*submit_throttled)(struct blkfilter *filter, struct bio *bio, sector_t first,
						   sector_t count);
	/* Bios may have gone by unseen, because the kernel's tracing failed. May sleep; is called again and again. */
	void (*missed)(struct blkfilter *filter);
};

struct blkfilter {
	/* Referenced, but not open: being filtered does not keep a device from being removed. */
	struct block_device *bdev;
	const struct blkfilter_ops *ops;
	/* The filter's own. */
	void *private;
};

/* The verdict BLKFILTER_HERE for this bio. */
static inline enum blkfilter_verdict blkfilter_here(struct blkfilter *filter, struct bio *bio)
{
	bio->bi_next = (struct bio *)filter;
	return BLKFILTER_HERE;
}

int blkfilter_register(const struct blkfilter_ops *ops);
/* No filter of these ops may be attached any more; the owner's reference count sees to that. */
void blkfilter_unregister(const struct blkfilter_ops *ops);
/* Hands a bio on to what lies below the filter: other filters of the disk, then its driver. May sleep. */
void blkfilter_resubmit(struct blkfilter *filter, struct bio *bio);

#endif
