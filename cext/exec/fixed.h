/* SPDX-License-Identifier: MIT */
/* Operations on the files that a ring has by numbers of its own. */
#ifndef EXEC_FIXED_H
#define EXEC_FIXED_H

#include "request.h"

extern const struct operation op_files_update, op_fixed_fd_install;

/* May a request that makes a file with these flags of open(2) put it where it says? 0 or -errno. */
int fixed_check(const struct request *request, uint32_t flags);
/*
 * What a request made goes where its file_index says: to the program, as a descriptor with
 * `flags` (O_CLOEXEC or 0), or into the ring's table. The result of the request; `fd` is gone.
 */
int64_t fixed_give(struct request *request, int fd, int flags);

#endif /* EXEC_FIXED_H */
