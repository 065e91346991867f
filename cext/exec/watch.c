/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "watch.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "numbers.h"

#define SECOND_NS 1000000000U

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

int watches_open(void)
{
	int queue = epoll_create1(EPOLL_CLOEXEC);

	return queue < 0 ? -errno : queue;
}

static int control(int queue, int operation, struct watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};

	return epoll_ctl(queue, operation, watch->fd, &event) ? -errno : 0;
}

int watch_add(int queue, struct watch *watch, uint32_t events)
{
	return control(queue, EPOLL_CTL_ADD, watch, events);
}

int watch_again(int queue, struct watch *watch, uint32_t events)
{
	return control(queue, EPOLL_CTL_MOD, watch, events);
}

void watch_remove(int queue, struct watch *watch)
{
	if (watch->fd >= 0)
		control(queue, EPOLL_CTL_DEL, watch, 0);
}

void watches_wait(int queue, uint64_t deadline_ns)
{
	struct epoll_event event;
	struct timespec left = {0}, *limit = NULL;
	struct watch *watch;

	if (deadline_ns != NEVER) {
		uint64_t now = now_ns();
		uint64_t ns = deadline_ns > now ? deadline_ns - now : 0;

		left.tv_sec = (time_t)(ns / SECOND_NS);
		left.tv_nsec = (long)(ns % SECOND_NS);
		limit = &left;
	}
	/* The C library has it since 2.35, the package is for those from 2.28 on. */
	if (syscall(SYS_epoll_pwait2, queue, &event, 1, limit, NULL, 0) != 1)
		return;
	watch = event.data.ptr;
	watch->ready(watch, event.events);
}
