// SPDX-License-Identifier: GPL-2.0
/*
 * For a test: while it is loaded, it owns the hook of submit_bio_noacct, as a live patch or another vendor's module would.
 * It changes nothing.
 */
#include <linux/blkdev.h>
#include <linux/ftrace.h>
#include <linux/module.h>

static void notrace on_submit_bio(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
				  struct ftrace_regs *fregs)
{
}

static struct ftrace_ops submit_ops = {
	.func = on_submit_bio,
#ifdef CONFIG_HAVE_DYNAMIC_FTRACE_WITH_ARGS
	.flags = FTRACE_OPS_FL_IPMODIFY,
#else
	.flags = FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_SAVE_REGS,
#endif
};

static int __init take_hook_init(void)
{
	int error = ftrace_set_filter_ip(&submit_ops, (unsigned long)submit_bio_noacct, 0, 1);

	if (!error)
		error = register_ftrace_function(&submit_ops);
	if (error)
		ftrace_free_filter(&submit_ops);
	return error;
}

static void __exit take_hook_exit(void)
{
	unregister_ftrace_function(&submit_ops);
	ftrace_free_filter(&submit_ops);
}

module_init(take_hook_init);
module_exit(take_hook_exit);
MODULE_DESCRIPTION("Owns the hook of submit_bio_noacct for a test");
MODULE_LICENSE("GPL");
