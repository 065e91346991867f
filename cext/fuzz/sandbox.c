/* SPDX-License-Identifier: MIT */
/*
 * A child shares a few pages with us: how far it came, and what it found.
 *
 * Each trial of a provider of somebody else's has a child of its own. Ours keeps nothing
 * between two programs: there a clerk, a child that stays, holds one trial after the other
 * until one ends it; a fork for each would take most of a search's time.
 */
#include "sandbox.h"
#include "ondemand/usage.h"
#include "statics.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

struct report {
	struct fuzz_end end; /* as far as the child knows it */
	bool is_over;
	struct fuzz_finding finding;
	/* For a clerk. */
	struct fuzz_program program;
	uint32_t patience_ms;
};

struct fuzz_sandbox {
	struct fuzz_runner runner;
	struct report *report;
	uint32_t timeout_s;
	uint32_t patience_ms; /* of CPU time, 0 = no bound but the timeout */
	int quiet_fd;
	struct fuzz_program *before;
	uint32_t before_count;
	pid_t clerk; /* 0: there is none now */
	int line; /* to it: a byte for each trial, and one back when it is over */
};

struct fuzz_sandbox *fuzz_sandbox_open(const struct zcrx_provider_ops *ops, uint32_t timeout_s,
				       int quiet_fd)
{
	/* Mapped, not allocated: most of it is for large instances, and is never touched. */
	struct fuzz_sandbox *sandbox = mmap(NULL, sizeof(*sandbox), PROT_READ | PROT_WRITE,
					    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (sandbox == MAP_FAILED)
		return NULL;
	sandbox->report = mmap(NULL, sizeof(*sandbox->report), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sandbox->report == MAP_FAILED) {
		munmap(sandbox, sizeof(*sandbox));
		return NULL;
	}
	sandbox->runner.ops = ops;
	sandbox->runner.progress = &sandbox->report->end.step;
	sandbox->timeout_s = timeout_s;
	sandbox->quiet_fd = quiet_fd;
	return sandbox;
}

/* How a clerk ended, if it did so by itself. */
static int dismiss(struct fuzz_sandbox *sandbox)
{
	int status = 0;

	if (sandbox->clerk == 0)
		return 0;
	close(sandbox->line);
	waitpid(sandbox->clerk, &status, 0);
	sandbox->clerk = 0;
	return status;
}

void fuzz_sandbox_close(struct fuzz_sandbox *sandbox)
{
	if (!sandbox)
		return;
	dismiss(sandbox);
	munmap(sandbox->report, sizeof(*sandbox->report));
	munmap(sandbox, sizeof(*sandbox));
}

void fuzz_sandbox_begin_with(struct fuzz_sandbox *sandbox, struct fuzz_program *before,
			     uint32_t count)
{
	sandbox->before = before;
	sandbox->before_count = count;
}

uint32_t fuzz_sandbox_before(const struct fuzz_sandbox *sandbox)
{
	return sandbox->before_count;
}

#ifdef HAS_ASAN
static struct report *reported; /* of the child that runs now: the callback has no context */

static void note_report(const char *text)
{
	(void)text;
	snprintf(reported->end.sanitizer, sizeof(reported->end.sanitizer), "%s",
		 __asan_get_report_description());
}
#endif

/* What they show themselves is of no interest: somebody ran them already. */
static void run_before(struct fuzz_sandbox *sandbox)
{
	void (*after)(struct fuzz_runner *, const struct fuzz_program *, uint32_t) =
		sandbox->runner.after;

	sandbox->runner.after = NULL;
	for (uint32_t i = 0; i < sandbox->before_count; i++) {
		fuzz_run(&sandbox->runner, &sandbox->before[i]);
		statics_put_back();
	}
	sandbox->runner.after = after;
}

/* A child is silent, and dies of what others die of. */
static void become_child(const struct fuzz_sandbox *sandbox)
{
	int quiet = sandbox->quiet_fd;

	if (quiet < 0)
		quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (quiet >= 0)
		dup2(quiet, STDERR_FILENO);
	/* A fuzzer's runtime may have its own idea of what a signal means. */
	for (int number = 1; number < 32; number++)
		signal(number, SIG_DFL);
#ifdef HAS_ASAN
	reported = sandbox->report;
	__asan_set_error_report_callback(note_report);
#endif
}

/* 0 = no bound any more. */
static void limit(uint32_t timeout_s, uint32_t patience_ms)
{
	const struct itimerval patience = {
		.it_value.tv_sec = patience_ms / 1000,
		.it_value.tv_usec = patience_ms % 1000 * 1000,
	};

	alarm(timeout_s);
	setitimer(ITIMER_PROF, &patience, NULL);
}

static void run_here(struct fuzz_sandbox *sandbox, const struct fuzz_program *program)
{
	fuzz_run(&sandbox->runner, program);
	sandbox->report->finding = sandbox->runner.finding;
	sandbox->report->is_over = true;
}

static void hold_trial(struct fuzz_sandbox *sandbox, const struct fuzz_program *program)
{
	become_child(sandbox);
	limit(sandbox->timeout_s, sandbox->patience_ms);
	run_before(sandbox);
	run_here(sandbox, program);
	fflush(stdout);
	_exit(0);
}

static void hold_trials(struct fuzz_sandbox *sandbox, int line)
{
	char byte;

	become_child(sandbox);
	while (read(line, &byte, 1) == 1) {
		limit(sandbox->timeout_s, sandbox->report->patience_ms);
		run_here(sandbox, &sandbox->report->program);
		limit(0, 0);
		if (send(line, &byte, 1, MSG_NOSIGNAL) != 1)
			break;
	}
	_exit(0);
}

static void note_end(struct fuzz_trial *trial, const struct report *report, int status)
{
	struct fuzz_end *end = &trial->end;

	*end = report->end;
	if (WIFSIGNALED(status))
		end->signal = WTERMSIG(status);
	else
		end->code = WEXITSTATUS(status);
	trial->outcome = end->signal == SIGALRM || end->signal == SIGPROF ? FUZZ_HUNG :
									    FUZZ_CRASHED;
}

uint32_t fuzz_trial_step(const struct fuzz_trial *trial)
{
	return trial->outcome == FUZZ_FOUND ? trial->finding.step : trial->end.step;
}

/* Whether they show the same mistake, as far as numbers can tell. */
static bool is_alike(const struct fuzz_trial *one, const struct fuzz_trial *other)
{
	if (one->outcome != other->outcome)
		return false;
	if (one->outcome == FUZZ_FOUND)
		return fuzz_finding_key(&one->finding) == fuzz_finding_key(&other->finding);
	return one->outcome != FUZZ_CRASHED ||
	       (one->end.signal == other->end.signal && one->end.code == other->end.code &&
		strcmp(one->end.sanitizer, other->end.sanitizer) == 0);
}

static void end_without_child(void)
{
	perror("fork");
	exit(2);
}

static void engage(struct fuzz_sandbox *sandbox)
{
	int lines[2];

	if (sandbox->clerk)
		return;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, lines))
		end_without_child();
	fflush(stdout);
	sandbox->clerk = fork();
	if (sandbox->clerk < 0)
		end_without_child();
	if (sandbox->clerk == 0) {
		close(lines[0]);
		hold_trials(sandbox, lines[1]);
	}
	close(lines[1]);
	sandbox->line = lines[0];
}

/* The status of the child that it ended, if it did. */
static int try_by_clerk(struct fuzz_sandbox *sandbox, const struct fuzz_program *program)
{
	char byte = 0;

	engage(sandbox);
	sandbox->report->program = *program;
	sandbox->report->patience_ms = sandbox->patience_ms;
	if (send(sandbox->line, &byte, 1, MSG_NOSIGNAL) == 1 && read(sandbox->line, &byte, 1) == 1)
		return 0;
	return dismiss(sandbox);
}

static int try_in_child(struct fuzz_sandbox *sandbox, const struct fuzz_program *program)
{
	int status = 0;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0)
		hold_trial(sandbox, program);
	if (child < 0 || waitpid(child, &status, 0) < 0)
		end_without_child();
	return status;
}

void fuzz_try(struct fuzz_sandbox *sandbox, const struct fuzz_program *program,
	      void (*after)(struct fuzz_runner *runner, const struct fuzz_program *program,
			    uint32_t step),
	      struct fuzz_trial *trial)
{
	/* A clerk prints nothing and knows of no program before. */
	bool by_clerk = !after && !sandbox->runner.ops && !sandbox->before_count &&
			sandbox->quiet_fd < 0;
	int status;

	memset(sandbox->report, 0, offsetof(struct report, program));
	sandbox->runner.after = after;
	status = by_clerk ? try_by_clerk(sandbox, program) : try_in_child(sandbox, program);
	memset(trial, 0, sizeof(*trial));
	if (!sandbox->report->is_over) {
		note_end(trial, sandbox->report, status);
		return;
	}
	trial->finding = sandbox->report->finding;
	trial->outcome = trial->finding.what == WRONG_NOTHING ? FUZZ_CLEAN : FUZZ_FOUND;
}

/*
 * A program without repetitions takes a few milliseconds at most. Waiting for the
 * timeout each time would make a hang's search one of hours; CPU time does not
 * depend on who else runs.
 */
#define HANG_PATIENCE_MS 200U
#define WORK_PER_MS 1024U /* that it takes at least, under a sanitizer */
#define WORK_OF_A_TRIAL (1U << 14) /* about what starting a process takes */

/* Somebody waits for it, maybe on a busy machine: then it is as short as it is. */
#define PATIENCE_S 40.0

/* ---- the shortest program --------------------------------------------------------- */

struct search {
	struct fuzz_sandbox *sandbox;
	struct fuzz_program *best; /* the one that is cut down now */
	const struct fuzz_program *last; /* the one that shows it */
	const struct fuzz_trial *shown;
	uint32_t trials, trials_max;
	double deadline_s;
	bool is_hang;
	bool has_improved; /* in this round */
};

static bool is_same(const struct fuzz_program *one, const struct fuzz_program *other)
{
	return one->count == other->count &&
	       memcmp(&one->shape, &other->shape, sizeof(one->shape)) == 0 &&
	       memcmp(one->ops, other->ops, sizeof(one->ops[0]) * one->count) == 0;
}

static bool is_over(const struct search *search)
{
	return search->trials >= search->trials_max || now_s() >= search->deadline_s;
}

static bool is_shown(struct search *search, const struct fuzz_program *last,
		     struct fuzz_trial *trial)
{
	/* A long program counts as many: the search ends in bounded time, at the same place each time. */
	search->trials += 1 + (uint32_t)(fuzz_work(last) / WORK_OF_A_TRIAL);
	search->sandbox->patience_ms =
		search->is_hang ? HANG_PATIENCE_MS + (uint32_t)(fuzz_work(last) / WORK_PER_MS) : 0;
	fuzz_try(search->sandbox, last, NULL, trial);
	return is_alike(trial, search->shown);
}

/* With the candidate in the place of the one that is cut down now. */
static bool shows_the_same(struct search *search, const struct fuzz_program *candidate,
			   struct fuzz_trial *trial)
{
	struct fuzz_program kept;
	bool same;

	if (search->best == search->last)
		return is_shown(search, candidate, trial);
	kept = *search->best;
	*search->best = *candidate;
	same = is_shown(search, search->last, trial);
	*search->best = kept;
	return same;
}

/*
 * What comes after the finding has no part in it, unless it adds an area: the first one has
 * another layout where more may come.
 */
static uint32_t needed_operations(const struct fuzz_program *program,
				  const struct fuzz_trial *trial)
{
	struct fuzz_program cut = *program;

	if (fuzz_trial_step(trial) + 1 >= program->count)
		return program->count;
	cut.count = fuzz_trial_step(trial) + 1;
	return fuzz_added_max(&cut) == fuzz_added_max(program) ? cut.count : program->count;
}

/*
 * Keep the candidate if it does the same, and in fewer operations if it must be
 * shorter: its numbers may be less plain then.
 */
static bool consider_if(struct search *search, const struct fuzz_program *candidate,
			bool must_be_shorter)
{
	struct fuzz_trial trial;
	uint32_t count = candidate->count;

	if (is_over(search) || is_same(candidate, search->best))
		return false;
	if (!shows_the_same(search, candidate, &trial))
		return false;
	if (search->best == search->last)
		count = needed_operations(candidate, &trial);
	if (must_be_shorter && count >= search->best->count)
		return false;
	*search->best = *candidate;
	search->best->count = count;
	search->has_improved = true;
	return true;
}

static bool consider(struct search *search, const struct fuzz_program *candidate)
{
	return consider_if(search, candidate, false);
}

static bool consider_shorter(struct search *search, const struct fuzz_program *candidate)
{
	return consider_if(search, candidate, true);
}

/* What is repeated stays the same but for what was removed. */
static void shorten_stretches(struct fuzz_program *candidate, const struct fuzz_program *best,
			      uint32_t at, uint32_t size)
{
	for (uint32_t i = at + size; i < best->count; i++) {
		uint32_t first = fuzz_stretch(best, i), from = first > at ? first : at;

		if (best->ops[i].kind != FUZZ_REPEAT || from >= at + size)
			continue;
		candidate->ops[i - size].pick = (uint8_t)(i - first - (at + size - from));
		if (candidate->ops[i - size].pick > 0)
			candidate->ops[i - size].pick--;
	}
}

static void remove_operations(struct search *search)
{
	struct fuzz_program candidate;

	for (uint32_t size = search->best->count / 2; size > 0; size /= 2) {
		for (uint32_t at = search->best->count; at-- > 0;) {
			const struct fuzz_program *best = search->best;

			if (at + size > best->count)
				continue;
			candidate = *best;
			memmove(&candidate.ops[at], &best->ops[at + size],
				sizeof(best->ops[0]) * (best->count - at - size));
			candidate.count -= size;
			shorten_stretches(&candidate, best, at, size);
			consider(search, &candidate);
		}
	}
}

static void remove_at(struct fuzz_program *program, uint32_t at)
{
	program->count--;
	memmove(&program->ops[at], &program->ops[at + 1],
		sizeof(program->ops[0]) * (program->count - at));
}

/* A longer program has too many pairs to try each. */
#define PAIRS_OPS_MAX 20U

/* What is there for the sake of another operation goes with that one only. */
static void remove_pairs(struct search *search)
{
	if (search->best->count > PAIRS_OPS_MAX)
		return;
	for (uint32_t second = 1; second < search->best->count; second++) {
		for (uint32_t first = 0; first < second && second < search->best->count; first++) {
			struct fuzz_program candidate = *search->best;

			remove_at(&candidate, second);
			remove_at(&candidate, first);
			consider(search, &candidate);
		}
	}
}

/* Below this a program is short enough: nobody needs larger numbers for fewer operations. */
#define SHORT_OPS 4U

/* One operation does as much as it can, in a ring with room for it. */
static void enlarge_at(struct search *search, uint32_t at, uint32_t count)
{
	struct fuzz_program candidate = *search->best;

	if (!(fuzz_arguments[candidate.ops[at].kind] & FUZZ_ARG_COUNT))
		return;
	candidate.ops[at].count = count;
	if (consider_shorter(search, &candidate))
		return;
	candidate.shape.rq_entries = FUZZ_SMALL_MAX;
	consider_shorter(search, &candidate);
}

/* As many entries at once instead of all that comes before. */
static void begin_with_push(struct search *search, uint32_t at, uint32_t count)
{
	struct fuzz_program candidate = *search->best;

	candidate.shape.rq_entries = FUZZ_SMALL_MAX;
	candidate.count -= at;
	memmove(candidate.ops, &candidate.ops[at], sizeof(candidate.ops[0]) * candidate.count);
	candidate.ops[0] = (struct fuzz_op){
		.kind = FUZZ_PUSH,
		.queue = candidate.ops[0].queue,
		.count = count,
	};
	consider_shorter(search, &candidate);
}

/*
 * What needs a batch of 64 or a full log, in one operation instead of many:
 * small numbers are not plainer when it takes a row of operations to add them up.
 */
static void enlarge(struct search *search)
{
	static const uint32_t counts[] = {63, 64, 65, 256};
	struct fuzz_program candidate = *search->best;

	candidate.shape.ptr_ring_size = 1;
	consider_shorter(search, &candidate);
	candidate = *search->best;
	candidate.shape.rq_entries = FUZZ_SMALL_MAX;
	consider_shorter(search, &candidate);
	for (uint32_t at = 0; at < search->best->count; at++) {
		for (uint32_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
			if (search->best->count <= SHORT_OPS || at >= search->best->count)
				return;
			enlarge_at(search, at, counts[i]);
			if (at > 0 && at < search->best->count)
				begin_with_push(search, at, counts[i]);
		}
	}
}

/* The shortest way home instead of the one by way of the user. */
static void drop_early(struct search *search)
{
	for (uint32_t at = 0; at < search->best->count; at++) {
		struct fuzz_program candidate = *search->best;
		struct fuzz_op *op = &candidate.ops[at];

		if (search->best->count <= SHORT_OPS)
			return;
		if (op->kind != FUZZ_DELIVER && op->kind != FUZZ_RETURN)
			continue;
		op->kind = FUZZ_DROP;
		op->mode = 0;
		consider(search, &candidate);
	}
}

/* Try plainer values of one number: the plainest first, then halfway there. */
#define PLAINER(search, field, plainest)                                           \
	do {                                                                       \
		struct fuzz_program tried = *(search)->best;                       \
                                                                                   \
		if (tried.field == (plainest))                                     \
			break;                                                     \
		tried.field = (plainest);                                          \
		if (consider((search), &tried))                                    \
			break;                                                     \
		while (tried = *(search)->best, tried.field > (plainest)) {        \
			tried.field = (plainest) + (tried.field - (plainest)) / 2; \
			if (!consider((search), &tried))                           \
				break;                                             \
		}                                                                  \
		tried = *(search)->best;                                           \
		if (tried.field > (plainest)) {                                    \
			tried.field--;                                             \
			consider((search), &tried);                                \
		}                                                                  \
	} while (0)

/*
 * From 0 on, or from the last index before the wrap: what needs the wrap would
 * else keep an operation for each entry that leads there.
 */
static void simplify_index(struct search *search)
{
	static const uint32_t plain[] = {0, UINT32_MAX};
	struct fuzz_program candidate;

	for (uint32_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		candidate = *search->best;
		if (candidate.shape.initial_index == plain[i])
			return;
		candidate.shape.initial_index = plain[i];
		if (consider(search, &candidate))
			return;
	}
	PLAINER(search, shape.initial_index, 0);
}

/* Between a number that is too small and one that does: for what has a threshold. */
#define AT_THRESHOLD(search, field, smallest)                            \
	do {                                                             \
		uint64_t low = (smallest);                               \
                                                                         \
		while ((search)->best->field > low + 1) {                \
			struct fuzz_program tried = *(search)->best;     \
			uint64_t middle = low + (tried.field - low) / 2; \
                                                                         \
			tried.field = (uint32_t)middle;                  \
			if (!consider((search), &tried))                 \
				low = middle;                            \
			if (is_over(search))                             \
				break;                                   \
		}                                                        \
	} while (0)

/* First of all, since every other trial takes as long as these make it. */
static void simplify_size(struct search *search)
{
	struct fuzz_program candidate = *search->best;

	if (candidate.shape.num_niovs > FUZZ_SMALL_MAX) {
		candidate.shape.num_niovs = FUZZ_SMALL_MAX;
		if (!consider(search, &candidate))
			AT_THRESHOLD(search, shape.num_niovs, FUZZ_SMALL_MAX);
	}
	candidate = *search->best;
	if (candidate.shape.ptr_ring_size > FUZZ_SMALL_MAX) {
		candidate.shape.ptr_ring_size = 8;
		if (!consider(search, &candidate))
			AT_THRESHOLD(search, shape.ptr_ring_size, 8);
	}
	for (uint32_t at = 0; at < search->best->count; at++) {
		candidate = *search->best;
		if (candidate.ops[at].kind != FUZZ_REPEAT || candidate.ops[at].value == 0)
			continue;
		candidate.ops[at].value = 0;
		if (!consider(search, &candidate) && at < search->best->count)
			AT_THRESHOLD(search, ops[at].value, 0);
	}
}

static void simplify_shape(struct search *search)
{
	struct fuzz_program candidate = *search->best;

	if (candidate.shape.queues > 1) {
		candidate.shape.queues = 1;
		for (uint32_t i = 0; i < candidate.count; i++)
			candidate.ops[i].queue = 0;
		consider(search, &candidate);
	}
	if (search->best->shape.num_niovs <= FUZZ_SMALL_MAX)
		PLAINER(search, shape.num_niovs, 1);
	simplify_index(search);
	PLAINER(search, shape.ptr_ring_size, 8);
	candidate = *search->best;
	candidate.shape.has_no_device = false;
	consider(search, &candidate);
	candidate = *search->best;
	candidate.shape.has_no_device = false;
	candidate.shape.contract.level = ZCRX_LEVEL_SEED;
	consider(search, &candidate);
	candidate = *search->best;
	candidate.shape.contract.deviations = 0;
	candidate.shape.is_checked = candidate.shape.records = false;
	consider(search, &candidate);
	candidate = *search->best;
	candidate.shape.records = false;
	consider(search, &candidate);
	while (candidate = *search->best, candidate.shape.rq_entries > 1) {
		candidate.shape.rq_entries /= 2;
		if (!consider(search, &candidate))
			break;
	}
}

static void simplify_entry(struct search *search, uint32_t at)
{
	struct fuzz_program candidate = *search->best;

	PLAINER(search, ops[at].rqe.len, 0);
	PLAINER(search, ops[at].rqe.__pad, 0);
	PLAINER(search, ops[at].rqe.off, 0);
	/* Bits that do not matter: the offset in the page first. */
	candidate = *search->best;
	if (candidate.ops[at].rqe.off & 0xfff) {
		candidate.ops[at].rqe.off &= ~(uint64_t)0xfff;
		consider(search, &candidate);
	}
	for (uint32_t bit = 64; bit-- > 12;) {
		candidate = *search->best;
		if (!(candidate.ops[at].rqe.off >> bit & 1))
			continue;
		candidate.ops[at].rqe.off &= ~((uint64_t)1 << bit);
		consider(search, &candidate);
	}
}

static void simplify_operation(struct search *search, uint32_t at)
{
	uint32_t arguments = fuzz_arguments[search->best->ops[at].kind];

	if (arguments & FUZZ_ARG_COUNT)
		PLAINER(search, ops[at].count, 1);
	if (arguments & FUZZ_ARG_PICK && at < search->best->count)
		PLAINER(search, ops[at].pick, 0);
	if (arguments & FUZZ_ARG_MODE && at < search->best->count)
		PLAINER(search, ops[at].mode, 0);
	if (arguments & FUZZ_ARG_VALUE && at < search->best->count &&
	    search->best->ops[at].kind != FUZZ_REPEAT)
		PLAINER(search, ops[at].value, 0);
	if (arguments & FUZZ_ARG_RQE && at < search->best->count)
		simplify_entry(search, at);
}

static bool remove_before(struct search *search, uint32_t at, uint32_t count)
{
	struct fuzz_sandbox *sandbox = search->sandbox;
	uint32_t left = sandbox->before_count - count;
	struct fuzz_program *all = sandbox->before;
	struct fuzz_program *fewer = malloc(sizeof(*fewer) * (left ? left : 1));
	struct fuzz_trial trial;
	bool same = false;

	if (!fewer)
		return false;
	memcpy(fewer, all, sizeof(*fewer) * at);
	memcpy(fewer + at, all + at + count, sizeof(*fewer) * (left - at));
	fuzz_sandbox_begin_with(sandbox, fewer, left);
	same = is_shown(search, search->last, &trial);
	if (same)
		memcpy(all, fewer, sizeof(*fewer) * left);
	fuzz_sandbox_begin_with(sandbox, all, same ? left : left + count);
	free(fewer);
	return same;
}

/* All of them, then halves, quarters …: the oldest first, since they matter least. */
static void remove_programs(struct search *search)
{
	struct fuzz_sandbox *sandbox = search->sandbox;

	for (uint32_t size = sandbox->before_count; size > 0; size /= 2) {
		for (uint32_t at = 0; at + size <= sandbox->before_count;) {
			if (is_over(search))
				return;
			if (!remove_before(search, at, size))
				at += size;
		}
	}
}

/* Of those that run before: what they do, not with which numbers. */
#define BEFORE_CUT_MAX 8U

static void shorten_before(struct search *search)
{
	struct fuzz_sandbox *sandbox = search->sandbox;
	struct fuzz_program *best = search->best;

	for (uint32_t i = 0; i < sandbox->before_count && i < BEFORE_CUT_MAX; i++) {
		search->best = &sandbox->before[i];
		remove_operations(search);
	}
	search->best = best;
}

uint32_t fuzz_minimise(struct fuzz_sandbox *sandbox, struct fuzz_program *program,
		       const struct fuzz_trial *shown, uint32_t trials_max)
{
	struct search search = {
		.sandbox = sandbox,
		.best = program,
		.last = program,
		.shown = shown,
		.trials_max = trials_max,
		.deadline_s = now_s() + PATIENCE_S,
	};

	search.is_hang = shown->outcome == FUZZ_HUNG;
	if (sandbox->before_count)
		remove_programs(&search);
	do {
		search.has_improved = false;
		simplify_size(&search);
		shorten_before(&search);
		remove_operations(&search);
		remove_pairs(&search);
		enlarge(&search);
		drop_early(&search);
		simplify_shape(&search);
		for (uint32_t at = 0; at < program->count; at++)
			simplify_operation(&search, at);
	} while (search.has_improved && !is_over(&search));
	sandbox->patience_ms = 0;
	return search.trials;
}
