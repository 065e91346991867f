/* SPDX-License-Identifier: MIT */
#include "lifetime.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

static void count(struct lifetimes *lifetimes, const struct inotify_event *event)
{
	struct lifetime *lifetime = lifetimes->first;

	while (lifetime && lifetime->number != event->wd)
		lifetime = lifetime->next;
	if (!lifetime)
		return;
	if (event->mask & IN_OPEN)
		lifetime->descriptions++;
	else if (event->mask & IN_CLOSE && --lifetime->descriptions == 0) {
		lifetime_stop(lifetimes, lifetime);
		lifetime->closed(lifetime);
	}
}

/* Where events were lost no count is known: better kept for good than taken away in use. */
static void keep_all(struct lifetimes *lifetimes)
{
	for (struct lifetime *one = lifetimes->first; one; one = one->next)
		one->descriptions = UINT32_MAX / 2;
}

void lifetimes_look(struct lifetimes *lifetimes)
{
	_Alignas(struct inotify_event) char buffer[4096];
	ssize_t size = read(lifetimes->watch.fd, buffer, sizeof(buffer));

	for (ssize_t at = 0; at < size;) {
		const struct inotify_event *event = (const void *)(buffer + at);

		if (event->mask & IN_Q_OVERFLOW)
			keep_all(lifetimes);
		else
			count(lifetimes, event);
		at += (ssize_t)(sizeof(*event) + event->len);
	}
}

static void ready(struct watch *watch, uint32_t events)
{
	(void)events;
	lifetimes_look(
		(struct lifetimes *)(void *)((char *)watch - offsetof(struct lifetimes, watch)));
}

int lifetimes_open(struct lifetimes *lifetimes, int queue)
{
	lifetimes->watch = (struct watch){
		.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK),
		.ready = ready,
	};
	return lifetimes->watch.fd < 0 ? -errno : watch_add(queue, &lifetimes->watch, EPOLLIN);
}

void lifetimes_close(struct lifetimes *lifetimes, int queue)
{
	watch_remove(queue, &lifetimes->watch);
	close(lifetimes->watch.fd);
}

int lifetime_start(struct lifetimes *lifetimes, struct lifetime *lifetime, int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	lifetime->number = inotify_add_watch(lifetimes->watch.fd, path, IN_OPEN | IN_CLOSE);
	if (lifetime->number < 0)
		return -errno;
	lifetime->descriptions = 1;
	lifetime->next = lifetimes->first;
	lifetimes->first = lifetime;
	return 0;
}

void lifetime_stop(struct lifetimes *lifetimes, struct lifetime *lifetime)
{
	struct lifetime **link = &lifetimes->first;

	while (*link && *link != lifetime)
		link = &(*link)->next;
	if (!*link)
		return;
	*link = lifetime->next;
	inotify_rm_watch(lifetimes->watch.fd, lifetime->number);
}
