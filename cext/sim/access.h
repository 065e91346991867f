/* SPDX-License-Identifier: MIT */
/* What an actor does to a shared word: a step each, which it does when it is its turn. */
#ifndef ZCRX_SIM_ACCESS_H
#define ZCRX_SIM_ACCESS_H

#include "execution.h"

/* Where, how large, how ordered, and from which place in the code. */
struct access {
	uint32_t offset;
	uint8_t size; /* bytes */
	int order;
	const void *place;
};

enum rmw { RMW_EXCHANGE, RMW_ADD, RMW_SUB, RMW_AND, RMW_OR, RMW_XOR };

uint64_t access_load(struct access access);
void access_store(struct access access, uint64_t value);
/* Both halves of an exchange, what was read; `expected` NULL: unconditional. */
uint64_t access_rmw(struct access access, enum rmw rmw, uint64_t operand, const uint64_t *expected,
		    int failure_order);
void access_fence(int order, const void *place);
/* The oldest store of a buffer reaches memory: a step of its own, in the actor's name. */
void access_drain(struct sim_engine *engine, uint32_t owner);

#endif /* ZCRX_SIM_ACCESS_H */
