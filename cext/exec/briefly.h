/* SPDX-License-Identifier: MIT */
/*
 * accept(), connect() and close() have no flag that keeps them from blocking, and the
 * descriptor's own is the program's. So they are interrupted when they take longer than a moment.
 */
#ifndef EXEC_BRIEFLY_H
#define EXEC_BRIEFLY_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* Once, before the others; -errno. */
int briefly_prepare(void);
/* -EAGAIN: it would have blocked. */
int briefly_accept(int fd, struct sockaddr *address, socklen_t *size, int flags);
/* -EINPROGRESS: it goes on by itself. */
int briefly_connect(int fd, const struct sockaddr *address, socklen_t size);
/* preadv2() and pwritev2(): what they are called with. */
typedef ssize_t (*briefly_call)(int fd, const struct iovec *vector, int count, off_t offset,
				int flags);
/* One of them, with one piece: how many bytes, -EAGAIN: it would have blocked; -errno. */
int64_t briefly_move(briefly_call call, int fd, const struct iovec *piece, off_t at, int flags);
/* Of a descriptor that the program has, or had: it may be the last of a socket. */
void briefly_close(int fd);

#endif /* EXEC_BRIEFLY_H */
