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
#define _GNU_SOURCE
#include "ondemand/usage.h"
#include "explore.h"
#include "invariants.h"
#include "words.h"
#include "world.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SHORTEN_S 3.0 /* for a schedule with fewer switches */
#define SHORTEN_SWITCHES 4U

extern const char __executable_start;

static volatile sig_atomic_t interrupted;
static uint64_t executions; /* begun so far: the watchdog looks at it */
static struct world *world;

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
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
	/* The first execution, to be done again: it must come out the same. */
	struct explore_step *first;
	uint32_t first_count;
	uint64_t first_hash, last_hash;
	bool does_not_repeat;
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
	printf("progress\tschedules=%" PRIu64 "\tsteps=%" PRIu64 "\tseconds=%.2f\tshare=%.6f\n",
	       search->schedules, search->steps, now - search->began, share);
	fflush(stdout);
}

/* One execution; true if something was found. */
static bool execute(struct search *search, struct sim_chooser *chooser)
{
	bool good;

	executions++;
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

/*
 * An execution is a function of its schedule, or a search has seen nothing for
 * certain. What could break that is a provider that keeps state where we do not
 * put it back: in a library, in a file, in the time of day.
 */
static void do_first_again(struct search *search)
{
	struct explore_replay replay;

	if (!search->first)
		return;
	explore_replay_start(&replay, search->first, search->first_count);
	executions++;
	sim_execute(search->engine, &replay.chooser);
	search->does_not_repeat = sim_trace_hash(search->engine) != search->first_hash;
	if (search->does_not_repeat)
		search->is_complete = false;
}

/* ---- the fewest switches ---------------------------------------------------------------- */

/* The same mistake, whichever buffer or index shows it. */
static bool is_same(const struct sim_finding *one, const struct sim_finding *other)
{
	return sim_is_same(one, other) &&
	       words_at(world, one->offset).name == words_at(world, other->offset).name;
}

/* The same mistake with fewer preemptions; how long the schedule is, 0: none. */
static uint32_t shorten(struct search *search, const struct sim_finding *finding,
			struct explore_step *to)
{
	double until = now_s() + SHORTEN_S;

	for (uint32_t bound = 0; bound <= SHORTEN_SWITCHES; bound++) {
		struct explore_all *all = explore_all_open(bound);
		uint64_t tried = 0;

		if (!all)
			return 0;
		do {
			executions++;
			if (!sim_execute(search->engine, explore_all_chooser(all)) &&
			    is_same(sim_finding(search->engine), finding)) {
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

static const char *const finding_words[SIM_KIND_COUNT] = {
#define SIM_KIND_WORD(name, word) word,
	SIM_KINDS(SIM_KIND_WORD)
#undef SIM_KIND_WORD
};
static const char *const kind_words[] = {"load",  "store", "exchange", "fence",
					 "sleep", "wake",  "drain"};
static const char *const order_words[] = {"relaxed", "consume", "acquire",
					  "release", "acq_rel", "seq_cst"};

static uint64_t offset_of(const void *place)
{
	return place ? (uint64_t)((const char *)place - &__executable_start) : 0;
}

static void put_word(uint32_t offset)
{
	printf("\tword=");
	words_print(stdout, words_at(world, offset));
}

static void put_event(const struct sim_engine *engine, uint32_t step)
{
	const struct sim_event *event = sim_event(engine, step);
	uint32_t actors = world->scenario.actor_count;
	bool drains = event->actor >= actors;

	printf("step\tactor=%u\tkind=%s\torder=%s", event->actor - (drains ? actors : 0),
	       kind_words[event->kind], event->order <= 5 ? order_words[event->order] : "?");
	put_word(event->offset);
	printf("\toffset=%d", (int)event->offset);
	printf("\tbefore=%" PRIu64 "\tafter=%" PRIu64 "\tchanged=%d\tchoice=%u\tchoices=%u",
	       event->before, event->after, event->changed, event->choice, event->choices);
	printf("\tplace=%" PRIu64 "\n", offset_of(event->place));
}

static void put_schedule(const struct explore_step *steps, uint32_t count)
{
	printf("\tschedule=");
	for (uint32_t i = 0; i < count; i++) {
		printf(i ? " %u" : "%u", steps[i].actor);
		if (steps[i].choice)
			printf(":%u", steps[i].choice);
	}
}

static void put_events(const struct search *search)
{
	for (uint32_t i = 0; i < sim_steps(search->engine); i++)
		put_event(search->engine, i);
}

/* A store that reaches memory out of a buffer is nobody's turn. */
static uint32_t count_switches(const struct sim_engine *engine)
{
	uint32_t switches = 0, last = UINT32_MAX;

	for (uint32_t i = 0; i < sim_steps(engine); i++) {
		const struct sim_event *event = sim_event(engine, i);

		if (event->kind == SIM_DRAIN)
			continue;
		switches += last != UINT32_MAX && last != event->actor;
		last = event->actor;
	}
	return switches;
}

/* Without steps: its schedule does not show it again. */
static void put_summary(const struct search *search, const struct sim_finding *finding,
			const struct explore_step *steps, uint32_t count)
{
	printf("finding\tkind=%s\tactor=%d", finding_words[sim_kind_of(finding->found)],
	       finding->actor == UINT32_MAX ? -1 : (int)finding->actor);
	sim_print_finding(stdout, finding);
	put_word(finding->offset);
	printf("\tshows_again=%d\tplace=%" PRIu64 "\tother_place=%" PRIu64, steps != NULL,
	       offset_of(finding->place), offset_of(finding->other_place));
	printf("\tswitches=%u\thash=%016" PRIx64, count_switches(search->engine),
	       sim_trace_hash(search->engine));
	put_schedule(steps, count);
	printf("\n");
}

static void put_finding(const struct search *search, const struct explore_step *steps,
			uint32_t count)
{
	put_events(search);
	put_summary(search, sim_finding(search->engine), steps, count);
}

static void put_end(const struct search *search, bool found)
{
	double seconds = now_s() - search->began;

	printf("end\tfound=%d\tschedules=%" PRIu64 "\tcut=%" PRIu64 "\tsteps=%" PRIu64, found,
	       search->schedules, search->cut, search->steps);
	printf("\tseconds=%.3f\tlongest=%u\tcomplete=%d\tinterrupted=%d\trepeats=%d", seconds,
	       search->longest, search->is_complete, interrupted != 0, !search->does_not_repeat);
	printf("\thash=%016" PRIx64 "\n",
	       search->last_hash ? search->last_hash : sim_trace_hash(search->engine));
	/* A finding takes seconds to shorten: who only wants to know whether there is one need not wait. */
	fflush(stdout);
}

static void explain(struct search *search)
{
	static struct explore_step steps[SIM_STEPS_MAX], fewer[SIM_STEPS_MAX];
	uint32_t count = explore_schedule(search->engine, steps);
	struct sim_finding finding = *sim_finding(search->engine);
	uint32_t short_count = shorten(search, &finding, fewer);
	struct explore_replay replay;

	if (short_count && explore_switches(fewer, short_count) < explore_switches(steps, count)) {
		memcpy(steps, fewer, sizeof(steps[0]) * short_count);
		count = short_count;
	}
	explore_replay_start(&replay, steps, count);
	sim_execute(search->engine, &replay.chooser);
	if (!is_same(sim_finding(search->engine), &finding)) {
		/* What was seen was seen, though its schedule shows something else by now. */
		put_summary(search, &finding, NULL, 0);
		return;
	}
	put_finding(search, steps, count);
}

/* ---- what does not come back ------------------------------------------------------------ */

#define TICK_US 250000

static struct search *watched;

/* Outside of an actor there is nothing to go back to: say what there is, and end. */
static void __attribute__((noreturn)) end_here(void)
{
	static struct explore_step steps[SIM_STEPS_MAX];

	put_end(watched, true);
	put_finding(watched, steps, explore_schedule(watched->engine, steps));
	fflush(stdout);
	_exit(1);
}

/*
 * The handlers run on the stack of the actor that they interrupt, and sim_fail()
 * leaves it for good: no step is half done, since an actor that makes steps is
 * not what they are for.
 */
static void on_crash(int number)
{
	sim_fail(SIGNAL, (uint64_t)number);
	end_here();
}

/* Each quarter second of processor time: has any step been done since the last two? */
static void on_tick(int number)
{
	static uint64_t executions_before, hash_before;
	static uint32_t same;

	(void)number;
	if (!watched->engine) {
		if (same++ > 0)
			sim_fail(NO_END);
		return;
	}
	same = executions == executions_before && sim_trace_hash(watched->engine) == hash_before ?
		       same + 1 :
		       0;
	executions_before = executions;
	hash_before = sim_trace_hash(watched->engine);
	if (same < 2)
		return;
	same = 0;
	sim_fail(NEVER_YIELDS);
	end_here();
}

void __assert_fail(const char *what, const char *file, unsigned int line, const char *function)
	__attribute__((noreturn));

/* In the place of the C library's: a failed assertion ends the execution, not the search. */
void __assert_fail(const char *what, const char *file, unsigned int line, const char *function)
{
	sim_report((struct sim_finding){
		.found = SIM_FOUND_ASSERTION,
		.offset = UINT32_MAX,
		.numbers = {line},
		.quote = {file, function, what},
	});
	end_here();
}

static void watch(struct search *search)
{
	static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
	/* SA_NODEFER: a handler that leaves for another stack never returns. */
	struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_NODEFER | SA_RESTART};

	watched = search;
	for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
		sigaction(crashes[i], &action, NULL);
	action.sa_handler = on_tick;
	sigaction(SIGPROF, &action, NULL);
	/* Processor time, not the clock: a busy machine is no livelock. */
	setitimer(ITIMER_PROF, &(struct itimerval){{0, TICK_US}, {0, TICK_US}}, NULL);
}

/* ---- commands ----------------------------------------------------------------------------- */

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

static void __attribute__((noreturn)) refuse(struct world_refusal refusal)
{
	static const char *const names[] = {"NOTHING",
#define WORLD_REFUSED_NAME(name) #name,
					    WORLD_REFUSALS(WORLD_REFUSED_NAME)
#undef WORLD_REFUSED_NAME
	};

	fprintf(stderr, "refused\twhy=%s\toperation=%u\n", names[refusal.why], refusal.operation);
	exit(2);
}

static struct sim_engine *open_engine(const char *scenario, const char *memory)
{
	struct world_refusal refusal;
	struct sim_engine *engine;
	FILE *file = fopen(scenario, "r");

	if (!file)
		wrong_use("scenario", scenario, strerror(errno));
	world = world_open(file, &refusal);
	fclose(file);
	if (!world)
		refuse(refusal);
	engine = sim_open(&(struct sim_setup){
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
	/* A schedule that was followed to its end fits, though the code may go on from there. */
	if (!found && as_before.does_not_fit && as_before.at < count) {
		fprintf(stderr, "schedule: it does not fit this build: step %u cannot be done\n",
			as_before.at);
		return 2;
	}
	if (found)
		put_finding(search, steps, count);
	else
		put_events(search);
	put_end(search, found);
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
	watch(&search);
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
	search.last_hash = sim_trace_hash(search.engine);
	if (!found)
		do_first_again(&search);
	put_end(&search, found);
	if (found)
		explain(&search);
	/* The watchdog looks into the engine. */
	setitimer(ITIMER_PROF, &(struct itimerval){0}, NULL);
	free(search.first);
	sim_close(search.engine);
	world_close(world);
	return found;
}
