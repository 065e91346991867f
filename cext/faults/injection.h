/* SPDX-License-Identifier: MIT */
/*
 * The fault plan's part in a return: which entries go into the ring for it, and
 * what else the rules do that are due before it.
 */
#ifndef ZCRX_INJECTION_H
#define ZCRX_INJECTION_H

#include "actors/returns_impl.h"

/*
 * Stage everything that goes into the ring for the return at the head of
 * pending, in order. Before anything else of it is written; nothing is staged.
 */
void zcrx_stage_return(struct zcrx_returns *returns, const struct zcrx_held *held);

#endif /* ZCRX_INJECTION_H */
