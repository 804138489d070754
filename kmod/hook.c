// SPDX-License-Identifier: GPL-2.0
/*
 * The places where the module listens in on the block layer: ftrace callbacks on functions of the kernel.
 *
 *   submit_bio_noacct                    every bio, once per level of the stack; may be consumed
 *   submit_bio_noacct_nocheck            only while a filter is on a throttled disk: what was throttled before it came
 *   blkdev_ioctl, compat_blkdev_ioctl    the three calls of block device filters, handled here
 *   bdev_mark_dead                       a device vanishes; only watched
 *
 * Callbacks never sleep. They run without ftrace's own recursion protection, because that would skip calls, and a
 * skipped write would be missing from every map.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/compat.h>
#include <linux/fs.h>
#include <linux/ftrace.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "shim.h"

int blkfilter_hook_writes(void);
void blkfilter_unhook_writes(void);
int blkfilter_hook_throttled(void);
void blkfilter_unhook_throttled(void);
int blkfilter_hook_devices(void);
void blkfilter_unhook_devices(void);

/* What runs instead of submit_bio_noacct when a filter holds the bio. */
static notrace noinline void bio_held(struct bio *bio)
{
	barrier();
}

/* And when the filter handles it at once, in the submitter's place, where submit_bio_noacct itself might sleep. */
static notrace noinline void bio_handled_here(struct bio *bio)
{
	blkfilter_rust_handle(bio);
}

static void notrace redirect(struct ftrace_regs *fregs, unsigned int verdict)
{
	void (*instead)(struct bio *bio) = verdict == BLKFILTER_HERE ? bio_handled_here : bio_held;

	ftrace_regs_set_instruction_pointer(fregs, (unsigned long)instead);
}

static void notrace on_submit_bio(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
				  struct ftrace_regs *fregs)
{
	unsigned int verdict;

	/* Also the read side of the RCU that guards the table of filters. */
	preempt_disable_notrace();
	verdict = blkfilter_rust_submit((struct bio *)ftrace_regs_get_argument(fregs, 0));
	preempt_enable_notrace();
	if (unlikely(verdict != BLKFILTER_PASS))
		redirect(fregs, verdict);
}

static void notrace on_throttled_bio(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
				     struct ftrace_regs *fregs)
{
	unsigned int verdict;

	preempt_disable_notrace();
	verdict = blkfilter_rust_submit_throttled((struct bio *)ftrace_regs_get_argument(fregs, 0));
	preempt_enable_notrace();
	if (unlikely(verdict != BLKFILTER_PASS))
		redirect(fregs, verdict);
}

/* Run instead of the kernel's functions; the callback took a reference on the module. */
static noinline long filter_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	long result = blkfilter_rust_ioctl(file, cmd, arg, false);

	module_put(THIS_MODULE);
	return result;
}

static noinline long filter_compat_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	long result = blkfilter_rust_ioctl(file, cmd, arg, true);

	module_put(THIS_MODULE);
	return result;
}

static void notrace on_ioctl(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
			     struct ftrace_regs *fregs)
{
	/* One function is for 32-bit programs, the other for all others. */
	bool compat = in_compat_syscall();

	if (!blkfilter_rust_wants_ioctl((unsigned int)ftrace_regs_get_argument(fregs, 1), compat))
		return;
	if (!try_module_get(THIS_MODULE))
		return;
	ftrace_regs_set_instruction_pointer(fregs, (unsigned long)(compat ? filter_compat_ioctl : filter_ioctl));
}

static void notrace on_mark_dead(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
				 struct ftrace_regs *fregs)
{
	preempt_disable_notrace();
	blkfilter_rust_gone((struct block_device *)ftrace_regs_get_argument(fregs, 0));
	preempt_enable_notrace();
}

/* Where ftrace passes the arguments anyway, asking for all registers would only cost time. */
#ifdef CONFIG_HAVE_DYNAMIC_FTRACE_WITH_ARGS
#define ARGUMENTS 0
#else
#define ARGUMENTS FTRACE_OPS_FL_SAVE_REGS
#endif

static struct ftrace_ops submit_ops = {
	.func = on_submit_bio,
	.flags = ARGUMENTS | FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_PERMANENT,
};
static struct ftrace_ops throttled_ops = {
	.func = on_throttled_bio,
	.flags = ARGUMENTS | FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_PERMANENT,
};
static struct ftrace_ops ioctl_ops = {
	.func = on_ioctl,
	.flags = ARGUMENTS | FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_PERMANENT,
};
static struct ftrace_ops mark_dead_ops = {
	.func = on_mark_dead,
	.flags = ARGUMENTS | FTRACE_OPS_FL_PERMANENT,
};

static int begin(struct ftrace_ops *ops, const char *function, int error)
{
	if (error)
		pr_err("%s cannot be hooked (%d): this kernel cannot trace it\n", function, error);
	else
		error = register_ftrace_function(ops);
	if (error == -EBUSY)
		pr_err("%s cannot be hooked: unload the other module or live patch that has it, or set kernel.ftrace_enabled to 1 if it is 0\n",
		       function);
	else if (error)
		pr_err("%s cannot be hooked (%d): see the messages of the kernel before this one\n", function, error);
	if (error)
		ftrace_free_filter(ops);
	return error;
}

/* By address: looking a function up by its name would walk through all that can be traced. */
static int hook(struct ftrace_ops *ops, const char *function, const void *address, const void *another)
{
	int error = address ? ftrace_set_filter_ip(ops, (unsigned long)address, 0, 1) : -ENOENT;

	if (!error && another)
		error = ftrace_set_filter_ip(ops, (unsigned long)another, 0, 0);
	return begin(ops, function, error);
}

/* When it returns, no callback runs any more: ftrace waits for all tasks that might be in one. */
static void unhook(struct ftrace_ops *ops)
{
	unregister_ftrace_function(ops);
	ftrace_free_filter(ops);
}

int blkfilter_hook_writes(void)
{
	return hook(&submit_ops, "submit_bio_noacct", submit_bio_noacct, NULL);
}

void blkfilter_unhook_writes(void)
{
	unhook(&submit_ops);
}

/* Not exported, hence by its name. It is rarely needed. */
int blkfilter_hook_throttled(void)
{
	static char function[] = "submit_bio_noacct_nocheck";

	return begin(&throttled_ops, function, ftrace_set_filter(&throttled_ops, function, strlen(function), 1));
}

void blkfilter_unhook_throttled(void)
{
	unhook(&throttled_ops);
}

/* The kernel does not export its block device files' operations, but every device node has them. */
static const struct file_operations *block_file_operations(void)
{
	struct inode *node = kzalloc(sizeof(*node), GFP_KERNEL);
	const struct file_operations *operations;

	if (!node)
		return NULL;
	init_special_inode(node, S_IFBLK, 0);
	operations = node->i_fop;
	kfree(node);
	return operations;
}

int blkfilter_hook_devices(void)
{
	const struct file_operations *operations = block_file_operations();
	int error;

	if (!operations)
		return -ENOMEM;
	error = hook(&mark_dead_ops, "bdev_mark_dead", bdev_mark_dead, NULL);
	if (error)
		return error;
	error = hook(&ioctl_ops, "blkdev_ioctl", operations->unlocked_ioctl, operations->compat_ioctl);
	if (error)
		unhook(&mark_dead_ops);
	return error;
}

void blkfilter_unhook_devices(void)
{
	unhook(&ioctl_ops);
	unhook(&mark_dead_ops);
	/* The handlers of ioctls count the module themselves; their last instructions come after that. */
	synchronize_rcu_tasks();
}
