/* SPDX-License-Identifier: MIT */
/* Operations that wait for time. */
#ifndef EXEC_TIMEOUT_H
#define EXEC_TIMEOUT_H

#include "request.h"

extern const struct operation op_timeout, op_link_timeout;

/* The time at the address, with the flags of a timeout, as a deadline. 0 or -errno. */
int timeout_read(struct space *space, uint64_t at, uint32_t flags, uint64_t *deadline);
/* Are the flags those of one clock? */
bool timeout_has_one_clock(uint32_t flags);

#endif /* EXEC_TIMEOUT_H */
