/* SPDX-License-Identifier: MIT */
/*
 * Files that a ring has by numbers of its own: registered ones, and what operations put there
 * instead of giving the program a descriptor. Each is a copy, open until its slot is emptied.
 */
#ifndef EXEC_FILES_H
#define EXEC_FILES_H

#include "ring.h"

/* A copy of what stands in the slot, or -EBADF. */
int files_fetch(const struct ring *ring, uint32_t slot);
/*
 * `fd`, which is the ring's from now on or closed, as a submission's file_index says: the slot's
 * number and one, what stood there is closed; or any that is free. The slot if it was chosen
 * here, 0, or -errno.
 */
int files_put(struct ring *ring, uint32_t file_index, int fd);
/* Close what stands in the slot. 0 or -errno. */
int files_remove(struct ring *ring, uint32_t slot);
/* Descriptors of the calling task, from an array of its memory. How many, or -errno. */
int64_t files_update(struct ring *ring, uint32_t slot, uint64_t fds_at, uint32_t count);
/* The same where they find room, which the array tells afterwards. */
int64_t files_update_anywhere(struct ring *ring, uint64_t fds_at, uint32_t count);
void files_free(struct ring *ring);

/* What io_uring_register() is asked for, of files. Its result. */
int64_t files_register(struct ring *ring, uint32_t opcode, uint64_t at, uint32_t nr_args);

#endif /* EXEC_FILES_H */
