/* SPDX-License-Identifier: MIT */
#include "measure.h"
#include "counters.h"
#include "ondemand/usage.h"
#include "statics.h"

#include <string.h>
#include <unistd.h>

static void put_bytes(const char *name, const uint8_t *bytes, size_t size)
{
	printf("\t%s=", name);
	for (size_t i = 0; i < size; i++)
		printf("%02x", bytes[i]);
}

/*
 * As an engine runs it: compared is what an operation may have changed. But in instances laid out
 * anew, so that a program reaches the same whatever ran before it.
 */
static bool measure(struct fuzz_runner *runner, const struct fuzz_program *program,
		    uint32_t timeout_s)
{
	bool is_clean;

	statics_put_back();
	runner->is_quick = true;
	for (uint32_t queue = 0; queue < FUZZ_QUEUES_MAX; queue++)
		runner->subjects[queue].is_spoiled = true;
	counters_clear();
	alarm(timeout_s);
	is_clean = fuzz_run(runner, program);
	alarm(0);
	return is_clean;
}

uint64_t fuzz_measure(struct fuzz_runner *runner, const char *path, uint64_t from,
		      uint32_t timeout_s)
{
	static struct fuzz_program program;
	static uint8_t bytes[FUZZ_PROGRAM_BYTES];
	FILE *file = fopen(path, "rb");
	uint64_t found = 0;
	uint32_t size;

	if (!file)
		wrong_use("file", path, strerror(errno));
	for (uint64_t at = 0; fread(&size, sizeof(size), 1, file) == 1; at++) {
		if (size > sizeof(bytes) || fread(bytes, 1, size, file) != size)
			wrong_use("file", path, "programs, each with its size before it");
		if (at < from)
			continue;
		fuzz_decode(&program, bytes, size);
		if (measure(runner, &program, timeout_s)) {
			printf("measured\tfeatures=");
			counters_put(stdout);
		} else {
			printf("found");
			fuzz_put_finding(stdout, &runner->finding);
			found++;
		}
		put_bytes("program", bytes, fuzz_encode(&program, bytes, sizeof(bytes)));
		printf("\n");
		fflush(stdout); /* the next one may end the process */
	}
	fclose(file);
	return found;
}
