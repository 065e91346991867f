/* SPDX-License-Identifier: MIT */
/*
 * When a ring is closed: after the last descriptor and the last mapping of it, in whichever
 * process. A memory file tells nobody, but each description of a file that was opened by name
 * tells who watches the file when it is opened and when it is closed for good.
 */
#ifndef EXEC_LIFETIME_H
#define EXEC_LIFETIME_H

#include "watch.h"

struct lifetime {
	struct lifetime *next;
	int number; /* of what inotify watches */
	uint32_t descriptions; /* that are open in the program */
	void (*closed)(struct lifetime *lifetime);
};

/* All that are watched. */
struct lifetimes {
	struct watch watch;
	struct lifetime *first;
};

/* 0 or -errno. */
int lifetimes_open(struct lifetimes *lifetimes, int queue);
/* Tell what has been closed until now: what a process closed before its next call, in any case. */
void lifetimes_look(struct lifetimes *lifetimes);
void lifetimes_close(struct lifetimes *lifetimes, int queue);

/*
 * `fd` is of the file, which the program has one description of. Once it has none `closed` is
 * called, and the lifetime is not watched any more. 0 or -errno.
 */
int lifetime_start(struct lifetimes *lifetimes, struct lifetime *lifetime, int fd);
void lifetime_stop(struct lifetimes *lifetimes, struct lifetime *lifetime);

#endif /* EXEC_LIFETIME_H */
