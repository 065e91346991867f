/* SPDX-License-Identifier: MIT */
/*
 * Who uses an interface queue: the rings that registered or imported it, and the descriptors
 * that stand for it. References that a program holds stay until the last of them is gone.
 */
#ifndef ZCRX_LIB_SHARING_H
#define ZCRX_LIB_SHARING_H

#include "instance.h"

/* The ring uses the queue, under the next of its ids; there is room for one more. */
void zcrx_lib_attach(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue);
/* The ring uses none any more. */
void zcrx_lib_detach_all(struct zcrx_emu *emu);
/* Is there another ring that has the queue and is not finished? */
bool zcrx_lib_is_in_use_elsewhere(const struct zcrx_emu *emu, const struct zcrx_lib_ifq *queue);

/*
 * The program gets a descriptor that stands for the queue: its number is written into the
 * struct at `address`, of which `ctrl` is a copy. 0 or -errno.
 */
int zcrx_lib_export(struct zcrx_emu *emu, struct zcrx_lib_ifq *queue, uint64_t address,
		    struct zcrx_ctrl *ctrl);
/* The queue that the program's descriptor stands for, or NULL. */
struct zcrx_lib_ifq *zcrx_lib_exported(struct zcrx_emu *emu, int fd);
/* Descriptors that the program has closed do not count any more. */
void zcrx_lib_exports_reap(struct zcrx_emu_machine *machine);
/* None do. */
void zcrx_lib_exports_drop(struct zcrx_emu_machine *machine);
/* Once all rings are finished: report those that were left open. */
void zcrx_lib_exports_report(struct zcrx_emu *emu);

#endif /* ZCRX_LIB_SHARING_H */
