/* SPDX-License-Identifier: MIT */
/* Executions, one after the other, until something is found or there is no more to do. */
#include "search.h"
#include "ondemand/usage.h"
#include "words.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define SHORTEN_S 3.0 /* for a schedule with fewer switches */
#define SHORTEN_SWITCHES 4U

static volatile sig_atomic_t interrupted;

void search_interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

bool search_is_interrupted(void)
{
	return interrupted != 0;
}

static bool is_over(struct search *search)
{
	if (interrupted || (search->schedules_max && search->schedules >= search->schedules_max))
		return true;
	/* The clock is looked at now and then: it costs as much as many steps. */
	return search->schedules % 64 == 0 && search->until > 0 && now_s() >= search->until;
}

static void tell(struct search *search, double share)
{
	double now;

	if (search->schedules % 256)
		return;
	now = now_s();
	if (now - search->told < 0.5)
		return;
	search->told = now;
	printf("progress\tschedules=%" PRIu64 "\tsteps=%" PRIu64 "\tseconds=%.2f\tshare=%.6f\n",
	       search->schedules, search->steps, now - search->began, share);
	fflush(stdout);
}

bool search_execute(struct search *search, struct sim_chooser *chooser)
{
	bool good;

	search->executions++;
	good = sim_execute(search->engine, chooser);

	if (search->schedules++ == 0 &&
	    (search->first = calloc(SIM_STEPS_MAX, sizeof(*search->first)))) {
		search->first_count = explore_schedule(search->engine, search->first);
		search->first_hash = sim_trace_hash(search->engine);
	}
	search->steps += sim_steps(search->engine);
	search->cut += sim_was_cut(search->engine);
	if (sim_steps(search->engine) > search->longest)
		search->longest = sim_steps(search->engine);
	return !good;
}

bool search_randomly(struct search *search, uint64_t seed)
{
	struct explore_random random;

	while (!is_over(search)) {
		explore_random_start(&random, seed + search->schedules);
		if (search_execute(search, &random.chooser))
			return true;
		tell(search, 0.0);
	}
	return false;
}

bool search_by_priorities(struct search *search, uint64_t seed, uint32_t depth)
{
	struct explore_pct pct;

	while (!is_over(search)) {
		explore_pct_start(&pct, seed + search->schedules, depth, sim_actors(search->engine),
				  search->longest);
		if (search_execute(search, &pct.chooser))
			return true;
		tell(search, 0.0);
	}
	return false;
}

bool search_everything(struct search *search, uint32_t bound)
{
	struct explore_all *all = explore_all_open(bound);
	bool found = false;

	if (!all)
		wrong_use("memory", "search", strerror(ENOMEM));
	while (!found && !is_over(search)) {
		found = search_execute(search, explore_all_chooser(all));
		if (!found && !explore_all_next(all)) {
			search->is_complete = true;
			break;
		}
		tell(search, explore_all_share(all));
	}
	explore_all_close(all);
	return found;
}

void search_do_first_again(struct search *search)
{
	struct explore_replay replay;

	if (!search->first)
		return;
	explore_replay_start(&replay, search->first, search->first_count);
	search->executions++;
	sim_execute(search->engine, &replay.chooser);
	search->does_not_repeat = sim_trace_hash(search->engine) != search->first_hash;
	if (search->does_not_repeat)
		search->is_complete = false;
}

bool search_is_same(const struct search *search, const struct sim_finding *one,
		    const struct sim_finding *other)
{
	return sim_is_same(one, other) && words_at(search->world, one->offset).name ==
						  words_at(search->world, other->offset).name;
}

uint32_t search_shorten(struct search *search, const struct sim_finding *finding,
			struct explore_step *to)
{
	double until = now_s() + SHORTEN_S;

	for (uint32_t bound = 0; bound <= SHORTEN_SWITCHES; bound++) {
		struct explore_all *all = explore_all_open(bound);
		uint64_t tried = 0;

		if (!all)
			return 0;
		do {
			search->executions++;
			if (!sim_execute(search->engine, explore_all_chooser(all)) &&
			    search_is_same(search, sim_finding(search->engine), finding)) {
				explore_all_close(all);
				return explore_schedule(search->engine, to);
			}
		} while ((++tried % 64 || now_s() < until) && !interrupted &&
			 explore_all_next(all));
		explore_all_close(all);
		if (now_s() >= until || interrupted)
			return 0;
	}
	return 0;
}
