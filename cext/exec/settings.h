/* SPDX-License-Identifier: MIT */
/*
 * What a ring is told of itself: an eventfd for its completions, what is forbidden in it, and
 * what would make a real one faster, which is kept and told again.
 */
#ifndef EXEC_SETTINGS_H
#define EXEC_SETTINGS_H

#include "ring.h"

struct settings {
	int eventfd; /* -1: none */
	bool is_async; /* not for what is complete when it is submitted */
	uint64_t told; /* completions of which the eventfd knows */
	uint32_t workers[2];
	struct io_uring_napi napi;
	/* What may be done once the ring is enabled; each a bit. */
	bool has_restrictions, is_restricted;
	uint64_t register_ops, sqe_ops[4];
	uint8_t sqe_flags, sqe_flags_needed;
};

/* NULL: no memory. */
struct settings *settings_create(const struct io_uring_params *params);
void settings_free(struct settings *settings);

/* The eventfd hears of new completions. `at_once`: they came by being submitted. */
void settings_tell(struct ring *ring, bool at_once);
/* From here on what was forbidden is. */
void settings_restrict(struct ring *ring);
/* -EACCES: it may not be; else 0. */
int settings_check_call(const struct ring *ring, uint32_t opcode);
int settings_check_sqe(const struct ring *ring, const struct io_uring_sqe *sqe);

/* What io_uring_register() is asked for, of these. Its result. */
int64_t settings_register(struct ring *ring, uint32_t opcode, uint64_t at, uint32_t nr_args);

#endif /* EXEC_SETTINGS_H */
