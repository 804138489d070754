// SPDX-License-Identifier: GPL-2.0
/* Walks down a stack of block devices. See stack.rs. */
#include <linux/blkdev.h>
#include <linux/fs.h>
#include <linux/major.h>
#include <linux/module.h>
#include <linux/slab.h>

int blksnap_lies_on(struct gendisk *upper, struct gendisk *lower, unsigned int depth);

/*
 * /sys/class/block/<name>/slaves and loop/backing_file are the kernel's own account of stacks, and the only one that
 * modules can reach.
 */
struct slaves {
	struct dir_context context;
	char (*names)[DISK_NAME_LEN];
	unsigned int count, room;
	bool too_many;
};

static bool note_slave(struct dir_context *context, const char *name, int length, loff_t offset, u64 inode,
		       unsigned int type)
{
	struct slaves *slaves = container_of(context, struct slaves, context);

	if (name[0] == '.' || length >= DISK_NAME_LEN)
		return true;
	if (slaves->count == slaves->room) {
		slaves->too_many = true;
		return false;
	}
	memcpy(slaves->names[slaves->count], name, length);
	slaves->names[slaves->count++][length] = 0;
	return true;
}

/* Whatever cannot be found out counts as lying on it; a lack of memory says nothing about stacks. */
static int unknown(long error)
{
	return error == -ENOMEM ? -ENOMEM : 1;
}

/* The disk of a device below, by its name: a path of sysfs leads to its number. */
static int named_lies_on(const char *name, struct gendisk *lower, unsigned int depth)
{
	char path[96], number[24];
	unsigned int major, minor;
	struct block_device *bdev;
	struct file *file;
	loff_t position = 0;
	ssize_t length;
	int found;

	snprintf(path, sizeof(path), "/sys/class/block/%s/dev", name);
	file = filp_open(path, O_RDONLY, 0);
	if (IS_ERR(file))
		return unknown(PTR_ERR(file));
	length = kernel_read(file, number, sizeof(number) - 1, &position);
	fput(file);
	if (length <= 0)
		return unknown(length);
	number[length] = 0;
	if (sscanf(number, "%u:%u", &major, &minor) != 2)
		return 1;
	file = bdev_file_open_by_dev(MKDEV(major, minor), BLK_OPEN_READ, NULL, NULL);
	if (IS_ERR(file))
		return unknown(PTR_ERR(file));
	bdev = file_bdev(file);
	found = blksnap_lies_on(bdev->bd_disk, lower, depth - 1);
	bdev_fput(file);
	return found;
}

static int loop_lies_on(struct gendisk *loop, struct gendisk *lower, unsigned int depth)
{
	char *path = kmalloc(PATH_MAX, GFP_KERNEL);
	struct block_device *below;
	struct file *file;
	loff_t position = 0;
	ssize_t length;
	int found;

	if (!path)
		return -ENOMEM;
	snprintf(path, PATH_MAX, "/sys/class/block/%s/loop/backing_file", loop->disk_name);
	file = filp_open(path, O_RDONLY, 0);
	if (IS_ERR(file)) {
		found = unknown(PTR_ERR(file));
		goto out;
	}
	length = kernel_read(file, path, PATH_MAX - 1, &position);
	fput(file);
	if (length <= 1) {
		found = unknown(length);
		goto out;
	}
	path[length - 1] = 0;
	file = filp_open(path, O_RDONLY | O_LARGEFILE, 0);
	if (IS_ERR(file)) {
		found = unknown(PTR_ERR(file));
		goto out;
	}
	if (S_ISBLK(file_inode(file)->i_mode))
		below = I_BDEV(file->f_mapping->host);
	else
		below = file_inode(file)->i_sb->s_bdev;
	found = below ? blksnap_lies_on(below->bd_disk, lower, depth - 1) : 0;
	fput(file);
out:
	kfree(path);
	return found;
}

/* 1, 0 or -ENOMEM. */
int blksnap_lies_on(struct gendisk *upper, struct gendisk *lower, unsigned int depth)
{
	struct slaves slaves = { .context.actor = note_slave, .room = 64 };
	char path[64];
	struct file *file;
	unsigned int at;
	int found;

	if (upper == lower || depth == 0)
		return 1;
	if (upper->major == LOOP_MAJOR)
		return loop_lies_on(upper, lower, depth);
	snprintf(path, sizeof(path), "/sys/class/block/%s/slaves", upper->disk_name);
	file = filp_open(path, O_RDONLY | O_DIRECTORY, 0);
	if (IS_ERR(file))
		/* Without sysfs only what lies on nothing is known to. */
		return upper->fops->submit_bio ? unknown(PTR_ERR(file)) : 0;
	slaves.names = kcalloc(slaves.room, DISK_NAME_LEN, GFP_KERNEL);
	if (!slaves.names) {
		fput(file);
		return -ENOMEM;
	}
	found = iterate_dir(file, &slaves.context);
	fput(file);
	if (found)
		found = unknown(found);
	else
		found = slaves.too_many;
	for (at = 0; at < slaves.count && !found; at++)
		found = named_lies_on(slaves.names[at], lower, depth);
	kfree(slaves.names);
	return found;
}
