/* SPDX-License-Identifier: MIT */
/*
 * What a provider of somebody else's keeps outside of shared memory: its static data,
 * and what it allocates. Actors share it, as the threads of one kernel do; executions
 * must not, or the second one would begin where the first one ended.
 */
#ifndef ZCRX_SIM_STATE_H
#define ZCRX_SIM_STATE_H

#include <stdbool.h>
#include <stddef.h>

struct sim_bound {
	unsigned char bytes[16];
};

extern struct sim_bound sim_first_data, sim_last_data, sim_first_bss, sim_last_bss;
extern _Thread_local struct sim_bound sim_first_tdata, sim_last_tdata, sim_first_tbss,
	sim_last_tbss;

/* Keep it as it is now, after the setup; false without memory, or if it cannot be found. */
bool sim_state_keep(void);
/* Before each execution: as it was kept. */
void sim_state_put_back(void);
void sim_state_forget(void);

/* In the place of the C library's, for the provider's source alone. */
void *sim_malloc(size_t size);
void *sim_calloc(size_t count, size_t size);
void *sim_realloc(void *old, size_t size);
void *sim_aligned_alloc(size_t alignment, size_t size);
char *sim_strdup(const char *text);
void sim_free(void *memory);

#endif /* ZCRX_SIM_STATE_H */
