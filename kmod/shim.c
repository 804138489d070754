// SPDX-License-Identifier: GPL-2.0
/*
 * Inline functions and macros of the kernel as plain functions, because Rust cannot call them. No decisions are made
 * here. What the kernel exports as a function is called from Rust directly.
 */
#include <linux/bio.h>
#include <linux/blk-integrity.h>
#include <linux/fs.h>
#include <linux/part_stat.h>
#include <linux/percpu.h>
#include <linux/sched/mm.h>
#include <linux/uio.h>

#include "shim.h"

/* I_BDEV and file_inode are inline. */
struct block_device *blksnap_file_bdev(struct file *file);
struct block_device *blksnap_file_bdev(struct file *file)
{
	return I_BDEV(file->f_mapping->host);
}

/* disk_live and device_is_registered are inline. */
bool blksnap_disk_live(struct block_device *bdev);
bool blksnap_disk_live(struct block_device *bdev)
{
	return disk_live(bdev->bd_disk) && device_is_registered(&bdev->bd_device);
}

/* Fields and functions that exist only with some configurations: 0, or a positive errno. */
int blksnap_unfit_for_snapshots(struct block_device *bdev);
int blksnap_unfit_for_snapshots(struct block_device *bdev)
{
#ifdef CONFIG_BLK_DEV_INTEGRITY
	if (blk_get_integrity(bdev->bd_disk))
		return EPERM;
#endif
#ifdef CONFIG_BLK_INLINE_ENCRYPTION
	if (bdev_get_queue(bdev)->crypto_profile)
		return EPERM;
#endif
	return 0;
}

/* bdev_is_zoned is inline, BLK_FEAT_DAX a macro with a cast. */
bool blksnap_unfit_for_tracking(struct block_device *bdev);
bool blksnap_unfit_for_tracking(struct block_device *bdev)
{
	return bdev_is_zoned(bdev) || (bdev_get_queue(bdev)->limits.features & BLK_FEAT_DAX);
}

/* A field that exists only with some configurations. Once a limit was set the queue keeps it. */
bool blksnap_is_throttled(struct block_device *bdev);
bool blksnap_is_throttled(struct block_device *bdev)
{
#ifdef CONFIG_BLK_DEV_THROTTLING
	return READ_ONCE(bdev_get_queue(bdev)->td);
#else
	return false;
#endif
}

/* Macros: what a driver that takes bios itself has accounted as writes that have begun. */
u64 blksnap_accounted_writes(struct block_device *bdev);
u64 blksnap_accounted_writes(struct block_device *bdev)
{
	struct block_device *part;
	unsigned long index;
	long count = 0;
	int cpu;

	rcu_read_lock();
	xa_for_each(&bdev->bd_disk->part_tbl, index, part)
		for_each_possible_cpu(cpu)
			count += part_stat_local_read_cpu(part, in_flight[WRITE], cpu);
	rcu_read_unlock();
	return max(count, 0L);
}

/* The functions that read limits are inline. */
void blksnap_sizes(struct block_device *bdev, u64 *minimum_io, u64 *logical_block);
void blksnap_sizes(struct block_device *bdev, u64 *minimum_io, u64 *logical_block)
{
	*minimum_io = bdev_io_min(bdev);
	*logical_block = bdev_logical_block_size(bdev);
}

/* Inline: whether `bdev` wants data no better aligned than `like`, and takes requests of such sectors. */
bool blksnap_takes_alike(struct block_device *bdev, struct block_device *like, u64 sectors);
bool blksnap_takes_alike(struct block_device *bdev, struct block_device *like, u64 sectors)
{
	return bdev_dma_alignment(bdev) <= bdev_dma_alignment(like) &&
	       !((sectors << SECTOR_SHIFT) & (bdev_logical_block_size(bdev) - 1));
}

/* blk_alloc_disk is a macro, and so are the limits' constants. */
struct gendisk *blksnap_disk_alloc(struct block_device *original);
struct gendisk *blksnap_disk_alloc(struct block_device *original)
{
	struct queue_limits limits = {
		.logical_block_size = bdev_logical_block_size(original),
		.physical_block_size = bdev_physical_block_size(original),
		.io_min = bdev_io_min(original),
		.dma_alignment = bdev_dma_alignment(original),
		.max_hw_sectors = 2048,
		.max_segments = BIO_MAX_VECS,
		.features = BLK_FEAT_WRITE_CACHE,
	};
	struct gendisk *disk = blk_alloc_disk(&limits, NUMA_NO_NODE);

	if (!IS_ERR(disk))
		disk->flags |= GENHD_FL_NO_PART;
	return disk;
}

/* A walk by macros: the device and, of a whole disk, its partitions, each with a reference; at most `most`. */
unsigned int blksnap_partitions(struct block_device *bdev, struct block_device **parts, unsigned int most);
unsigned int blksnap_partitions(struct block_device *bdev, struct block_device **parts, unsigned int most)
{
	struct block_device *part;
	unsigned int count = 0;
	unsigned long index;

	rcu_read_lock();
	xa_for_each(&bdev->bd_disk->part_tbl, index, part) {
		if (bdev_is_partition(bdev) && part != bdev)
			continue;
		if (count == most)
			break;
		if (kobject_get_unless_zero(&part->bd_device.kobj))
			parts[count++] = part;
	}
	rcu_read_unlock();
	return count;
}

/*
 * Copies between a bio's data, from its beginning, and memory; at most `bytes`. The bio moves on by as much. All that
 * walks through a bio's pages is macros and inline functions.
 */
void blksnap_bio_copy(struct bio *bio, void *memory, unsigned int bytes, bool to_bio);
void blksnap_bio_copy(struct bio *bio, void *memory, unsigned int bytes, bool to_bio)
{
	while (bytes && bio->bi_iter.bi_size) {
		struct bio_vec vec = bio_iter_iovec(bio, bio->bi_iter);

		vec.bv_len = min(vec.bv_len, bytes);
		if (to_bio)
			memcpy_to_bvec(&vec, memory);
		else
			memcpy_from_bvec(memory, &vec);
		bio_advance_iter_single(bio, &bio->bi_iter, vec.bv_len);
		memory += vec.bv_len;
		bytes -= vec.bv_len;
	}
}

/* Macros. GFP_NOIO pages are in the direct mapping. Without `must` it gives up early. */
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

void *blksnap_page_address(struct page *page);
void *blksnap_page_address(struct page *page)
{
	return page_address(page);
}

/* Inline. */
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

/* `current` is a macro: whether this task may wait for I/O where it submits a bio, and has the stack for it. */
bool blksnap_may_wait_here(void);
bool blksnap_may_wait_here(void)
{
	return !current->bio_list && !(current->flags & PF_MEMALLOC);
}

/* The same: submits what the task has plugged and plugs no more; blksnap_plug_again() undoes that. */
struct blk_plug *blksnap_unplug(void);
struct blk_plug *blksnap_unplug(void)
{
	struct blk_plug *plug = current->plug;

	if (plug)
		blk_finish_plug(plug);
	return plug;
}

void blksnap_plug_again(struct blk_plug *plug);
void blksnap_plug_again(struct blk_plug *plug)
{
	current->plug = plug;
}

/* Per-CPU variables are used by macros. in_flight.rs has the same structure. */
struct blksnap_counts {
	u64 begun, ended, sectors;
};

struct blksnap_counts __percpu *blksnap_counts_alloc(void);
struct blksnap_counts __percpu *blksnap_counts_alloc(void)
{
	return alloc_percpu(struct blksnap_counts);
}

void blksnap_count_begin(struct blksnap_counts __percpu *counts, u64 sectors);
void blksnap_count_begin(struct blksnap_counts __percpu *counts, u64 sectors)
{
	this_cpu_inc(counts->begun);
	this_cpu_add(counts->sectors, sectors);
}

void blksnap_count_end(struct blksnap_counts __percpu *counts);
void blksnap_count_end(struct blksnap_counts __percpu *counts)
{
	this_cpu_inc(counts->ended);
}

/* What has ended is read first: a write that begins and ends meanwhile must not be missing from `begun`. */
void blksnap_counts_sum(struct blksnap_counts __percpu *counts, struct blksnap_counts *sum);
void blksnap_counts_sum(struct blksnap_counts __percpu *counts, struct blksnap_counts *sum)
{
	int cpu;

	*sum = (struct blksnap_counts){};
	for_each_possible_cpu(cpu)
		sum->ended += READ_ONCE(per_cpu_ptr(counts, cpu)->ended);
	smp_mb();
	for_each_possible_cpu(cpu) {
		sum->begun += READ_ONCE(per_cpu_ptr(counts, cpu)->begun);
		sum->sectors += READ_ONCE(per_cpu_ptr(counts, cpu)->sectors);
	}
}
