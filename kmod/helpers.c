// SPDX-License-Identifier: GPL-2.0
/*
 * What Rust cannot say itself: inline functions, macros, module parameters that may change at run time, exports.
 * No decisions are made here.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bio.h>
#include <linux/blk-integrity.h>
#include <linux/blkdev.h>
#include <linux/compat.h>
#include <linux/file.h>
#include <linux/highmem.h>
#include <linux/major.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/namei.h>
#include <linux/percpu.h>
#include <linux/sched/mm.h>
#include <linux/stat.h>
#include <linux/uio.h>
#include <linux/workqueue.h>

#include "blkfilter.h"
#include "helpers.h"

/* uapi/parameter.rs says what they mean and to which range they are cut when they are used. */
#define PARAMETER(name, initial, permission)				\
	static unsigned long long name = initial;			\
	module_param(name, ullong, permission);				\
	u64 blksnap_parameter_##name(void);				\
	u64 blksnap_parameter_##name(void) { return READ_ONCE(name); }

PARAMETER(tracking_block_minimum_shift, 16, 0644)
PARAMETER(tracking_block_maximum_count, 0, 0644)
PARAMETER(tracking_block_maximum_shift, 26, 0644)
PARAMETER(chunk_minimum_shift, 18, 0644)
PARAMETER(chunk_maximum_count_shift, 40, 0644)
PARAMETER(chunk_maximum_shift, 26, 0644)
PARAMETER(chunk_maximum_in_queue, 256, 0644)
PARAMETER(diff_storage_minimum, 2097152, 0644)
PARAMETER(take_timeout_ms, 30000, 0644)
PARAMETER(abi, 0, 0444)
MODULE_PARM_DESC(tracking_block_minimum_shift, "Tracking blocks are at least 2 to this power bytes");
MODULE_PARM_DESC(tracking_block_maximum_count, "Tracking blocks grow until there are no more than this; 0: no limit");
MODULE_PARM_DESC(tracking_block_maximum_shift, "Tracking blocks grow no further than 2 to this power bytes");
MODULE_PARM_DESC(chunk_minimum_shift, "Chunks are at least 2 to this power bytes");
MODULE_PARM_DESC(chunk_maximum_count_shift, "Chunks grow until there are no more than 2 to this power");
MODULE_PARM_DESC(chunk_maximum_shift, "Chunks grow no further than 2 to this power bytes");
MODULE_PARM_DESC(chunk_maximum_in_queue, "Bound on the buffers of a device in a snapshot, in pieces of 64 KiB");
MODULE_PARM_DESC(diff_storage_minimum, "The difference storage grows by this, in sectors");
MODULE_PARM_DESC(take_timeout_ms, "How long a TAKE waits for earlier writes");
MODULE_PARM_DESC(abi, "1: numbers and structures of older headers");

/* The block layer. */

struct block_device *blksnap_file_bdev(struct file *file);
struct block_device *blksnap_file_bdev(struct file *file)
{
	return I_BDEV(file->f_mapping->host);
}

struct block_device *blksnap_super_bdev(struct file *file);
struct block_device *blksnap_super_bdev(struct file *file)
{
	return file_inode(file)->i_sb->s_bdev;
}

u64 blksnap_file_sectors(struct file *file);
u64 blksnap_file_sectors(struct file *file)
{
	return i_size_read(file_inode(file)) >> SECTOR_SHIFT;
}

bool blksnap_disk_live(struct block_device *bdev);
bool blksnap_disk_live(struct block_device *bdev)
{
	return disk_live(bdev->bd_disk) && device_is_registered(&bdev->bd_device);
}

/* Why a device cannot be in a snapshot: 0 or a positive errno. */
int blksnap_unfit(struct block_device *bdev);
int blksnap_unfit(struct block_device *bdev)
{
	struct request_queue *queue = bdev_get_queue(bdev);

#ifdef CONFIG_BLK_DEV_INTEGRITY
	if (blk_get_integrity(bdev->bd_disk))
		return EPERM;
#endif
#ifdef CONFIG_BLK_INLINE_ENCRYPTION
	if (queue->crypto_profile)
		return EPERM;
#endif
	if (bdev_is_zoned(bdev) || (queue->limits.features & BLK_FEAT_DAX))
		return EOPNOTSUPP;
	return 0;
}

int blksnap_bioset_init(struct bio_set *set, unsigned int front_pad);
int blksnap_bioset_init(struct bio_set *set, unsigned int front_pad)
{
	return bioset_init(set, 64, front_pad, BIOSET_NEED_BVECS | BIOSET_NEED_RESCUER);
}

/* A bio that waited may sleep from now on, and nobody polls for it. */
void blksnap_bio_deferred(struct bio *bio);
void blksnap_bio_deferred(struct bio *bio)
{
	bio->bi_opf &= ~REQ_NOWAIT;
	bio_clear_polled(bio);
}

/* What an image can do with a bio: 0 read, 1 write, 2 nothing to do but succeed, negative errno. */
int blksnap_image_operation(struct bio *bio);
int blksnap_image_operation(struct bio *bio)
{
	switch (bio_op(bio)) {
	case REQ_OP_READ:
		return 0;
	case REQ_OP_WRITE:
		return bio_sectors(bio) ? 1 : 2;
	default:
		return -EOPNOTSUPP;
	}
}

void blksnap_bio_end(struct bio *bio, int error);
void blksnap_bio_end(struct bio *bio, int error)
{
	bio->bi_status = errno_to_blk_status(error);
	bio_endio(bio);
}

int blksnap_bio_error(struct bio *bio);
int blksnap_bio_error(struct bio *bio)
{
	return blk_status_to_errno(bio->bi_status);
}

void blksnap_bio_skip(struct bio *bio, unsigned int bytes);
void blksnap_bio_skip(struct bio *bio, unsigned int bytes)
{
	bio_advance(bio, bytes);
}

/* Copies between a bio's data, from its beginning, and memory; at most `bytes`. The bio moves on by as much. */
void blksnap_bio_copy(struct bio *bio, void *memory, unsigned int bytes, bool to_bio);
void blksnap_bio_copy(struct bio *bio, void *memory, unsigned int bytes, bool to_bio)
{
	while (bytes && bio->bi_iter.bi_size) {
		struct bio_vec vec = bio_iter_iovec(bio, bio->bi_iter);
		unsigned int now = min(vec.bv_len, bytes);

		vec.bv_len = now;
		if (to_bio)
			memcpy_to_bvec(&vec, memory);
		else
			memcpy_from_bvec(memory, &vec);
		bio_advance_iter_single(bio, &bio->bi_iter, now);
		memory += now;
		bytes -= now;
	}
}

void *blksnap_page_address(struct page *page);
void *blksnap_page_address(struct page *page)
{
	return page_address(page);
}

/* GFP_NOIO pages are in the direct mapping. Without `must` it gives up early. */
struct page *blksnap_page_alloc(bool must);
struct page *blksnap_page_alloc(bool must)
{
	return alloc_page(must ? GFP_NOIO | __GFP_NOWARN : GFP_NOWAIT | __GFP_NOWARN);
}

void blksnap_page_free(struct page *page);
void blksnap_page_free(struct page *page)
{
	__free_page(page);
}

unsigned int blksnap_io_begin(void);
unsigned int blksnap_io_begin(void)
{
	return memalloc_noio_save();
}

void blksnap_io_end(unsigned int flags);
void blksnap_io_end(unsigned int flags)
{
	memalloc_noio_restore(flags);
}

/* Disks of images. */
struct gendisk *blksnap_disk_alloc(struct block_device *original);
struct gendisk *blksnap_disk_alloc(struct block_device *original)
{
	struct queue_limits limits = {
		.logical_block_size = bdev_logical_block_size(original),
		.physical_block_size = bdev_physical_block_size(original),
		.io_min = bdev_io_min(original),
		.max_hw_sectors = 2048,
		.max_segments = BIO_MAX_VECS,
		.features = BLK_FEAT_WRITE_CACHE,
	};
	struct gendisk *disk = blk_alloc_disk(&limits, NUMA_NO_NODE);

	if (IS_ERR(disk))
		return disk;
	disk->flags |= GENHD_FL_NO_PART;
	return disk;
}

/* Per-CPU counters. */
u64 __percpu *blksnap_counter_alloc(void);
u64 __percpu *blksnap_counter_alloc(void)
{
	return alloc_percpu(u64);
}

void blksnap_counter_free(u64 __percpu *counter);
void blksnap_counter_free(u64 __percpu *counter)
{
	free_percpu(counter);
}

void blksnap_counter_add(u64 __percpu *counter, u64 value);
void blksnap_counter_add(u64 __percpu *counter, u64 value)
{
	this_cpu_add(*counter, value);
}

/* One more, and `value` more. */
void blksnap_counters_add(u64 __percpu *ones, u64 __percpu *sums, u64 value);
void blksnap_counters_add(u64 __percpu *ones, u64 __percpu *sums, u64 value)
{
	this_cpu_inc(*ones);
	this_cpu_add(*sums, value);
}

u64 blksnap_counter_sum(u64 __percpu *counter);
u64 blksnap_counter_sum(u64 __percpu *counter)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(*per_cpu_ptr(counter, cpu));
	return sum;
}

/* An end_io function that is not exported: how the end of a chain of bios looks. */
bio_end_io_t *blksnap_chain_end_io(void);
bio_end_io_t *blksnap_chain_end_io(void)
{
	struct bio parent, child;
	bio_end_io_t *end_io;

	bio_init(&parent, NULL, NULL, 0, REQ_OP_READ);
	bio_init(&child, NULL, NULL, 0, REQ_OP_READ);
	bio_chain(&child, &parent);
	end_io = child.bi_end_io;
	return end_io;
}

/* An empty flush that only asks whether the hook sees it. */
void blksnap_canary_init(struct bio *bio, struct block_device *bdev);
void blksnap_canary_init(struct bio *bio, struct block_device *bdev)
{
	bio_init(bio, bdev, NULL, 0, REQ_OP_WRITE | REQ_PREFLUSH);
}

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

void blkfilter_reap_later(void);
void blkfilter_reap_later(void)
{
	schedule_work(&reap_work);
}

void blkfilter_reap_finish(void);
void blkfilter_reap_finish(void)
{
	flush_work(&reap_work);
}

/* Exports. */
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

/* Difference storage. */
int blksnap_path_mode(const char *name, umode_t *mode);
int blksnap_path_mode(const char *name, umode_t *mode)
{
	struct path path;
	int error = kern_path(name, LOOKUP_FOLLOW, &path);

	if (error)
		return error;
	*mode = d_inode(path.dentry)->i_mode;
	path_put(&path);
	return 0;
}

int blksnap_file_allocate(struct file *file, loff_t bytes);
int blksnap_file_allocate(struct file *file, loff_t bytes)
{
	int error;

	file_start_write(file);
	error = vfs_fallocate(file, 0, 0, bytes);
	file_end_write(file);
	return error;
}

int blksnap_file_transfer(struct file *file, struct bio_vec *vecs, unsigned int count, unsigned int bytes, u64 sector,
			  bool write);
int blksnap_file_transfer(struct file *file, struct bio_vec *vecs, unsigned int count, unsigned int bytes, u64 sector,
			  bool write)
{
	loff_t position = (loff_t)sector << SECTOR_SHIFT;
	struct iov_iter iter;

	iov_iter_bvec(&iter, write ? ITER_SOURCE : ITER_DEST, vecs, count, bytes);
	while (iov_iter_count(&iter)) {
		ssize_t done = write ? vfs_iter_write(file, &iter, &position, 0) : vfs_iter_read(file, &iter, &position, 0);

		if (done < 0)
			return done;
		if (!done)
			return -EIO;
	}
	return 0;
}

int blksnap_device_transfer(struct block_device *bdev, struct bio_vec *vecs, unsigned int count, unsigned int bytes,
			    u64 sector, bool write);
int blksnap_device_transfer(struct block_device *bdev, struct bio_vec *vecs, unsigned int count, unsigned int bytes,
			    u64 sector, bool write)
{
	struct bio bio;
	int error;

	bio_init(&bio, bdev, vecs, count, write ? REQ_OP_WRITE | REQ_SYNC : REQ_OP_READ);
	bio.bi_vcnt = count;
	bio.bi_iter.bi_size = bytes;
	bio.bi_iter.bi_sector = sector;
	error = submit_bio_wait(&bio);
	bio_uninit(&bio);
	return error;
}

/* Begins to read the original; end_io comes when it is over. The bio and the vectors are the caller's memory. */
void blksnap_read_start(struct bio *bio, struct block_device *bdev, struct bio_vec *vecs, unsigned int count,
			unsigned int bytes, u64 sector, bio_end_io_t *end_io, void *private);
void blksnap_read_start(struct bio *bio, struct block_device *bdev, struct bio_vec *vecs, unsigned int count,
			unsigned int bytes, u64 sector, bio_end_io_t *end_io, void *private)
{
	bio_init(bio, bdev, vecs, count, REQ_OP_READ);
	bio->bi_vcnt = count;
	bio->bi_iter.bi_size = bytes;
	bio->bi_iter.bi_sector = sector;
	bio->bi_end_io = end_io;
	bio->bi_private = private;
	submit_bio(bio);
}

/* A clone of a read, for another device. The set's memory is always there. */
struct bio *blksnap_bio_clone(struct block_device *bdev, struct bio *bio, struct bio_set *set);
struct bio *blksnap_bio_clone(struct block_device *bdev, struct bio *bio, struct bio_set *set)
{
	return bio_alloc_clone(bdev, bio, GFP_NOIO, set);
}

void blksnap_sizes(struct block_device *bdev, u64 *minimum_io, u64 *logical_block);
void blksnap_sizes(struct block_device *bdev, u64 *minimum_io, u64 *logical_block)
{
	*minimum_io = bdev_io_min(bdev);
	*logical_block = bdev_logical_block_size(bdev);
}

/* The device and, of a whole disk, its partitions, each with a reference; at most `most`. */
unsigned int blksnap_partitions(struct block_device *bdev, struct block_device **parts, unsigned int most);
unsigned int blksnap_partitions(struct block_device *bdev, struct block_device **parts, unsigned int most)
{
	struct block_device *part;
	unsigned int count = 0;
	unsigned long index;

	if (bdev_is_partition(bdev)) {
		get_device(&bdev->bd_device);
		parts[0] = bdev;
		return 1;
	}
	rcu_read_lock();
	xa_for_each(&bdev->bd_disk->part_tbl, index, part) {
		if (count == most)
			break;
		if (kobject_get_unless_zero(&part->bd_device.kobj))
			parts[count++] = part;
	}
	rcu_read_unlock();
	return count;
}

int blksnap_table_store(struct xarray *array, unsigned long index, void *entry);
int blksnap_table_store(struct xarray *array, unsigned long index, void *entry)
{
	return xa_err(xa_store(array, index, entry, GFP_NOIO | __GFP_NOWARN));
}
