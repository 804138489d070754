// SPDX-License-Identifier: GPL-2.0
/*
 * The smallest filter that does something: it counts the bios of its device, and holds every `hold_every`th write back
 * for a moment. `BLKFILTER_CTL` command 0 returns the two counts as u64.
 *
 * It shows how another module uses blkfilter.h, and the guest tests use it as the second kind of filter.
 */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "../blkfilter.h"

static unsigned int hold_every = 3;
module_param(hold_every, uint, 0644);
MODULE_PARM_DESC(hold_every, "Every so many writes one is held back; 0: none");

struct counter {
	struct blkfilter *filter;
	atomic64_t seen, held;
	spinlock_t lock;
	struct bio_list waiting;
	struct work_struct work;
};

static struct workqueue_struct *queue;

static void let_go(struct work_struct *work)
{
	struct counter *counter = container_of(work, struct counter, work);
	struct bio_list ready;
	struct bio *bio;

	spin_lock(&counter->lock);
	ready = counter->waiting;
	bio_list_init(&counter->waiting);
	spin_unlock(&counter->lock);
	while ((bio = bio_list_pop(&ready)))
		blkfilter_resubmit(counter->filter, bio);
}

static int example_attach(struct blkfilter *filter, u64 opt, u32 optlen)
{
	struct counter *counter = kzalloc(sizeof(*counter), GFP_KERNEL);

	if (!counter)
		return -ENOMEM;
	counter->filter = filter;
	spin_lock_init(&counter->lock);
	bio_list_init(&counter->waiting);
	INIT_WORK(&counter->work, let_go);
	filter->private = counter;
	return 0;
}

static void example_detach(struct blkfilter *filter)
{
	struct counter *counter = filter->private;

	flush_work(&counter->work);
	kfree(counter);
}

static int example_ctl(struct blkfilter *filter, u32 cmd, u64 opt, u32 *optlen)
{
	struct counter *counter = filter->private;
	u64 counts[2] = { atomic64_read(&counter->seen), atomic64_read(&counter->held) };

	if (cmd != 0)
		return -ENOTTY;
	if (*optlen < sizeof(counts))
		return -EINVAL;
	*optlen = sizeof(counts);
	return copy_to_user(u64_to_user_ptr(opt), counts, sizeof(counts)) ? -ENODATA : 0;
}

static enum blkfilter_verdict example_submit(struct blkfilter *filter, struct bio *bio, sector_t first,
					     sector_t count)
{
	struct counter *counter = filter->private;
	u64 number = atomic64_inc_return(&counter->seen);
	unsigned int every = READ_ONCE(hold_every);

	if (!every || number % every || !op_is_write(bio_op(bio)))
		return BLKFILTER_PASS;
	atomic64_inc(&counter->held);
	bio->bi_opf &= ~REQ_NOWAIT;
	spin_lock(&counter->lock);
	bio_list_add(&counter->waiting, bio);
	spin_unlock(&counter->lock);
	queue_work(queue, &counter->work);
	return BLKFILTER_HELD;
}

static const struct blkfilter_ops example_ops = {
	.owner = THIS_MODULE,
	.name = "example",
	.reads = true,
	.attach = example_attach,
	.detach = example_detach,
	.ctl = example_ctl,
	.submit_bio = example_submit,
};

static int __init example_init(void)
{
	int error;

	queue = alloc_workqueue("blkfilter-example", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!queue)
		return -ENOMEM;
	error = blkfilter_register(&example_ops);
	if (error)
		destroy_workqueue(queue);
	return error;
}

static void __exit example_exit(void)
{
	blkfilter_unregister(&example_ops);
	destroy_workqueue(queue);
}

module_init(example_init);
module_exit(example_exit);
MODULE_DESCRIPTION("An example of a block device filter");
MODULE_LICENSE("GPL");
