// SPDX-License-Identifier: GPL-2.0
/*
 * For a test: takes blksnap's hook of writes away behind its back, as a failure inside ftrace would, while it is loaded.
 * The guest finds the addresses of the two functions in /proc/kallsyms.
 */
#include <linux/module.h>

static unsigned long unhook, hook;
module_param(unhook, ulong, 0444);
MODULE_PARM_DESC(unhook, "Address of blkfilter_unhook_writes");
module_param(hook, ulong, 0444);
MODULE_PARM_DESC(hook, "Address of blkfilter_hook_writes");

static int __init lose_hook_init(void)
{
	if (!unhook || !hook)
		return -EINVAL;
	((void (*)(void))unhook)();
	return 0;
}

static void __exit lose_hook_exit(void)
{
	if (((int (*)(void))hook)())
		pr_err("the hook cannot be set again\n");
}

module_init(lose_hook_init);
module_exit(lose_hook_exit);
MODULE_DESCRIPTION("Takes the hook of writes away for a test");
MODULE_LICENSE("GPL");
