/* SPDX-License-Identifier: MIT */
/*
 * A process that is forked beside its maker, not below it: a child of the maker's parent. Who
 * has one process load what many need, and has them forked from it, is the parent of all of
 * them all the same: waits for them, is told how they ended, and takes them along.
 */
#ifndef ZCRX_SIBLING_H
#define ZCRX_SIBLING_H

#include <stdint.h>

/*
 * As fork(): 0 in the child, its pid in the maker, or -errno; -ENOSYS where it cannot be done
 * (another processor, a C library that keeps no thread id where Linux says). The maker has one
 * thread. Handlers of pthread_atfork() are not called.
 */
int32_t zcrx_fork_sibling(void);

#endif /* ZCRX_SIBLING_H */
