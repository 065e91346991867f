/* SPDX-License-Identifier: MIT */
/*
 * The fuzzer's own program: what `zcrx-emu fuzz` and `replay` call when no other
 * engine is at work. It reads programs as bytes and answers in records: a line each, a word and
 * values by name. What they mean is put into words by emu/fuzz/program.py and account.py.
 *
 *	generate SEED SECONDS RUNS OPS [FILE…]	make programs up and run them (0 = no limit)
 *	run FILE [BEFORE]			run one in a child, step by step
 *	state FILE [BEFORE]			the same with the whole state after each step
 *	minimise FILE OUT TRIALS TIMEOUT [BEFORE]	the shortest one that shows the same
 *	execute FILE…				run each here, silently (to measure coverage)
 *	measure FILE FROM TIMEOUT		what each program of a file (as BEFORE) reaches
 *	draw SEED COUNT OPS FOLDER		write programs that were made up
 *
 * BEFORE holds programs that run first in the same process, each with its size (u32)
 * before its bytes; minimise writes those that are left of them in their place.
 * ZCRX_FUZZ_… as in reporter.h; ZCRX_FUZZ_COUNTS when coverage is counted.
 * Code 0: nothing found; 1: a finding; 2: wrong use.
 */
#include "ondemand/usage.h"
#include "measure.h"
#include "mutate.h"
#include "reporter.h"
#include "sandbox.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define TRIAL_TIMEOUT_S 5U

static size_t read_file(const char *path, uint8_t *bytes, size_t max)
{
	FILE *file = fopen(path, "rb");
	size_t size;

	if (!file)
		wrong_use("file", path, strerror(errno));
	size = fread(bytes, 1, max, file);
	fclose(file);
	return size;
}

static void read_program(struct fuzz_program *program, const char *path)
{
	uint8_t bytes[FUZZ_PROGRAM_BYTES];

	fuzz_decode(program, bytes, read_file(path, bytes, sizeof(bytes)));
}

static void write_program(const struct fuzz_program *program, const char *path)
{
	uint8_t bytes[FUZZ_PROGRAM_BYTES];
	size_t size = fuzz_encode(program, bytes, sizeof(bytes));
	FILE *file = fopen(path, "wb");

	if (!file || fwrite(bytes, 1, size, file) != size || fclose(file))
		wrong_use("file", path, strerror(errno));
}

/* ---- records -------------------------------------------------------------------- */

static void put_end(const struct fuzz_trial *trial)
{
	static const char *const outcomes[] = {"clean", "finding", "crash", "hang"};
	const struct fuzz_end *end = &trial->end;

	printf("end\toutcome=%s", outcomes[trial->outcome]);
	if (trial->outcome == FUZZ_FOUND)
		fuzz_put_finding(stdout, &trial->finding);
	else if (trial->outcome != FUZZ_CLEAN)
		printf("\tstep=%u\tsignal=%d\tcode=%d\tsanitizer=%s", end->step, end->signal,
		       end->code, end->sanitizer);
	printf("\n");
	fflush(stdout);
}

static void put_operation(const struct fuzz_program *program, uint32_t step)
{
	const struct fuzz_op *op = &program->ops[step];

	printf("step\tstep=%u\tqueue=%u\tkind=%s\tmode=%u\tpick=%u\tcount=%u\tvalue=%u", step,
	       op->queue, fuzz_words[op->kind], op->mode, op->pick, op->count, op->value);
	printf("\toff=%" PRIu64 "\tlen=%u\tpad=%u", op->rqe.off, op->rqe.len, op->rqe.__pad);
}

static void put_answers(const char *name, const struct fuzz_results *results)
{
	printf("\t%s=", name);
	for (uint32_t i = 0; i < results->count; i++)
		printf(i ? " %" PRId64 : "%" PRId64, results->values[i]);
}

/* An operation, and what both sides say of it: four numbers for each entry that was judged. */
static void put_done(struct fuzz_runner *runner, const struct fuzz_program *program, uint32_t step)
{
	uint32_t queue = program->ops[step].queue;
	const struct judge *judge = &runner->judges[queue];
	const struct zcrx_trace *trace = &runner->subjects[queue].trace;

	put_operation(program, step);
	put_answers("answers_due", &runner->expected);
	put_answers("answers", &runner->actual);
	printf("\tentries_due=");
	for (uint32_t i = 0; i < judge->said_count; i++)
		printf("%s%u %u %u %u", i ? " " : "", judge->said[i].index, judge->said[i].verdict,
		       judge->said[i].niov, judge->said[i].alias);
	printf("\tentries=");
	for (uint32_t i = 0; i < trace->count; i++)
		printf("%s%u %u %u %u", i ? " " : "", trace->entries[i].index,
		       trace->entries[i].verdict, trace->entries[i].niov, trace->entries[i].alias);
}

static void put_step(struct fuzz_runner *runner, const struct fuzz_program *program, uint32_t step)
{
	put_done(runner, program, step);
	printf("\n");
	fflush(stdout);
}

/* The operation that did not end has no answer. */
static void put_last_step(const struct fuzz_program *program, const struct fuzz_trial *trial)
{
	if ((trial->outcome != FUZZ_CRASHED && trial->outcome != FUZZ_HUNG) ||
	    trial->end.step >= program->count)
		return;
	put_operation(program, trial->end.step);
	printf("\n");
}

static void put_list(const char *name, const uint32_t *values, uint32_t count, uint32_t stride)
{
	printf("\t%s=", name);
	for (uint32_t i = 0; i < count; i++)
		printf(i ? " %u" : "%u", values[i * stride]);
}

static void put_pool(const struct zcrx_page_pool *pool, uint32_t slot)
{
	uint32_t niovs[FUZZ_PTR_RING_MAX];
	uint32_t phase = zcrx_pp_phase(pool);
	bool used = phase != ZCRX_POOL_UNUSED;
	char name[16];

	printf("\tpool%u=%u %u", slot, phase, used ? zcrx_pp_inflight(pool) : 0);
	snprintf(name, sizeof(name), "cache%u", slot);
	put_list(name, pool->shared->cache, used ? zcrx_pp_cache_count(pool) : 0, 1);
	snprintf(name, sizeof(name), "ring%u", slot);
	put_list(name, niovs, used ? zcrx_pp_ring_snapshot(pool, niovs, FUZZ_PTR_RING_MAX) : 0, 1);
}

static void put_areas(const struct judge *judge, const struct fuzz_subject *subject)
{
	static uint32_t niovs[FUZZ_ALL_NIOVS_MAX];

	printf("\tareas=");
	for (uint32_t id = 0; id < judge->area_count; id++)
		printf(id ? " %u" : "%u", zcrx_area_size(&subject->area, id));
	put_list("freelist", niovs,
		 zcrx_area_free_snapshot(&subject->area, niovs, FUZZ_ALL_NIOVS_MAX), 1);
}

/* What the judge's buffers say of who holds what is not state: the model keeps its own account. */
static void put_state(struct fuzz_runner *runner, const struct fuzz_program *program, uint32_t step)
{
	const struct fuzz_op *op = &program->ops[step];
	const struct fuzz_subject *subject = &runner->subjects[op->queue];
	const struct zcrx_ifq_shared *shared = subject->ifq.shared;
	const struct judge *judge = &runner->judges[op->queue];
	uint32_t niovs = judge->num_niovs;

	put_done(runner, program, step);
	printf("\tfrom=%u\trounds=%u", op->kind == FUZZ_REPEAT ? fuzz_stretch(program, step) : step,
	       runner->rounds);
	printf("\thead=%u\ttail=%u\tcached_head=%u",
	       shm_load_relaxed_u32(subject->ifq.rq.head, POINT_RQ_HEAD_LOAD),
	       shm_load_relaxed_u32(subject->ifq.rq.tail, POINT_COUNTER),
	       subject->ifq.rq.cached_head);
	put_areas(judge, subject);
	put_list("user_refs", (const uint32_t *)&subject->area.niovs->user_refs, niovs, 4);
	put_list("pp_refs", (const uint32_t *)&subject->area.niovs->pp_refs, niovs, 4);
	put_list("niov_pool", (const uint32_t *)&subject->area.niovs->pool, niovs, 4);
	printf("\tcurrent_pool=%u\tinstance_refs=%u\tverdicts=", shared->current_pool,
	       shared->refs);
	for (uint32_t verdict = 0; verdict < ZCRX_VERDICT_COUNT; verdict++)
		printf(verdict ? " %" PRIu64 : "%" PRIu64,
		       shm_load_relaxed_u64(&shared->verdicts[verdict], POINT_COUNTER));
	printf("\taliases=%" PRIu64 "\talloc_failures=%" PRIu64 "\tdestroy_warnings=%" PRIu64,
	       shm_load_relaxed_u64(&shared->aliases, POINT_COUNTER),
	       shm_load_relaxed_u64(&shared->alloc_failures, POINT_COUNTER),
	       shm_load_relaxed_u64(&shared->destroy_warnings, POINT_COUNTER));
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++)
		put_pool(&subject->ifq.pools[slot], slot);
	printf("\n");
	fflush(stdout);
}

static void put_shape(const struct fuzz_program *program)
{
	const struct fuzz_shape *shape = &program->shape;

	printf("shape\toperations=%u\tnum_niovs=%u\trq_entries=%u\tptr_ring_size=%u",
	       program->count, shape->num_niovs, shape->rq_entries, shape->ptr_ring_size);
	printf("\tinitial_index=%u\tqueues=%u\tkernel=%u\thas_no_device=%u\tstrict_alias=%u\tis_"
	       "checked=%u"
	       "\trecords=%u\n",
	       shape->initial_index, shape->queues, shape->contract.level, shape->has_no_device,
	       zcrx_contract_is_strict(shape->contract), shape->is_checked, shape->records);
	fflush(stdout);
}

/* ---- commands -------------------------------------------------------------------- */

static struct fuzz_reporter reporter;

static struct fuzz_sandbox *open_court(uint32_t timeout_s, int quiet_fd)
{
	struct fuzz_sandbox *sandbox = fuzz_sandbox_open(reporter.runner.ops, timeout_s, quiet_fd);

	if (!sandbox)
		wrong_use("memory", "trial", strerror(ENOMEM));
	return sandbox;
}

/* Programs that run before the one in question. */
struct before {
	struct fuzz_program *programs;
	uint32_t count;
};

static struct before read_before(const char *path)
{
	struct before before = {0};
	FILE *file = fopen(path, "rb");
	uint8_t bytes[FUZZ_PROGRAM_BYTES];
	uint32_t size, room = 0;

	if (!file)
		wrong_use("file", path, strerror(errno));
	while (fread(&size, sizeof(size), 1, file) == 1) {
		if (size > sizeof(bytes) || fread(bytes, 1, size, file) != size)
			wrong_use("file", path, "programs, each with its size before it");
		if (before.count == room) {
			room = room ? 2 * room : 16;
			before.programs = realloc(before.programs, sizeof(*before.programs) * room);
			if (!before.programs)
				wrong_use("memory", path, strerror(ENOMEM));
		}
		fuzz_decode(&before.programs[before.count++], bytes, size);
	}
	fclose(file);
	return before;
}

static void write_before(const struct before *before, const char *path)
{
	FILE *file = fopen(path, "wb");
	bool good = file != NULL;

	for (uint32_t i = 0; good && i < before->count; i++) {
		uint8_t bytes[FUZZ_PROGRAM_BYTES];
		uint32_t size = (uint32_t)fuzz_encode(&before->programs[i], bytes, sizeof(bytes));

		good = fwrite(&size, sizeof(size), 1, file) == 1 &&
		       fwrite(bytes, 1, size, file) == size;
	}
	if (!good || fclose(file))
		wrong_use("file", path, strerror(errno));
}

static int run(int count, char **arguments, bool with_state)
{
	struct fuzz_program program;
	struct before before = {0};
	struct fuzz_trial trial;
	struct fuzz_sandbox *sandbox;

	if (count != 1 && count != 2)
		wrong_use("run", "file", "name one");
	if (count == 2)
		before = read_before(arguments[1]);
	/* What a sanitizer says goes to stderr: that is what people want to read. */
	sandbox = open_court(TRIAL_TIMEOUT_S, STDERR_FILENO);
	fuzz_sandbox_begin_with(sandbox, before.programs, before.count);
	read_program(&program, arguments[0]);
	put_shape(&program);
	fuzz_try(sandbox, &program, with_state ? put_state : put_step, &trial);
	put_last_step(&program, &trial);
	put_end(&trial);
	fuzz_sandbox_close(sandbox);
	free(before.programs);
	return trial.outcome != FUZZ_CLEAN;
}

static int minimise(int count, char **arguments)
{
	struct fuzz_program program;
	struct before before = {0};
	struct fuzz_trial trial;
	struct fuzz_sandbox *sandbox;
	uint32_t trials = 0;

	if (count != 4 && count != 5)
		wrong_use("minimise", "arguments", "FILE OUT TRIALS TIMEOUT [BEFORE]");
	if (count == 5)
		before = read_before(arguments[4]);
	sandbox = open_court((uint32_t)number("timeout", arguments[3]), -1);
	fuzz_sandbox_begin_with(sandbox, before.programs, before.count);
	read_program(&program, arguments[0]);
	fuzz_try(sandbox, &program, NULL, &trial);
	if (trial.outcome != FUZZ_CLEAN) {
		struct fuzz_trial shown = trial;

		trials = fuzz_minimise(sandbox, &program, &shown,
				       (uint32_t)number("trials", arguments[2]));
		fuzz_try(sandbox, &program, NULL, &trial);
	}
	write_program(&program, arguments[1]);
	before.count = fuzz_sandbox_before(sandbox);
	if (count == 5)
		write_before(&before, arguments[4]);
	printf("minimised\toperations=%u\ttrials=%u\n", program.count, trials);
	put_end(&trial);
	fuzz_sandbox_close(sandbox);
	free(before.programs);
	return trial.outcome != FUZZ_CLEAN;
}

#define SEEDS_MAX 4096U

/* Programs to start from, if there are any: every other one is a change of one of them. */
struct seeds {
	struct fuzz_program *programs;
	uint32_t count;
};

static struct seeds read_seeds(int count, char **files)
{
	struct seeds seeds = {.count = 0};

	if (count > (int)SEEDS_MAX)
		count = (int)SEEDS_MAX;
	if (count == 0)
		return seeds;
	seeds.programs = calloc((size_t)count, sizeof(*seeds.programs));
	if (!seeds.programs)
		wrong_use("memory", "seeds", strerror(ENOMEM));
	while (seeds.count < (uint32_t)count) {
		read_program(&seeds.programs[seeds.count], files[seeds.count]);
		seeds.count++;
	}
	return seeds;
}

static int generate(int count, char **arguments)
{
	static struct fuzz_program program;
	uint8_t bytes[FUZZ_PROGRAM_BYTES];
	uint64_t seed, seconds, runs, ops, found = 0, done = 0;
	uint32_t level = fuzz_level_asked();
	struct seeds seeds;
	double started = now_s();

	if (count < 4)
		wrong_use("generate", "arguments", "SEED SECONDS RUNS OPS [FILE…]");
	seed = number("seed", arguments[0]);
	seconds = number("seconds", arguments[1]);
	runs = number("runs", arguments[2]);
	ops = number("ops", arguments[3]);
	seeds = read_seeds(count - 4, arguments + 4);
	while (runs == 0 || done < runs) {
		struct zcrx_rng rng = zcrx_rng_for(seed, done);
		size_t size;

		if (seeds.count && zcrx_rng_below(&rng, 2)) {
			program = seeds.programs[zcrx_rng_below(&rng, seeds.count)];
			fuzz_mutate(&program, &rng);
		} else {
			fuzz_generate(&program, ops ? (uint32_t)ops : 1 + zcrx_rng_below(&rng, 48),
				      &rng);
		}
		fuzz_set_level(&program, level);
		size = fuzz_encode(&program, bytes, sizeof(bytes));
		found += !sink_run(&reporter, &program, bytes, size);
		done++;
		/* The clock costs as much as a small program. */
		if (done % 256 == 0 && seconds && now_s() - started >= (double)seconds)
			break;
	}
	printf("generated\texecutions=%" PRIu64 "\tfindings=%" PRIu64 "\tseconds=%.3f\n", done,
	       found, now_s() - started);
	free(seeds.programs);
	return found != 0;
}

/* ---- coverage until the end -------------------------------------------------------- */

static void leave(void)
{
	alarm(TRIAL_TIMEOUT_S); /* whatever was going on may hold a lock that a handler wants */
	exit(1);
}

static void leave_by_signal(int number)
{
	signal(number, SIG_DFL); /* a second one is the end */
	leave();
}

/*
 * What a program reached before it crashed or hung counts as well; but counters are
 * written by exit handlers, ours and the provider's, of which a signal knows nothing.
 */
static void count_to_the_end(void)
{
	static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM};

	if (!getenv("ZCRX_FUZZ_COUNTS"))
		return;
	for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		signal(fatal[i], leave_by_signal);
#ifdef HAS_ASAN
	__sanitizer_set_death_callback(leave);
#endif
}

static int execute(int count, char **files)
{
	static struct fuzz_program program;
	uint8_t bytes[FUZZ_PROGRAM_BYTES];
	uint64_t found = 0;

	for (int i = 0; i < count; i++) {
		size_t size = read_file(files[i], bytes, sizeof(bytes));

		if (getenv("ZCRX_FUZZ_COUNTS"))
			alarm(TRIAL_TIMEOUT_S);
		fuzz_decode(&program, bytes, size);
		found += !sink_run(&reporter, &program, bytes, size);
	}
	printf("executed\texecutions=%d\tfindings=%" PRIu64 "\n", count, found);
	return found != 0;
}

static int measure(int count, char **arguments)
{
	if (count != 3)
		wrong_use("measure", "arguments", "FILE FROM TIMEOUT");
	return fuzz_measure(&reporter.runner, arguments[0], number("from", arguments[1]),
			    (uint32_t)number("timeout", arguments[2])) != 0;
}

static int draw(int count, char **arguments)
{
	struct fuzz_program program;
	uint64_t seed, programs;

	if (count != 4)
		wrong_use("draw", "arguments", "SEED COUNT OPS FOLDER");
	seed = number("seed", arguments[0]);
	programs = number("count", arguments[1]);
	for (uint64_t i = 0; i < programs; i++) {
		struct zcrx_rng rng = zcrx_rng_for(seed, i);
		char path[4096];

		fuzz_generate(&program, (uint32_t)number("ops", arguments[2]), &rng);
		fuzz_set_level(&program, fuzz_level_asked());
		snprintf(path, sizeof(path), "%s/%06" PRIu64 ".program", arguments[3], i);
		write_program(&program, path);
	}
	return 0;
}

int main(int count, char **arguments)
{
	const char *command = count > 1 ? arguments[1] : "";

	sink_open(&reporter);
	count_to_the_end();
	if (strcmp(command, "generate") == 0)
		return generate(count - 2, arguments + 2);
	if (strcmp(command, "run") == 0)
		return run(count - 2, arguments + 2, false);
	if (strcmp(command, "state") == 0)
		return run(count - 2, arguments + 2, true);
	if (strcmp(command, "minimise") == 0)
		return minimise(count - 2, arguments + 2);
	if (strcmp(command, "execute") == 0)
		return execute(count - 2, arguments + 2);
	if (strcmp(command, "measure") == 0)
		return measure(count - 2, arguments + 2);
	if (strcmp(command, "draw") == 0)
		return draw(count - 2, arguments + 2);
	return wrong_use("command", command,
			 "generate, run, state, minimise, execute, measure or draw are known");
}
