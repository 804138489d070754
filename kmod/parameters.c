// SPDX-License-Identifier: GPL-2.0
/*
 * The module's parameters. Those of Rust modules can only be given at load time, and ours change at run time.
 * uapi/parameter.rs says what they mean and to which range they are cut when they are used.
 */
#include <linux/module.h>

#define PARAMETER(name, initial, permission, description)		\
	static unsigned long long name = initial;			\
	module_param(name, ullong, permission);				\
	MODULE_PARM_DESC(name, description);				\
	u64 blksnap_parameter_##name(void);				\
	u64 blksnap_parameter_##name(void) { return READ_ONCE(name); }

PARAMETER(tracking_block_minimum_shift, 16, 0644, "Tracking blocks are at least 2 to this power bytes")
PARAMETER(tracking_block_maximum_count, 0, 0644, "Tracking blocks grow until there are no more than this; 0: no limit")
PARAMETER(tracking_block_maximum_shift, 26, 0644, "Tracking blocks grow no further than 2 to this power bytes")
PARAMETER(chunk_minimum_shift, 18, 0644, "Chunks are at least 2 to this power bytes")
PARAMETER(chunk_maximum_count_shift, 40, 0644, "Chunks grow until there are no more than 2 to this power")
PARAMETER(chunk_maximum_shift, 26, 0644, "Chunks grow no further than 2 to this power bytes")
PARAMETER(chunk_maximum_in_queue, 256, 0644, "Bound on the buffers of a device in a snapshot, in pieces of 64 KiB")
PARAMETER(diff_storage_minimum, 2097152, 0644, "The difference storage grows by this, in sectors")
PARAMETER(take_timeout_ms, 30000, 0644, "How long a TAKE waits for earlier writes")
PARAMETER(abi, 0, 0444, "1: numbers and structures of older headers")
