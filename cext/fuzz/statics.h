/* SPDX-License-Identifier: MIT */
/*
 * What a provider's library keeps between two programs: its static and thread-local
 * data, and what it allocates. It is put back before each program, as if the library
 * had just been opened, so that no program depends on the ones before it.
 *
 * Not put back is what lies elsewhere: other libraries' data, memory that a
 * constructor has allocated, files, other threads.
 */
#ifndef ZCRX_FUZZ_STATICS_H
#define ZCRX_FUZZ_STATICS_H

/*
 * Find the library in which a symbol lies, keep its data as they are now and see
 * to it that what it allocates is noted. Does nothing for what is no library.
 */
void statics_keep(const void *symbol);

/* Before each program. */
void statics_put_back(void);

#endif /* ZCRX_FUZZ_STATICS_H */
