/* SPDX-License-Identifier: MIT */
/*
 * Sockets whose last receive ended for lack of room or of a buffer, and was not armed again. A
 * copy of the descriptor would keep the connection open that the program closes: a socket is
 * known by its number and its inode, and found by them again.
 */
#ifndef EXEC_ABANDONED_H
#define EXEC_ABANDONED_H

#include "request.h"

/* Such a receive has ended; its flow stays the library's. False: no memory, or no socket. */
bool abandoned_note(const struct request *request);
/* One is armed on that socket, by whatever ring, or on another one of that number. */
void abandoned_forget(const struct request *request);
/* What stands in them now is told to the library. */
void abandoned_look(struct ring *ring);
/* The ring is closed: of a process that lives on nobody knows what it will read in another way. */
void abandoned_free(struct ring *ring);

#endif /* EXEC_ABANDONED_H */
