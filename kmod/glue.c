// SPDX-License-Identifier: GPL-2.0
/*
 * What the kernel wants to find as a static object made by one of its macros: exported symbols, an attribute of sysfs,
 * work items that belong to no object of Rust. Everything is handed on to Rust at once.
 */
#include <linux/module.h>
#include <linux/workqueue.h>

#include "shim.h"

/* For other modules. */
int blkfilter_register(const struct blkfilter_ops *ops)
{
	return blkfilter_rust_register(ops);
}
EXPORT_SYMBOL_GPL(blkfilter_register);

void blkfilter_unregister(const struct blkfilter_ops *ops)
{
	blkfilter_rust_unregister(ops);
}
EXPORT_SYMBOL_GPL(blkfilter_unregister);

void blkfilter_resubmit(struct blkfilter *filter, struct bio *bio)
{
	blkfilter_rust_resubmit(filter, bio);
}
EXPORT_SYMBOL_GPL(blkfilter_resubmit);

/* sysfs: the name of the filter of a block device. */
static ssize_t filter_show(struct device *dev, struct device_attribute *attribute, char *buffer)
{
	return blkfilter_rust_show(dev_to_bdev(dev), buffer);
}
static DEVICE_ATTR(filter, 0444, filter_show, NULL);

int blkfilter_attribute_create(struct block_device *bdev);
int blkfilter_attribute_create(struct block_device *bdev)
{
	return device_create_file(&bdev->bd_device, &dev_attr_filter);
}

void blkfilter_attribute_remove(struct block_device *bdev);
void blkfilter_attribute_remove(struct block_device *bdev)
{
	if (device_is_registered(&bdev->bd_device))
		device_remove_file(&bdev->bd_device, &dev_attr_filter);
}

/* Detaches the filters of vanished devices. */
static void reap(struct work_struct *work)
{
	blkfilter_rust_reap();
}
static DECLARE_WORK(reap_work, reap);

/* Unhooking waits for all tasks of the system, and whoever detaches often attaches again. */
static void unhook(struct work_struct *work)
{
	blkfilter_rust_unhook();
}
static DECLARE_DELAYED_WORK(unhook_work, unhook);

/* Looks whether the hook still sees bios, every second while something is attached. */
static void beat(struct work_struct *work);
static DECLARE_DELAYED_WORK(beat_work, beat);

static void beat(struct work_struct *work)
{
	if (blkfilter_rust_beat())
		queue_delayed_work(system_freezable_power_efficient_wq, &beat_work, HZ);
}

void blkfilter_reap_later(void);
void blkfilter_reap_later(void)
{
	schedule_work(&reap_work);
}

void blkfilter_unhook_later(void);
void blkfilter_unhook_later(void)
{
	mod_delayed_work(system_unbound_wq, &unhook_work, 5 * HZ);
}

void blkfilter_beat(void);
void blkfilter_beat(void)
{
	queue_delayed_work(system_freezable_power_efficient_wq, &beat_work, HZ);
}

/* Nothing schedules any of them any more. */
void blkfilter_finish_works(void);
void blkfilter_finish_works(void)
{
	cancel_delayed_work_sync(&beat_work);
	cancel_delayed_work_sync(&unhook_work);
	flush_work(&reap_work);
}

/* Ends chained bios, see in_flight.rs. */
static void end_chained(struct work_struct *work)
{
	blksnap_rust_end_chained();
}
static DECLARE_WORK(chain_work, end_chained);

void blksnap_chain_work_queue(struct workqueue_struct *queue);
void blksnap_chain_work_queue(struct workqueue_struct *queue)
{
	queue_work(queue, &chain_work);
}
