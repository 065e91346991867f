/* SPDX-License-Identifier: MIT */
#include "reporter.h"
#include "ondemand/usage.h"
#include "statics.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fuzz_current *share(const char *path)
{
	struct fuzz_current *current;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, sizeof(*current)))
		wrong_use("current", path, strerror(errno));
	current = mmap(NULL, sizeof(*current), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (current == MAP_FAILED)
		wrong_use("current", path, strerror(errno));
	close(fd);
	return current;
}

static void follow_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/*
 * A fuzzer without its campaign would go on for ever, and nobody would see it.
 * Children do the same: AFL++ runs programs in one that mostly stands still, and
 * would stand there for ever. Of them afl-fuzz is the parent, not the campaign.
 */
static void die_with_parent(void)
{
	const char *parent = getenv("ZCRX_FUZZ_PARENT");

	if (!parent && !getenv("ZCRX_FUZZ_AFL_PARENT"))
		return;
	follow_parent();
	pthread_atfork(NULL, NULL, follow_parent);
	if (parent &&
	    getppid() != (pid_t)strtol(parent, NULL, 10)) /* it died before the call above */
		exit(2);
}

/*
 * An engine starts with its whole corpus. A program of it that kills its process
 * would kill each one that comes after, and none would get any further.
 */
static void read_fatal(struct fuzz_reporter *reporter, const char *folder)
{
	DIR *entries = opendir(folder);
	const struct dirent *entry;

	if (!entries)
		wrong_use("fatal", folder, strerror(errno));
	while (reporter->fatal_count < REPORTER_FATAL_MAX && (entry = readdir(entries))) {
		struct fuzz_fatal *fatal = &reporter->fatal[reporter->fatal_count];
		char path[4096];
		FILE *file;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		file = fopen(path, "rb");
		if (!file)
			wrong_use("fatal", path, strerror(errno));
		fatal->size = (uint32_t)fread(fatal->bytes, 1, sizeof(fatal->bytes), file);
		fclose(file);
		reporter->fatal_count++;
	}
	closedir(entries);
}

static bool is_fatal(const struct fuzz_reporter *reporter, const uint8_t *bytes, size_t size)
{
	for (uint32_t i = 0; i < reporter->fatal_count; i++) {
		const struct fuzz_fatal *fatal = &reporter->fatal[i];

		if (fatal->size == size && memcmp(fatal->bytes, bytes, size) == 0)
			return true;
	}
	return false;
}

void sink_open(struct fuzz_reporter *reporter)
{
	const char *library = getenv("ZCRX_FUZZ_PROVIDER");
	const char *current = getenv("ZCRX_FUZZ_CURRENT");
	const char *fatal = getenv("ZCRX_FUZZ_FATAL");
	char why[512];

	die_with_parent();
	if (library) {
		reporter->runner.ops = zcrx_plugin_open(library, why, sizeof(why));
		if (!reporter->runner.ops)
			wrong_use("provider", library, why);
		statics_keep(reporter->runner.ops);
	}
	if (fatal)
		read_fatal(reporter, fatal);
	reporter->folder = getenv("ZCRX_FUZZ_FINDINGS");
	reporter->current = current ? share(current) : &reporter->own;
}

/*
 * Another process of the campaign, or one before us, may have kept it already:
 * a mark in the folder says so. A few are kept, as one may not do it alone.
 */
static bool take_mark(const char *folder, uint32_t key)
{
	for (uint32_t i = 0; i < REPORTER_KEPT_MAX; i++) {
		char path[4096];
		int fd;

		snprintf(path, sizeof(path), "%s/.%08x-%u.mark", folder, key, i);
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd >= 0) {
			close(fd);
			return true;
		}
		if (errno != EEXIST)
			wrong_use("findings", path, strerror(errno));
	}
	return false;
}

/*
 * Worth keeping? The first one, and now and then another one: the first may need what
 * no other process has, and a later one not.
 */
static bool is_wanted(struct fuzz_reporter *reporter, uint32_t key)
{
	uint32_t at = 0;

	while (at < reporter->mistake_count && reporter->mistakes[at] != key)
		at++;
	if (at == REPORTER_MISTAKES_MAX)
		return false;
	if (at == reporter->mistake_count)
		reporter->mistakes[reporter->mistake_count++] = key;
	reporter->seen[at]++;
	return (reporter->seen[at] & (reporter->seen[at] - 1)) == 0;
}

/* ---- what ran before ----------------------------------------------------------------- */

static void remember(struct fuzz_current *current)
{
	uint32_t size = current->size;
	uint8_t *half = current->history[current->half];
	uint32_t *used = &current->used[current->half];

	if (*used + sizeof(size) + size > REPORTER_HISTORY_BYTES) {
		current->half = !current->half;
		half = current->history[current->half];
		used = &current->used[current->half];
		*used = 0;
	}
	memcpy(half + *used, &size, sizeof(size));
	memcpy(half + *used + sizeof(size), current->bytes, size);
	*used += (uint32_t)sizeof(size) + size;
}

/* All but the newest, which is the one that is being run. */
static bool write_before(const struct fuzz_current *current, FILE *file)
{
	uint32_t older = !current->half, newest = (uint32_t)sizeof(current->size) + current->size;
	size_t size = current->used[current->half] - newest;

	return fwrite(current->history[older], 1, current->used[older], file) ==
		       current->used[older] &&
	       fwrite(current->history[current->half], 1, size, file) == size;
}

/* ---- what is kept ----------------------------------------------------------------------- */

static FILE *begin(const struct fuzz_reporter *reporter, const char *suffix, char *path,
		   size_t size)
{
	FILE *file;

	snprintf(path, size, "%s/%s%ld-%u.%s", reporter->folder, suffix[0] == 'p' ? "." : "",
		 (long)getpid(), reporter->kept_count, suffix);
	file = fopen(path, "wb");
	if (!file)
		wrong_use("findings", path, strerror(errno));
	return file;
}

static void put_record(const struct fuzz_reporter *reporter, FILE *file)
{
	fputs("end\toutcome=finding", file);
	fuzz_put_finding(file, &reporter->runner.finding);
	fputc('\n', file);
}

/*
 * Services that fuzz on their own (ClusterFuzz) tell crashes apart by their stacks, which are all
 * the same here, and by assertions.
 */
static void put_assertion(const struct fuzz_reporter *reporter, FILE *file)
{
	fputs("Assertion failed: ", file);
	fuzz_put_signature(file, &reporter->runner.finding);
	fputc('\n', file);
}

/* The program comes last, and in one piece: whoever looks into the folder sees whole files only. */
static void keep(struct fuzz_reporter *reporter)
{
	uint8_t bytes[FUZZ_PROGRAM_BYTES];
	size_t size = fuzz_encode(reporter->program, bytes, sizeof(bytes));
	char part[4096], whole[4096];
	bool good;
	FILE *file;

	reporter->kept_count++;
	file = begin(reporter, "before", part, sizeof(part));
	good = write_before(reporter->current, file);
	good = fclose(file) == 0 && good;
	file = begin(reporter, "said", part, sizeof(part));
	put_record(reporter, file);
	good = fclose(file) == 0 && good;
	file = begin(reporter, "part", part, sizeof(part));
	good = fwrite(bytes, 1, size, file) == size && good;
	good = fclose(file) == 0 && good;
	snprintf(whole, sizeof(whole), "%s/%ld-%u.program", reporter->folder, (long)getpid(),
		 reporter->kept_count);
	if (!good || rename(part, whole))
		wrong_use("findings", reporter->folder, strerror(errno));
}

/* As a rule nothing is found. What is, is looked at closely: after which operation does it show? */
static bool is_clean(struct fuzz_reporter *reporter)
{
	struct fuzz_runner *runner = &reporter->runner;
	struct fuzz_finding found;
	bool good;

	runner->is_quick = true;
	good = fuzz_run(runner, reporter->program);
	runner->is_quick = false;
	if (good)
		return true;
	found = runner->finding;
	statics_put_back();
	if (fuzz_run(runner, reporter->program)) /* a provider that does not do the same twice */
		runner->finding = found;
	return false;
}

bool sink_run(struct fuzz_reporter *reporter, const struct fuzz_program *program,
	      const uint8_t *bytes, size_t size)
{
	struct fuzz_current *current = reporter->current;
	uint32_t key;

	if (size > sizeof(current->bytes))
		size = sizeof(current->bytes);
	if (size && is_fatal(reporter, bytes, size))
		return true;
	if (size)
		memcpy(current->bytes, bytes, size);
	current->size = (uint32_t)size;
	remember(current);
	statics_put_back();
	reporter->program = program;
	if (is_clean(reporter)) {
		current->executions++;
		current->size = 0;
		return true;
	}
	current->findings++;
	if (!reporter->folder) {
		put_record(reporter, stderr);
		put_assertion(reporter, stderr);
		abort();
	}
	key = fuzz_finding_key(&reporter->runner.finding);
	if (is_wanted(reporter, key) && take_mark(reporter->folder, key))
		keep(reporter);
	current->executions++;
	current->size = 0;
	return false;
}
