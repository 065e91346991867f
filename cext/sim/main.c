/* SPDX-License-Identifier: MIT */
/*
 * The program that `zcrx-emu race` calls: it reads a scenario, searches, and
 * answers in records: a line each, a word and values by name.
 *
 *	SCENARIO STRATEGY MEMORY SEED SCHEDULES SECONDS DEPTH BOUND
 *	SCENARIO replay MEMORY STEP,STEP,…	(STEP: actor or actor:choice)
 *	provider	(is the one that is linked in one that can be called?)
 *
 * STRATEGY: random, pct, exhaustive. MEMORY: sc, tso, c11. 0 schedules or seconds:
 * no limit. DEPTH is pct's; BOUND the preemptions of an exhaustive search, - for
 * none. Code 0: nothing found; 1: a finding; 2: wrong use.
 */
#include "answer.h"
#include "invariants.h"
#include "ondemand/usage.h"
#include "watchdog.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

static enum sim_memory memory_of(const char *word)
{
	if (strcmp(word, "sc") == 0)
		return SIM_SC;
	if (strcmp(word, "tso") == 0)
		return SIM_TSO;
	if (strcmp(word, "c11") != 0)
		wrong_use("memory", word, "sc, tso or c11");
	return SIM_C11;
}

static void open_engine(struct search *search, const char *scenario, const char *memory)
{
	struct world_refusal refusal;
	struct world *world;
	FILE *file = fopen(scenario, "r");

	if (!file)
		wrong_use("scenario", scenario, strerror(errno));
	world = world_open(file, &refusal);
	fclose(file);
	if (!world) {
		answer_refusal(refusal);
		exit(2);
	}
	search->world = world;
	search->engine = sim_open(&(struct sim_setup){
		.memory = memory_of(memory),
		.actors = world->scenario.actor_count,
		.shared = world->shared,
		.shared_size = world->shared_size,
		.whole = world->memory,
		.whole_size = world->memory_size,
		.ordered = world->slots,
		.ordered_count = world->scenario.is_honest ? 3 : 0,
		.begin = world_begin,
		.access = invariants_check_access,
		.act = world_act,
		.judge = world_judge,
		.context = world,
	});
	if (!search->engine)
		wrong_use("memory", scenario, strerror(ENOMEM));
}

static int replay(struct search *search, char *text)
{
	static struct explore_step steps[SIM_STEPS_MAX];
	struct explore_replay as_before;
	uint32_t count = 0;
	bool found;

	for (char *word = strtok(text, " ,"); word; word = strtok(NULL, " ,")) {
		char *end;

		if (count == SIM_STEPS_MAX)
			wrong_use("schedule", word, "it has too many steps");
		steps[count].actor = (uint8_t)strtoul(word, &end, 10);
		steps[count].choice = *end == ':' ? (uint8_t)strtoul(end + 1, &end, 10) : 0;
		if (*end || end == word)
			wrong_use("schedule", word, "a step is ACTOR or ACTOR:CHOICE");
		count++;
	}
	explore_replay_start(&as_before, steps, count);
	found = search_execute(search, &as_before.chooser);
	/* A schedule that was followed to its end fits, though the code may go on from there. */
	if (!found && as_before.does_not_fit && as_before.at < count) {
		fprintf(stderr, "schedule: it does not fit this build: step %u cannot be done\n",
			as_before.at);
		return 2;
	}
	if (found)
		answer_finding(search, steps, count);
	else
		answer_events(search);
	answer_end(search, found);
	return found;
}

/* Asked once after it was linked: a weak symbol that is missing would be our own core. */
static int say_whether_usable(void)
{
	char why[256];
	bool is_usable = world_has_usable_provider(why, sizeof(why));

	puts(is_usable ? "usable" : why);
	return is_usable ? 0 : 2;
}

int main(int count, char **arguments)
{
	struct search search = {.began = now_s()};
	const char *strategy;
	bool found;

	if (count == 2 && strcmp(arguments[1], "provider") == 0)
		return say_whether_usable();
	if (count != 5 && count != 9)
		wrong_use("race", "arguments",
			  "SCENARIO STRATEGY MEMORY SEED SCHEDULES SECONDS DEPTH BOUND");
	strategy = arguments[2];
	/* Whoever asked for the search and died is not waited for. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	watchdog_start(&search);
	open_engine(&search, arguments[1], arguments[3]);
	signal(SIGINT, search_interrupt);
	signal(SIGTERM, search_interrupt);
	if (strcmp(strategy, "replay") == 0)
		return replay(&search, arguments[4]);
	if (count != 9)
		wrong_use("strategy", strategy, "random, pct, exhaustive or replay");
	search.schedules_max = number("schedules", arguments[5]);
	search.until = (double)number("time", arguments[6]);
	if (search.until > 0)
		search.until += search.began;
	if (strcmp(strategy, "random") == 0)
		found = search_randomly(&search, number("seed", arguments[4]));
	else if (strcmp(strategy, "pct") == 0)
		found = search_by_priorities(&search, number("seed", arguments[4]),
					     (uint32_t)number("depth", arguments[7]));
	else if (strcmp(strategy, "exhaustive") == 0)
		found = search_everything(&search, strcmp(arguments[8], "-") == 0 ?
							   UINT32_MAX :
							   (uint32_t)number("bound", arguments[8]));
	else
		return wrong_use("strategy", strategy, "random, pct, exhaustive or replay");
	search.last_hash = sim_trace_hash(search.engine);
	if (!found)
		search_do_first_again(&search);
	answer_end(&search, found);
	if (found)
		answer_shortly(&search);
	watchdog_stop();
	free(search.first);
	sim_close(search.engine);
	world_close(search.world);
	return found;
}
