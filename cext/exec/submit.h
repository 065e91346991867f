/* SPDX-License-Identifier: MIT */
/* From the submission queue to requests. */
#ifndef EXEC_SUBMIT_H
#define EXEC_SUBMIT_H

#include "ring.h"

/* Take up to `count` submissions of the calling task and start them. How many were taken. */
uint32_t submit(struct ring *ring, uint32_t count);

#endif /* EXEC_SUBMIT_H */
