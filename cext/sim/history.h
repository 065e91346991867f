/* SPDX-License-Identifier: MIT */
/*
 * The memory model. Each word has the history of its stores, in the order in
 * which they were executed. A store has the time of its actor, and, if it was a
 * release (or continues one), the clock that a load which acquires it learns. A
 * load may see any store that is not older than what its actor must know:
 * the last store or load of that word that happens before it, by the clocks.
 * An exchange sees the newest always. A fence that is sequentially consistent
 * learns from all such fences before it.
 *
 * Source: the release/acquire fragment of C11 (5.1.2.4, 7.17.3), with the
 * modification order of a word being the order of execution.
 */
#ifndef ZCRX_SIM_HISTORY_H
#define ZCRX_SIM_HISTORY_H

#include "execution.h"

/* What stands in memory. */
uint64_t history_peek(const struct sim_engine *engine, uint32_t offset, uint32_t size);

/* A word, which has its first store when it is touched first. */
struct word *history_word(struct sim_engine *engine, uint32_t offset, uint32_t size);

/* The number of the oldest store of a word that an actor may still see. */
uint32_t history_floor(const struct sim_engine *engine, const struct actor *actor,
		       const struct word *word);

/* An actor saw a store of a word … */
void history_note_sight(struct sim_engine *engine, uint32_t actor, struct word *word,
			uint32_t number);
/* … and learns what its order lets it learn. */
void history_learn(struct actor *actor, const struct store *store, int order);

/* A store, which is in memory then; `continued`: what an exchange read, or NULL. */
void history_store(struct sim_engine *engine, uint32_t actor, const struct waiting_store *store,
		   int order, const struct store *continued);

#endif /* ZCRX_SIM_HISTORY_H */
