/* SPDX-License-Identifier: MIT */
/*
 * What the gateway waits for: descriptors, each with what is done once it is ready. Whoever is
 * called may free any watch, its own too: each wait tells of one event.
 */
#ifndef EXEC_WATCH_H
#define EXEC_WATCH_H

#include <stdint.h>

struct watch {
	int fd; /* -1: none */
	void (*ready)(struct watch *watch, uint32_t events);
};

/* The queue's descriptor, or -errno. */
int watches_open(void);
/* `events` of epoll_ctl(2). 0 or -errno. */
int watch_add(int queue, struct watch *watch, uint32_t events);
/* One that was told of with EPOLLONESHOT is waited for again. */
int watch_again(int queue, struct watch *watch, uint32_t events);
void watch_remove(int queue, struct watch *watch);
/* Wait for one event, until `deadline_ns` of CLOCK_MONOTONIC (UINT64_MAX: for ever), and tell. */
void watches_wait(int queue, uint64_t deadline_ns);

#define NEVER UINT64_MAX
/* CLOCK_MONOTONIC. */
uint64_t now_ns(void);

#endif /* EXEC_WATCH_H */
