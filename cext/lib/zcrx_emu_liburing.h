/* SPDX-License-Identifier: MIT */
/*
 * For code that calls liburing: link libzcrx_emu_liburing and libzcrx_emu before it, and say
 * in the test which of your rings an instance stands for. io_uring_register_ifq() and
 * io_uring_register() of such a ring are answered by the instance.
 */
#ifndef ZCRX_EMU_LIBURING_H
#define ZCRX_EMU_LIBURING_H

#include "zcrx_emu.h"

#ifdef __cplusplus
extern "C" {
#endif

struct io_uring;

/* `ring` and `fd` (its ring_fd; -1: none) are the instance's from now on. 0 or -ENOSPC. */
ZCRX_EMU_API int zcrx_emu_bind(struct zcrx_emu *emu, const struct io_uring *ring, int fd);
/* All that was bound to it is the kernel's again. Before the instance is destroyed. */
ZCRX_EMU_API void zcrx_emu_unbind(struct zcrx_emu *emu);

#ifdef __cplusplus
}
#endif

#endif /* ZCRX_EMU_LIBURING_H */
