/* SPDX-License-Identifier: MIT */
/* A search of a scenario: where it stands, and how it goes on. */
#ifndef ZCRX_SIM_SEARCH_H
#define ZCRX_SIM_SEARCH_H

#include "explore.h"
#include "world.h"

struct search {
	struct world *world;
	struct sim_engine *engine; /* NULL: the scenario's setup is being done */
	uint64_t executions; /* begun so far, those that make a finding short too */
	uint64_t schedules, cut, steps;
	uint64_t schedules_max;
	double began, until; /* 0 = no limit */
	double told;
	uint32_t longest;
	bool is_complete;
	/* The first execution, to be done again: it must come out the same. */
	struct explore_step *first;
	uint32_t first_count;
	uint64_t first_hash, last_hash;
	bool does_not_repeat;
};

/* A signal's handler: the search comes to its end, with what it has. */
void search_interrupt(int number);
bool search_is_interrupted(void);

/* One execution; true if something was found. So are these: until something is, or it is over. */
bool search_execute(struct search *search, struct sim_chooser *chooser);
bool search_randomly(struct search *search, uint64_t seed);
bool search_by_priorities(struct search *search, uint64_t seed, uint32_t depth);
bool search_everything(struct search *search, uint32_t bound);

/*
 * An execution is a function of its schedule, or a search has seen nothing for
 * certain. What could break that is a provider that keeps state where we do not
 * put it back: in a library, in a file, in the time of day.
 */
void search_do_first_again(struct search *search);

/* The same mistake, whichever buffer or index shows it. */
bool search_is_same(const struct search *search, const struct sim_finding *one,
		    const struct sim_finding *other);
/* The same mistake with fewer preemptions; how long the schedule is, 0: none. */
uint32_t search_shorten(struct search *search, const struct sim_finding *finding,
			struct explore_step *to);

#endif /* ZCRX_SIM_SEARCH_H */
