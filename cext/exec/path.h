/* SPDX-License-Identifier: MIT */
/* Paths as a process of the program means them. */
#ifndef EXEC_PATH_H
#define EXEC_PATH_H

#include <stdbool.h>
#include <stdint.h>

#define PATH_SIZE 4096

struct space;
struct task;

/*
 * A text of the program's memory. A path of its own process's entry in /proc is that process's.
 * 0 or -errno.
 */
int path_read(struct space *space, uint64_t at, char text[PATH_SIZE], bool is_path);
/* May we go by path for it? -EPERM: it has other rights, or another root, than we. */
int path_check(const struct task *task);
/* A copy of its directory `fd`, or of where it is (AT_FDCWD). -errno. */
int path_directory(const struct task *task, int fd);
/* Its umask(2). */
uint32_t path_mask(const struct task *task);

#endif /* EXEC_PATH_H */
