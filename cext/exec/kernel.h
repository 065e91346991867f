/* SPDX-License-Identifier: MIT */
/* What there is once: of everything that the program sees as the kernel's. */
#ifndef EXEC_KERNEL_H
#define EXEC_KERNEL_H

#include "lib/zcrx_emu.h"
#include "lifetime.h"
#include "notify.h"
#include "tally.h"
#include "task.h"

struct backing;
struct ring;

struct kernel {
	int queue; /* see watch.h */
	int listener; /* where calls arrive */
	int control; /* to whom started us */
	const char *level;
	uint64_t seed;
	uint32_t emu_flags; /* ZCRX_EMU_… */
	struct zcrx_emu_shape shape; /* how the NIC cuts what arrives */
	uint32_t buffers_max, rq_entries_max, cq_entries_max; /* of what programs ask for; 0: all */
	uint32_t burst; /* bytes that a receive waits for, for a while */
	uint32_t rx_descriptors, mtu; /* of the NIC: see struct zcrx_emu_options */
	bool explains; /* why each call is refused */
	const char *faults; /* the plan of each ring */
	bool is_lazy; /* by the plan: nobody but the NIC looks into refill rings */
	struct tally tally; /* what was found, and what fired */
	struct tasks tasks;
	struct lifetimes lifetimes;
	struct zcrx_emu_machine *machine;
	struct backing *backing; /* this machine's io_uring; NULL: it has none for us */
	struct ring *rings;
	uint32_t ring_count; /* that were ever made */
	/*
	 * The call that is worked on, and whose it is: only while one of a process waits can that
	 * process get a descriptor. NULL: none.
	 */
	const struct call *call;
	struct task *task;
};

#endif /* EXEC_KERNEL_H */
