/* SPDX-License-Identifier: MIT */
/*
 * What rings of one kernel have in common: the lock, the interface queues (a device's queue is
 * registered once, whoever asks), and the descriptors that stand for one. There is one for each
 * ring that was not told of another.
 */
#ifndef ZCRX_LIB_MACHINE_H
#define ZCRX_LIB_MACHINE_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

#include "handle.h"
#include "zcrx_emu.h"

struct zcrx_lib_ifq;

/* A descriptor that stands for an interface queue. */
struct zcrx_lib_export {
	struct zcrx_lib_export *next;
	struct zcrx_lib_ifq *queue;
	int watch; /* our end of its pipe: hung up once the last descriptor of it is closed */
	dev_t device; /* these two say which pipe it is, whatever its number is where it is used */
	ino_t inode;
};

struct zcrx_emu_machine {
	struct zcrx_lib_handle handle;
	pthread_mutex_t lock; /* recursive: a callback may call us */
	bool is_busy; /* the kernel is at work: what a callback may not call is refused */
	bool is_private; /* of one ring, which did not ask for it */
	uint32_t level; /* of all rings */
	struct zcrx_emu *rings;
	struct zcrx_lib_ifq *queues;
	struct zcrx_lib_export *exports;
	uint64_t completions; /* of data, that were given */
};

/* The ring is of its machine, or of one of its own. 0, -ENOMEM, or -EINVAL: of another level. */
int zcrx_lib_machine_join(struct zcrx_emu *emu);
/* Not any more. What is left of a machine that nobody asked for goes with it. */
void zcrx_lib_machine_leave(struct zcrx_emu *emu);

#endif /* ZCRX_LIB_MACHINE_H */
