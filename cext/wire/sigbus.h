/* SPDX-License-Identifier: MIT */
/*
 * Memory that is taken away. A shared object that somebody cuts short, or whose
 * page cannot be had any more, raises SIGBUS in whoever touches it next, which is
 * the death of a process that did nothing wrong. Here it becomes a fact to be
 * judged: the page is replaced by one of zeros that is this process's own, the
 * object is marked as hurt, and the process goes on to say so. What it reads and
 * writes there from then on is worth nothing; that is for who asks.
 *
 * A signal's handler has no context, so this is the one module with state of its
 * own. Nothing here is for the simulated or fuzzed builds.
 */
#ifndef ZCRX_SIGBUS_H
#define ZCRX_SIGBUS_H

#include <stddef.h>
#include <stdint.h>

#define ZCRX_SIGBUS_RANGES 512U

/*
 * Begin to look after SIGBUS, or end it; calls are counted. What was installed
 * before is called for every address that is not ours, and is back afterwards; a
 * handler that somebody put over ours in between counts as installed before by the
 * next begin(). 0 or -errno. Not to be called by two threads at once.
 */
int zcrx_sigbus_begin(void);
void zcrx_sigbus_end(void);

/* Look after mapped memory; a number for it, or -ENOSPC. */
int zcrx_sigbus_watch(const void *start, size_t size);
/* Before it is unmapped. */
void zcrx_sigbus_forget(int number);
/* How many of its pages were taken away. */
uint32_t zcrx_sigbus_hurt(int number);
/* How many are looked after at the moment. */
size_t zcrx_sigbus_watched(void);

#endif /* ZCRX_SIGBUS_H */
