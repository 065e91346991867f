/* SPDX-License-Identifier: MIT */
/* What of a program's system calls is ours: io_uring's three, and the last one. */
#ifndef EXEC_FILTER_H
#define EXEC_FILTER_H

/*
 * Install the filter for this process and what becomes of it. The descriptor where its calls
 * arrive, or -errno: -EBUSY where another one listens already, -EINVAL where the kernel is
 * older than 5.19.
 */
int filter_install(void);

#endif /* EXEC_FILTER_H */
