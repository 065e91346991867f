/* SPDX-License-Identifier: MIT */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "briefly.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/time.h>
#include <unistd.h>

#define MOMENT_US 500

static void interrupt(int number)
{
	(void)number;
}

int briefly_prepare(void)
{
	/* Without SA_RESTART: that a call ends is all that it is for. */
	const struct sigaction action = {.sa_handler = interrupt};
	sigset_t alarm;

	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	if (sigaction(SIGALRM, &action, NULL) || sigprocmask(SIG_UNBLOCK, &alarm, NULL))
		return -errno;
	return 0;
}

/* It comes again and again: the first one may come before the call. */
static void set_alarm(int microseconds)
{
	const struct itimerval value = {
		.it_interval.tv_usec = microseconds,
		.it_value.tv_usec = microseconds,
	};

	setitimer(ITIMER_REAL, &value, NULL);
}

int briefly_accept(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	int result;

	if (poll(&readable, 1, 0) == 0)
		return -EAGAIN;
	set_alarm(MOMENT_US);
	result = accept4(fd, address, size, flags);
	if (result < 0)
		result = errno == EINTR ? -EAGAIN : -errno;
	set_alarm(0);
	return result;
}

int briefly_connect(int fd, const struct sockaddr *address, socklen_t size)
{
	int result;

	set_alarm(MOMENT_US);
	result = connect(fd, address, size);
	if (result < 0)
		result = errno == EINTR ? -EINPROGRESS : -errno;
	set_alarm(0);
	return result;
}

/* A socket that is closed by its last owner waits for its bytes to be read, if somebody asked for that. */
void briefly_close(int fd)
{
	struct linger linger = {0};
	socklen_t size = sizeof(linger);
	bool waits = getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &size) == 0 && linger.l_onoff;

	if (waits)
		set_alarm(MOMENT_US);
	close(fd);
	if (waits)
		set_alarm(0);
}

int64_t briefly_move(briefly_call call, int fd, const struct iovec *piece, off_t at, int flags)
{
	int64_t result;

	set_alarm(MOMENT_US);
	result = call(fd, piece, 1, at, flags);
	if (result < 0)
		result = errno == EINTR ? -EAGAIN : -errno;
	set_alarm(0);
	return result;
}
