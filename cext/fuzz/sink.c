/* SPDX-License-Identifier: MIT */
#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static void die(const char *what, const char *value, const char *why)
{
	fprintf(stderr, "%s: %s: %s\n", what, value, why);
	exit(2);
}

static struct fuzz_current *share(const char *path)
{
	struct fuzz_current *current;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, sizeof(*current)))
		die("current", path, strerror(errno));
	current = mmap(NULL, sizeof(*current), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (current == MAP_FAILED)
		die("current", path, strerror(errno));
	close(fd);
	return current;
}

/* A fuzzer without its campaign would go on for ever, and nobody would see it. */
static void die_with_parent(void)
{
	const char *parent = getenv("ZCRX_FUZZ_PARENT");

	if (!parent)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != (pid_t)strtol(parent, NULL, 10)) /* it died before the call above */
		exit(2);
}

void sink_open(struct fuzz_sink *sink)
{
	const char *library = getenv("ZCRX_FUZZ_PROVIDER");
	const char *current = getenv("ZCRX_FUZZ_CURRENT");
	char why[512];

	die_with_parent();
	memset(sink, 0, sizeof(*sink));
	if (library) {
		sink->runner.ops = zcrx_foreign_open(library, why, sizeof(why));
		if (!sink->runner.ops)
			die("provider", library, why);
	}
	sink->folder = getenv("ZCRX_FUZZ_FINDINGS");
	sink->current = current ? share(current) : &sink->own;
}

/* New to this process? Noted then. */
static bool is_new(struct fuzz_sink *sink, const char *signature)
{
	for (uint32_t i = 0; i < sink->signature_count; i++) {
		if (strcmp(sink->signatures[i], signature) == 0)
			return false;
	}
	if (sink->signature_count == SINK_SIGNATURES_MAX)
		return false;
	snprintf(sink->signatures[sink->signature_count++], FUZZ_SIGNATURE, "%s", signature);
	return true;
}

/* Written beside its place first: whoever looks into the folder sees whole files only. */
static void keep(struct fuzz_sink *sink)
{
	uint8_t bytes[FUZZ_PROGRAM_BYTES];
	size_t size = fuzz_encode(&sink->program, bytes, sizeof(bytes));
	char part[4096], whole[4096];
	FILE *file;

	snprintf(part, sizeof(part), "%s/.%ld-%u.part", sink->folder, (long)getpid(),
		 sink->signature_count);
	snprintf(whole, sizeof(whole), "%s/%ld-%u.program", sink->folder, (long)getpid(),
		 sink->signature_count);
	file = fopen(part, "wb");
	if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) || rename(part, whole))
		die("findings", sink->folder, strerror(errno));
}

bool sink_run(struct fuzz_sink *sink, const uint8_t *bytes, size_t size)
{
	struct fuzz_current *current = sink->current;
	const struct fuzz_finding *finding = &sink->runner.finding;

	if (size > sizeof(current->bytes))
		size = sizeof(current->bytes);
	if (size)
		memcpy(current->bytes, bytes, size);
	current->size = (uint32_t)size;
	fuzz_decode(&sink->program, bytes, size);
	if (fuzz_run(&sink->runner, &sink->program)) {
		current->executions++;
		current->size = 0;
		return true;
	}
	current->findings++;
	if (!sink->folder) {
		fprintf(stderr, "finding %s after operation %u: %s: expected %s, got %s\n",
			finding->signature, finding->step, finding->what, finding->expected,
			finding->actual);
		abort();
	}
	if (is_new(sink, finding->signature))
		keep(sink);
	current->executions++;
	current->size = 0;
	return false;
}
