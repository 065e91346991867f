/* SPDX-License-Identifier: MIT */
/* What each of many programs reaches, for whoever wants few of them that reach as much. */
#ifndef ZCRX_FUZZ_MEASURE_H
#define ZCRX_FUZZ_MEASURE_H

#include "run.h"

/*
 * Run the programs of a file, each with its size (u32) before it, from the `from`-th on, and
 * print a record of each: its canonical form, how it ended, and the features that it reaches.
 * What kills the process has no record: whoever reads them goes on behind it. So has what takes
 * longer than so many seconds. The number of programs in which something was found.
 */
uint64_t fuzz_measure(struct fuzz_runner *runner, const char *path, uint64_t from,
		      uint32_t timeout_s);

#endif /* ZCRX_FUZZ_MEASURE_H */
