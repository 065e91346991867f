/* SPDX-License-Identifier: MIT */
/*
 * The program that `zcrx-emu race` calls: it reads a scenario, searches, and
 * answers in lines of JSON.
 *
 *	SCENARIO STRATEGY MEMORY SEED SCHEDULES SECONDS DEPTH BOUND
 *	SCENARIO replay MEMORY STEP,STEP,…	(STEP: actor or actor:choice)
 *
 * STRATEGY: random, pct, exhaustive. MEMORY: sc, tso, c11. 0 schedules or seconds:
 * no limit. DEPTH is pct's; BOUND the preemptions of an exhaustive search, - for
 * none. Code 0: nothing found; 1: a finding; 2: wrong use.
 */
#define _GNU_SOURCE
#include "explore.h"
#include "world.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SHORTEN_S 3.0 /* for a schedule with fewer switches */
#define SHORTEN_SWITCHES 4U

extern const char __executable_start;

static volatile sig_atomic_t interrupted;
static struct world *world;

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

static int wrong_use(const char *what, const char *value, const char *why)
{
	fprintf(stderr, "%s: %s: %s\n", what, value, why);
	exit(2);
}

static uint64_t number(const char *name, const char *text)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *end)
		wrong_use(name, text, "it must be a number");
	return value;
}

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ---- the search --------------------------------------------------------------------- */

struct search {
	struct sim_engine *engine;
	uint64_t schedules, cut, steps;
	uint64_t schedules_max;
	double began, until; /* 0 = no limit */
	double told;
	uint32_t longest;
	bool is_complete;
};

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
	printf("{\"event\": \"progress\", \"schedules\": %" PRIu64 ", \"steps\": %" PRIu64
	       ", \"seconds\": %.2f, \"share\": %.6f}\n",
	       search->schedules, search->steps, now - search->began, share);
	fflush(stdout);
}

/* One execution; true if something was found. */
static bool execute(struct search *search, struct sim_chooser *chooser)
{
	bool good = sim_execute(search->engine, chooser);

	search->schedules++;
	search->steps += sim_steps(search->engine);
	search->cut += sim_was_cut(search->engine);
	if (sim_steps(search->engine) > search->longest)
		search->longest = sim_steps(search->engine);
	return !good;
}

static bool search_randomly(struct search *search, uint64_t seed)
{
	struct explore_random random;

	while (!is_over(search)) {
		explore_random_start(&random, seed + search->schedules);
		if (execute(search, &random.chooser))
			return true;
		tell(search, 0.0);
	}
	return false;
}

static bool search_by_priorities(struct search *search, uint64_t seed, uint32_t depth)
{
	struct explore_pct pct;

	while (!is_over(search)) {
		explore_pct_start(&pct, seed + search->schedules, depth, sim_actors(search->engine),
				  search->longest);
		if (execute(search, &pct.chooser))
			return true;
		tell(search, 0.0);
	}
	return false;
}

static bool search_everything(struct search *search, uint32_t bound)
{
	struct explore_all *all = explore_all_open(bound);
	bool found = false;

	if (!all)
		wrong_use("memory", "search", strerror(ENOMEM));
	while (!found && !is_over(search)) {
		found = execute(search, explore_all_chooser(all));
		if (!found && !explore_all_next(all)) {
			search->is_complete = true;
			break;
		}
		tell(search, explore_all_share(all));
	}
	explore_all_close(all);
	return found;
}

/* ---- the fewest switches ---------------------------------------------------------------- */

/* The same kind of finding with fewer preemptions than `schedule` has; how long it is, 0: none. */
static uint32_t shorten(struct search *search, enum sim_finding_kind kind, struct explore_step *to)
{
	double until = now_s() + SHORTEN_S;

	for (uint32_t bound = 0; bound <= SHORTEN_SWITCHES; bound++) {
		struct explore_all *all = explore_all_open(bound);
		uint64_t tried = 0;

		if (!all)
			return 0;
		do {
			if (!sim_execute(search->engine, explore_all_chooser(all)) &&
			    sim_finding(search->engine)->kind == kind) {
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

/* ---- what came of it -------------------------------------------------------------------- */

static const char *const finding_words[] = {
	"nothing", "wrong", "race", "deadlock", "lost-wakeup", "livelock", "assertion",
};
static const char *const kind_words[] = {"load",  "store", "exchange", "fence",
					 "sleep", "wake",  "drain"};
static const char *const order_words[] = {"relaxed", "consume", "acquire",
					  "release", "acq_rel", "seq_cst"};

static void put_event(const struct sim_engine *engine, uint32_t step)
{
	const struct sim_event *event = sim_event(engine, step);
	bool drains = event->actor >= world->actor_count;
	uint32_t actor = drains ? event->actor - world->actor_count : event->actor;
	char name[64];

	world_name(world, event->offset, name, sizeof(name));
	printf("{\"event\": \"step\", \"step\": %u, \"actor\": %u, \"name\": \"%s\", ", step, actor,
	       world->actors[actor].name);
	printf("\"kind\": \"%s\", \"order\": \"%s\", \"word\": \"%s\", ", kind_words[event->kind],
	       event->order <= 5 ? order_words[event->order] : "?", name);
	printf("\"before\": %" PRIu64 ", \"after\": %" PRIu64 ", \"changed\": %s, ", event->before,
	       event->after, event->changed ? "true" : "false");
	printf("\"choice\": %u, \"choices\": %u, \"place\": %" PRIu64 "}\n", event->choice,
	       event->choices,
	       event->place ? (uint64_t)((const char *)event->place - &__executable_start) : 0);
}

static void put_schedule(const struct explore_step *steps, uint32_t count)
{
	printf("\"schedule\": \"");
	for (uint32_t i = 0; i < count; i++) {
		printf(i ? " %u" : "%u", steps[i].actor);
		if (steps[i].choice)
			printf(":%u", steps[i].choice);
	}
	printf("\"");
}

static void put_finding(struct search *search, struct explore_step *steps, uint32_t count)
{
	const struct sim_finding *finding = sim_finding(search->engine);

	for (uint32_t i = 0; i < sim_steps(search->engine); i++)
		put_event(search->engine, i);
	printf("{\"event\": \"finding\", \"kind\": \"%s\", \"actor\": %d, \"text\": \"%s\", ",
	       finding_words[finding->kind],
	       finding->actor == UINT32_MAX ? -1 : (int)finding->actor, finding->text);
	printf("\"switches\": %u, \"hash\": \"%016" PRIx64 "\", ", explore_switches(steps, count),
	       sim_trace_hash(search->engine));
	put_schedule(steps, count);
	printf("}\n");
}

static void put_end(const struct search *search, bool found)
{
	double seconds = now_s() - search->began;

	printf("{\"event\": \"end\", \"found\": %s, \"schedules\": %" PRIu64 ", \"cut\": %" PRIu64
	       ", \"steps\": %" PRIu64
	       ", \"seconds\": %.3f, \"longest\": %u, \"complete\": %s, \"interrupted\": %s"
	       ", \"hash\": \"%016" PRIx64 "\"}\n",
	       found ? "true" : "false", search->schedules, search->cut, search->steps, seconds,
	       search->longest, search->is_complete ? "true" : "false",
	       interrupted ? "true" : "false", sim_trace_hash(search->engine));
	/* A finding takes seconds to shorten: who only wants to know whether there is one need not wait. */
	fflush(stdout);
}

static void explain(struct search *search)
{
	static struct explore_step steps[SIM_STEPS_MAX], fewer[SIM_STEPS_MAX];
	uint32_t count = explore_schedule(search->engine, steps);
	uint32_t short_count = shorten(search, sim_finding(search->engine)->kind, fewer);
	struct explore_replay replay;

	if (short_count && explore_switches(fewer, short_count) < explore_switches(steps, count)) {
		memcpy(steps, fewer, sizeof(steps[0]) * short_count);
		count = short_count;
	}
	explore_replay_start(&replay, steps, count);
	sim_execute(search->engine, &replay.chooser);
	put_finding(search, steps, count);
}

/* ---- commands ----------------------------------------------------------------------------- */

static char *read_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	char *text = calloc(1, 65536);

	if (!file || !text)
		wrong_use("scenario", path, strerror(errno));
	if (fread(text, 1, 65535, file) == 65535)
		wrong_use("scenario", path, "it is too long");
	fclose(file);
	return text;
}

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

static struct sim_engine *open_engine(const char *scenario, const char *memory)
{
	static const char *names[SIM_ACTORS_MAX];
	struct sim_engine *engine;
	char *text = read_file(scenario);
	char why[256] = "no memory";

	world = world_open(text, why, sizeof(why));
	free(text);
	if (!world)
		wrong_use("scenario", scenario, why);
	for (uint32_t i = 0; i < world->actor_count; i++)
		names[i] = world->actors[i].name;
	engine = sim_open(&(struct sim_setup){
		.memory = memory_of(memory),
		.actors = world->actor_count,
		.names = names,
		.shared = world->shared,
		.shared_size = world->shared_size,
		.whole = world->memory,
		.whole_size = world->memory_size,
		.act = world_act,
		.judge = world_judge,
		.context = world,
	});
	if (!engine)
		wrong_use("memory", scenario, strerror(ENOMEM));
	return engine;
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
	found = execute(search, &as_before.chooser);
	if (as_before.does_not_fit || (sim_was_cut(search->engine) && !found)) {
		fprintf(stderr, "schedule: it does not fit this build: step %u cannot be done\n",
			as_before.at);
		return 2;
	}
	if (found)
		put_finding(search, steps, count);
	put_end(search, found);
	return found;
}

int main(int count, char **arguments)
{
	struct search search = {.began = now_s()};
	const char *strategy;
	bool found;

	if (count != 5 && count != 9)
		wrong_use("race", "arguments",
			  "SCENARIO STRATEGY MEMORY SEED SCHEDULES SECONDS DEPTH BOUND");
	strategy = arguments[2];
	search.engine = open_engine(arguments[1], arguments[3]);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
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
	put_end(&search, found);
	if (found)
		explain(&search);
	sim_close(search.engine);
	world_close(world);
	return found;
}
