/* SPDX-License-Identifier: MIT */
/*
 * accept(), connect() and close() have no flag that keeps them from blocking, and the
 * descriptor's own is the program's. So they are interrupted when they take longer than a moment.
 */
#ifndef EXEC_BRIEFLY_H
#define EXEC_BRIEFLY_H

#include <sys/socket.h>

/* Once, before the others; -errno. */
int briefly_prepare(void);
/* -EAGAIN: it would have blocked. */
int briefly_accept(int fd, struct sockaddr *address, socklen_t *size, int flags);
/* -EINPROGRESS: it goes on by itself. */
int briefly_connect(int fd, const struct sockaddr *address, socklen_t size);
/* Of a descriptor that the program has, or had: it may be the last of a socket. */
void briefly_close(int fd);

#endif /* EXEC_BRIEFLY_H */
