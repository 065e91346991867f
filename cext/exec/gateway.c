/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "gateway.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "briefly.h"
#include "backing.h"
#include "buffers.h"
#include "calls.h"
#include "files.h"
#include "groups.h"
#include "launch.h"
#include "message.h"
#include "watch.h"
#include "request.h"
#include "settings.h"
#include "wait.h"
#include "numbers.h"

#define LOOK_NS 2000000U /* how often it is looked whether a waiting thread has a signal */

struct gateway {
	struct kernel *kernel;
	struct watch calls, children, starter;
	pid_t program;
	bool has_ended; /* the program */
	bool is_deserted; /* nobody of it is left that could call us */
	uint64_t next_look;
};

/* What lies in a structure of its own is found from its watch. */
#define GATEWAY_OF(watch, member) \
	((struct gateway *)(void *)((char *)(watch) - offsetof(struct gateway, member)))

/* ---- rings that are closed -----------------------------------------------------------------------*/

static void end_ring(struct ring *ring)
{
	waits_drop(ring);
	requests_drop(ring);
	files_free(ring);
	groups_free(ring);
	buffers_free(ring);
	settings_free(ring->settings);
	ring_free(ring);
}

static void end_closed(struct kernel *kernel)
{
	struct ring *ring, *next;

	for (ring = kernel->rings; ring; ring = next) {
		next = ring->next;
		if (ring->is_closed)
			end_ring(ring);
	}
}

/* ---- calls ---------------------------------------------------------------------------------- */

static void answer(struct kernel *kernel, const struct call *call)
{
	/* A ring that is closed has given back what it had before the next call can ask for that. */
	lifetimes_look(&kernel->lifetimes);
	end_closed(kernel);
	kernel->call = call;
	if (call->nr == SYS_exit_group) {
		call_exit(kernel);
		kernel->call = NULL;
		return;
	}
	kernel->task = tasks_find(&kernel->tasks, call->tid);
	if (!kernel->task) {
		/* A process that may not be looked at (it is not dumpable) has no address for us. */
		notify_answer(kernel->listener, call, errno == EMFILE ? -ENFILE : -EFAULT);
		kernel->call = NULL;
		return;
	}
	if (call->nr == SYS_io_uring_setup)
		call_setup(kernel);
	else if (call->nr == SYS_io_uring_enter)
		call_enter(kernel);
	else
		call_register(kernel);
	kernel->call = NULL;
	kernel->task = NULL;
}

static void calls_ready(struct watch *watch, uint32_t events)
{
	struct gateway *gateway = GATEWAY_OF(watch, calls);
	struct call call;

	if (events & EPOLLIN && notify_receive(watch->fd, &call))
		answer(gateway->kernel, &call);
	else if (events & EPOLLHUP)
		gateway->is_deserted = true;
}

/* ---- processes ------------------------------------------------------------------------------- */

static void children_ready(struct watch *watch, uint32_t events)
{
	struct gateway *gateway = GATEWAY_OF(watch, children);
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	(void)events;
	while (read(watch->fd, &info, sizeof(info)) == sizeof(info))
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != gateway->program)
			continue;
		gateway->has_ended = true;
		message_ended(gateway->kernel->control, status);
	}
	tasks_reap(&gateway->kernel->tasks);
}

/* All that the program has started and whose parent is gone comes to us. */
static void kill_all(void)
{
	char path[64];
	pid_t pid;
	FILE *children;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	do {
		children = fopen(path, "re");
		if (!children)
			return;
		while (fscanf(children, "%d", &pid) == 1)
			kill(pid, SIGKILL);
		fclose(children);
	} while (waitpid(-1, NULL, 0) > 0);
}

/* A signal for the program, or nobody is there any more who would want to know how it ends. */
static void starter_ready(struct watch *watch, uint32_t events)
{
	struct gateway *gateway = GATEWAY_OF(watch, starter);
	int number;
	ssize_t size = recv(watch->fd, &number, sizeof(number), MSG_DONTWAIT);

	(void)events;
	if (size == sizeof(number) && !gateway->has_ended)
		kill(gateway->program, number);
	else if (size == 0) {
		kill_all();
		gateway->has_ended = gateway->is_deserted = true;
	}
}

/* ---- rings ------------------------------------------------------------------------------------- */

/* What is ready goes on, for the calls that wait: as theirs, where there are such. */
static void run_requests(struct ring *ring)
{
	struct kernel *kernel = ring->kernel;

	if (ring->waits) {
		kernel->call = &ring->waits->call;
		kernel->task = tasks_find(&kernel->tasks, kernel->call->tid);
		if (!kernel->task)
			kernel->call = NULL;
	}
	if (requests_are_ready(ring))
		requests_run(ring);
	kernel->call = NULL;
	kernel->task = NULL;
}

static void progress(struct ring *ring, uint64_t now)
{
	requests_expire(ring, now);
	/* What is deferred is worked on in a call only. */
	if (ring->waits || !ring_defers(ring))
		run_requests(ring);
	ring_tell_work(ring, requests_wait_for_call(ring));
	settings_tell(ring, false);
	if (ring->waits)
		waits_settle(ring, now);
}

static void progress_all(struct gateway *gateway)
{
	uint64_t now = now_ns();
	bool looks = now >= gateway->next_look;

	end_closed(gateway->kernel);
	for (struct ring *ring = gateway->kernel->rings; ring; ring = ring->next) {
		progress(ring, now);
		if (looks)
			waits_interrupt(ring);
	}
	if (looks)
		gateway->next_look = now + LOOK_NS;
}

static uint64_t earlier(uint64_t one, uint64_t other)
{
	return one < other ? one : other;
}

static uint64_t next_deadline(const struct gateway *gateway)
{
	uint64_t first = NEVER;

	for (struct ring *ring = gateway->kernel->rings; ring; ring = ring->next) {
		first = earlier(first, requests_deadline(ring));
		if (!ring->waits)
			continue;
		first = earlier(first, waits_deadline(ring));
		first = earlier(first, requests_are_ready(ring) ? 0 : gateway->next_look);
	}
	return first;
}

/*
 * Each connection and each ring of the program needs descriptors here, too. Done when the
 * program has been started: it keeps the limit that it was given.
 */
static void raise_limit(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

/* ---- from start to end --------------------------------------------------------------------------- */

/*
 * Signals from the terminal are for the program, which is in the same process group. 0 or
 * -errno.
 */
static int take_children(struct gateway *gateway, sigset_t *before)
{
	sigset_t all, child;

	sigfillset(&all);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_SETMASK, &all, before);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	gateway->children.fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	return gateway->children.fd < 0 ? -errno : briefly_prepare();
}

static int open_all(struct gateway *gateway, sigset_t *before)
{
	struct kernel *kernel = gateway->kernel;
	int error;

	kernel->queue = watches_open();
	if (kernel->queue < 0)
		return kernel->queue;
	error = lifetimes_open(&kernel->lifetimes, kernel->queue);
	if (!error)
		error = take_children(gateway, before);
	if (!error)
		error = watch_add(kernel->queue, &gateway->children, EPOLLIN);
	if (!error)
		error = watch_add(kernel->queue, &gateway->starter, EPOLLIN);
	if (!error)
		error = zcrx_emu_machine_create(&kernel->machine);
	return error;
}

/* Each ring will be given it: it is refused once, and before the program runs. */
static int check_plan(const struct kernel *kernel)
{
	struct zcrx_emu *emu;
	char why[1024];
	int error = zcrx_emu_create(NULL, &emu);

	if (error)
		return error;
	error = zcrx_emu_plan(emu, kernel->faults, why, sizeof(why));
	if (error)
		message_wrong_plan(kernel->control, why);
	zcrx_emu_destroy(emu);
	return error;
}

static int start(struct gateway *gateway, char *const *command)
{
	static const char *const steps[] = {"open", "fork", "filter", "look", "call", "exec"};
	struct kernel *kernel = gateway->kernel;
	struct launch launched = {.step = LAUNCH_OPEN};
	sigset_t before;
	int error = check_plan(kernel);

	if (error)
		return error;
	error = open_all(gateway, &before);
	if (!error)
		error = launch(&launched, command, &before);
	if (!error) {
		kernel->listener = gateway->calls.fd = launched.listener;
		gateway->program = launched.pid;
		notify_prepare(launched.listener);
		raise_limit();
		umask(0); /* the program's counts: see path.h */
		kernel->backing = backing_open(kernel->queue);
		error = watch_add(kernel->queue, &gateway->calls, EPOLLIN);
	}
	if (error)
		message_refused(kernel->control, steps[launched.step], -error);
	else
		message_started(kernel->control, launched.pid);
	return error;
}

static void finish(struct gateway *gateway)
{
	struct kernel *kernel = gateway->kernel;

	while (kernel->rings)
		end_ring(kernel->rings);
	tally_all(&kernel->tally, kernel->control);
	backing_close(kernel->backing);
	zcrx_emu_machine_destroy(kernel->machine);
	tasks_free(&kernel->tasks);
	lifetimes_close(&kernel->lifetimes, kernel->queue);
	close(kernel->queue);
}

int gateway_run(struct kernel *kernel, char *const *command)
{
	struct gateway gateway = {
		.kernel = kernel,
		.calls.ready = calls_ready,
		.children.ready = children_ready,
		.starter = {.fd = kernel->control, .ready = starter_ready},
	};
	if (start(&gateway, command))
		return 1;
	while (!(gateway.has_ended && gateway.is_deserted)) {
		watches_wait(kernel->queue, next_deadline(&gateway));
		progress_all(&gateway);
	}
	finish(&gateway);
	return 0;
}
