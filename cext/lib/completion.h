/* SPDX-License-Identifier: MIT */
/*
 * The program's completion queue, or the callback in its place. A completion of data finds
 * room or does not; the last one of a receive waits for room, as the kernel's overflow
 * list has it wait.
 */
#ifndef ZCRX_LIB_COMPLETION_H
#define ZCRX_LIB_COMPLETION_H

#include "instance.h"

#define CQE_F_32 (1U << 15)

/* The queue is the program's from now on. 0 or -errno. */
int zcrx_lib_cq_set(struct zcrx_emu *emu, const struct zcrx_lib_cq *cq);
int zcrx_lib_cq_set_at(struct zcrx_emu *emu, const struct zcrx_emu_cq_at *cq);
/* Is there room for one of data? False while others wait. */
bool zcrx_lib_cq_has_room(struct zcrx_emu *emu);
/* One of data; there is room. False: the callback had none. */
bool zcrx_lib_cq_post(struct zcrx_emu *emu, const struct zcrx_emu_cqe *cqe);
/* Any other: it waits where there is no room. */
void zcrx_lib_cq_post_or_keep(struct zcrx_emu *emu, const struct zcrx_emu_cqe *cqe);
/* The last one of a receive. */
void zcrx_lib_cq_post_last(struct zcrx_emu *emu, uint64_t user_data, int32_t res);
/* Those that wait get the room that there is now; how many. */
uint32_t zcrx_lib_cq_flush(struct zcrx_emu *emu);
/* Report a head that cannot be. */
void zcrx_lib_cq_check(struct zcrx_emu *emu);

#endif /* ZCRX_LIB_COMPLETION_H */
