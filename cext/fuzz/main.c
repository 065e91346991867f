/* SPDX-License-Identifier: MIT */
/*
 * The fuzzer's own program: what `zcrx-emu fuzz` and `replay` call when no other
 * engine is at work. It reads programs as bytes and answers in lines of JSON.
 *
 *	generate SEED SECONDS RUNS OPS [FILE…]	make programs up and run them (0 = no limit)
 *	run FILE [BEFORE]			run one in a child, step by step
 *	state FILE [BEFORE]			the same with the whole state after each step
 *	minimise FILE OUT TRIALS TIMEOUT [BEFORE]	the shortest one with the same signature
 *	execute FILE…				run each here, silently (to measure coverage)
 *	draw SEED COUNT OPS FOLDER		write programs that were made up
 *
 * BEFORE holds programs that run first in the same process, each with its size (u32)
 * before its bytes; minimise writes those that are left of them in their place.
 * ZCRX_FUZZ_… as in sink.h; ZCRX_FUZZ_COUNTS when coverage is counted.
 * Code 0: nothing found; 1: a finding; 2: wrong use.
 */
#include "ondemand/usage.h"
#include "mutate.h"
#include "sink.h"
#include "trial.h"

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

/* ---- JSON ----------------------------------------------------------------------- */

static void put_string(const char *name, const char *text)
{
	printf("\"%s\": \"", name);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		if ((unsigned char)*text >= ' ')
			putchar(*text);
	}
	putchar('"');
}

static void put_finding(const struct fuzz_trial *trial)
{
	static const char *const outcomes[] = {"clean", "finding", "crash", "hang"};
	const struct fuzz_finding *finding = &trial->finding;

	printf("{\"event\": \"end\", \"outcome\": \"%s\"", outcomes[trial->outcome]);
	if (trial->outcome != FUZZ_CLEAN) {
		printf(", \"step\": %u, ", finding->step);
		put_string("signature", finding->signature);
		printf(", ");
		put_string("meaning", trial->outcome == FUZZ_FOUND ?
					      fuzz_finding_meanings[finding->kind] :
					      finding->what);
		printf(", ");
		put_string("what", finding->what);
		printf(", ");
		put_string("expected", finding->expected);
		printf(", ");
		put_string("actual", finding->actual);
	}
	printf("}\n");
	fflush(stdout);
}

static void put_step(struct fuzz_runner *runner, const struct fuzz_program *program, uint32_t step)
{
	const struct fuzz_op *op = &program->ops[step];
	char text[1024];

	printf("{\"event\": \"step\", \"step\": %u, ", step);
	fuzz_op_text(op, program->shape.queues, text, sizeof(text));
	put_string("operation", text);
	printf(", ");
	fuzz_answer_text(runner, op, true, text, sizeof(text));
	put_string("expected", text);
	printf(", ");
	fuzz_answer_text(runner, op, false, text, sizeof(text));
	put_string("actual", text);
	printf("}\n");
	fflush(stdout);
}

/* The operation that did not end has no answer. */
static void put_last_step(const struct fuzz_program *program, const struct fuzz_trial *trial)
{
	char text[1024];

	if ((trial->outcome != FUZZ_CRASHED && trial->outcome != FUZZ_HUNG) ||
	    trial->finding.step >= program->count)
		return;
	fuzz_op_text(&program->ops[trial->finding.step], program->shape.queues, text, sizeof(text));
	printf("{\"event\": \"step\", \"step\": %u, ", trial->finding.step);
	put_string("operation", text);
	printf(", ");
	put_string("expected", trial->finding.expected);
	printf(", ");
	put_string("actual", trial->finding.actual);
	printf("}\n");
}

static void put_list(const char *name, const uint32_t *values, uint32_t count, uint32_t stride)
{
	printf(", \"%s\": [", name);
	for (uint32_t i = 0; i < count; i++)
		printf(i ? ", %u" : "%u", values[i * stride]);
	printf("]");
}

static void put_pool(const struct zcrx_page_pool *pool)
{
	uint32_t niovs[FUZZ_PTR_RING_MAX];
	uint32_t phase = zcrx_pp_phase(pool);
	bool used = phase != ZCRX_POOL_UNUSED;

	printf("{\"phase\": %u, \"inflight\": %u", phase, used ? zcrx_pp_inflight(pool) : 0);
	put_list("cache", pool->shared->cache, used ? zcrx_pp_cache_count(pool) : 0, 1);
	put_list("ring", niovs, used ? zcrx_pp_ring_snapshot(pool, niovs, FUZZ_PTR_RING_MAX) : 0,
		 1);
	printf("}");
}

/* What the judge's buffers say of who holds what is not state: the model keeps its own account. */
static void put_state(struct fuzz_runner *runner, const struct fuzz_program *program, uint32_t step)
{
	const struct fuzz_op *op = &program->ops[step];
	const struct fuzz_subject *subject = &runner->subjects[op->queue];
	const struct zcrx_ifq_shared *shared = subject->ifq.shared;
	uint32_t niovs = program->shape.num_niovs;

	printf("{\"event\": \"state\", \"step\": %u, \"queue\": %u", step, op->queue);
	printf(", \"kind\": \"%s\", \"mode\": %u, \"pick\": %u, \"count\": %u, \"value\": %u",
	       fuzz_words[op->kind], op->mode, op->pick, op->count, op->value);
	printf(", \"off\": %" PRIu64 ", \"len\": %u, \"pad\": %u", op->rqe.off, op->rqe.len,
	       op->rqe.__pad);
	printf(", \"from\": %u, \"rounds\": %u",
	       op->kind == FUZZ_REPEAT ? fuzz_stretch(program, step) : step, runner->rounds);
	printf(", \"head\": %u, \"tail\": %u, \"cached_head\": %u",
	       shm_load_relaxed_u32(subject->ifq.rq.head, POINT_RQ_HEAD_LOAD),
	       shm_load_relaxed_u32(subject->ifq.rq.tail, POINT_COUNTER),
	       subject->ifq.rq.cached_head);
	put_list("freelist", (const uint32_t *)subject->area.freelist,
		 zcrx_area_free_count(&subject->area), 1);
	put_list("user_refs", (const uint32_t *)&subject->area.niovs->user_refs, niovs, 4);
	put_list("pp_refs", (const uint32_t *)&subject->area.niovs->pp_refs, niovs, 4);
	put_list("niov_pool", (const uint32_t *)&subject->area.niovs->pool, niovs, 4);
	printf(", \"current_pool\": %u, \"instance_refs\": %u", shared->current_pool, shared->refs);
	printf(", \"verdicts\": [");
	for (uint32_t verdict = 0; verdict < ZCRX_VERDICT_COUNT; verdict++)
		printf(verdict ? ", %" PRIu64 : "%" PRIu64,
		       shm_load_relaxed_u64(&shared->verdicts[verdict], POINT_COUNTER));
	printf("], \"aliases\": %" PRIu64 ", \"alloc_failures\": %" PRIu64
	       ", \"destroy_warnings\": %" PRIu64,
	       shm_load_relaxed_u64(&shared->aliases, POINT_COUNTER),
	       shm_load_relaxed_u64(&shared->alloc_failures, POINT_COUNTER),
	       shm_load_relaxed_u64(&shared->destroy_warnings, POINT_COUNTER));
	printf(", \"answers\": [");
	for (uint32_t i = 0; i < runner->actual.count; i++)
		printf(i ? ", %" PRId64 : "%" PRId64, runner->actual.values[i]);
	printf("], \"judgements\": [");
	for (uint32_t i = 0; i < subject->trace.count; i++) {
		const struct zcrx_judgement *entry = &subject->trace.entries[i];

		printf("%s[%u, %u, %u, %u]", i ? ", " : "", entry->index, entry->verdict,
		       entry->niov, entry->alias);
	}
	printf("], \"pools\": [");
	for (uint32_t slot = 0; slot < ZCRX_POOLS_MAX; slot++) {
		printf(slot ? ", " : "");
		put_pool(&subject->ifq.pools[slot]);
	}
	printf("]}\n");
}

static void put_shape(const struct fuzz_program *program)
{
	const struct fuzz_shape *shape = &program->shape;
	char text[256];

	fuzz_shape_text(shape, text, sizeof(text));
	printf("{\"event\": \"shape\", \"operations\": %u, ", program->count);
	put_string("shape", text);
	printf(", \"num_niovs\": %u, \"rq_entries\": %u, \"ptr_ring_size\": %u", shape->num_niovs,
	       shape->rq_entries, shape->ptr_ring_size);
	printf(", \"initial_index\": %u, \"queues\": %u, \"strict_alias\": %s, \"is_checked\": %s",
	       shape->initial_index, shape->queues,
	       zcrx_contract_is_strict(shape->contract) ? "true" : "false",
	       shape->is_checked ? "true" : "false");
	printf("}\n");
	fflush(stdout);
}

/* ---- commands -------------------------------------------------------------------- */

static struct fuzz_sink sink;

static struct fuzz_court *open_court(uint32_t timeout_s, int quiet_fd)
{
	struct fuzz_court *court = fuzz_court_open(sink.runner.ops, timeout_s, quiet_fd);

	if (!court)
		wrong_use("memory", "trial", strerror(ENOMEM));
	return court;
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
	struct fuzz_court *court;

	if (count != 1 && count != 2)
		wrong_use("run", "file", "name one");
	if (count == 2)
		before = read_before(arguments[1]);
	/* What a sanitizer says goes to stderr: that is what people want to read. */
	court = open_court(TRIAL_TIMEOUT_S, STDERR_FILENO);
	fuzz_court_begin_with(court, before.programs, before.count);
	read_program(&program, arguments[0]);
	put_shape(&program);
	fuzz_try(court, &program, with_state ? put_state : put_step, &trial);
	put_last_step(&program, &trial);
	put_finding(&trial);
	fuzz_court_close(court);
	free(before.programs);
	return trial.outcome != FUZZ_CLEAN;
}

static int minimise(int count, char **arguments)
{
	struct fuzz_program program;
	struct before before = {0};
	struct fuzz_trial trial;
	struct fuzz_court *court;
	uint32_t trials = 0;

	if (count != 4 && count != 5)
		wrong_use("minimise", "arguments", "FILE OUT TRIALS TIMEOUT [BEFORE]");
	if (count == 5)
		before = read_before(arguments[4]);
	court = open_court((uint32_t)number("timeout", arguments[3]), -1);
	fuzz_court_begin_with(court, before.programs, before.count);
	read_program(&program, arguments[0]);
	fuzz_try(court, &program, NULL, &trial);
	if (trial.outcome != FUZZ_CLEAN) {
		char signature[FUZZ_SIGNATURE];

		memcpy(signature, trial.finding.signature, sizeof(signature));
		trials = fuzz_minimise(court, &program, signature,
				       (uint32_t)number("trials", arguments[2]));
		fuzz_try(court, &program, NULL, &trial);
	}
	write_program(&program, arguments[1]);
	before.count = fuzz_court_before(court);
	if (count == 5)
		write_before(&before, arguments[4]);
	printf("{\"event\": \"minimised\", \"operations\": %u, \"trials\": %u}\n", program.count,
	       trials);
	put_finding(&trial);
	fuzz_court_close(court);
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
		size = fuzz_encode(&program, bytes, sizeof(bytes));
		found += !sink_run(&sink, bytes, size);
		done++;
		/* The clock costs as much as a small program. */
		if (done % 256 == 0 && seconds && now_s() - started >= (double)seconds)
			break;
	}
	printf("{\"event\": \"generated\", \"executions\": %" PRIu64 ", \"findings\": %" PRIu64
	       ", \"seconds\": %.3f}\n",
	       done, found, now_s() - started);
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
	static const int deadly[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM};

	if (!getenv("ZCRX_FUZZ_COUNTS"))
		return;
	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		signal(deadly[i], leave_by_signal);
#ifdef HAS_ASAN
	__sanitizer_set_death_callback(leave);
#endif
}

static int execute(int count, char **files)
{
	uint8_t bytes[FUZZ_PROGRAM_BYTES];
	uint64_t found = 0;

	for (int i = 0; i < count; i++) {
		size_t size = read_file(files[i], bytes, sizeof(bytes));

		if (getenv("ZCRX_FUZZ_COUNTS"))
			alarm(TRIAL_TIMEOUT_S);
		found += !sink_run(&sink, bytes, size);
	}
	printf("{\"event\": \"executed\", \"executions\": %d, \"findings\": %" PRIu64 "}\n", count,
	       found);
	return found != 0;
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
		snprintf(path, sizeof(path), "%s/%06" PRIu64 ".program", arguments[3], i);
		write_program(&program, path);
	}
	return 0;
}

int main(int count, char **arguments)
{
	const char *command = count > 1 ? arguments[1] : "";

	sink_open(&sink);
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
	if (strcmp(command, "draw") == 0)
		return draw(count - 2, arguments + 2);
	return wrong_use("command", command,
			 "generate, run, state, minimise, execute or draw are known");
}
