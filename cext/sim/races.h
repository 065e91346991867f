/* SPDX-License-Identifier: MIT */
/*
 * Accesses that nothing orders. Plain ones are no choice of anybody's, they are
 * checked: two of them that no happens-before orders, one of them a write, are a
 * data race, and so is a plain one beside an atomic one.
 */
#ifndef ZCRX_SIM_RACES_H
#define ZCRX_SIM_RACES_H

#include "execution.h"

/* A plain access of an actor's, wherever it is in memory. */
void races_check_plain(const volatile void *address, size_t size, bool writes, const void *place);

/* An atomic one, of a shared word. A slot of a ring counts as plain, see sim_setup. */
void races_check_load(struct sim_engine *engine, uint32_t offset, const void *place);
void races_check_store(struct sim_engine *engine, uint32_t offset, const void *place);
/* Of an exchange: never of a slot. */
void races_check_atomic_load(struct sim_engine *engine, uint32_t offset);
void races_check_atomic_store(struct sim_engine *engine, uint32_t offset);

/* Whoever has a standing check sees what is touched. */
void races_show(struct sim_engine *engine, uint32_t offset, bool writes, uint64_t before,
		uint64_t after);

#endif /* ZCRX_SIM_RACES_H */
