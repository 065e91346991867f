/* SPDX-License-Identifier: MIT */
/* A process that is forked beside its maker: whose child it is, and that the C library is its own. */
#define _GNU_SOURCE
#include "check.h"
#include "run/sibling.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct shared {
	pthread_mutex_t mutex;
	int32_t sibling;
	int parent, id, own_id;
};

static struct shared *shared;

static void share(void)
{
	if (!shared)
		shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED);
}

/* What a sibling does is told by how it ends. */
static void make_one(void (*does)(void))
{
	pid_t maker;

	share();
	maker = fork();
	CHECK(maker >= 0);
	if (maker == 0) {
		int32_t pid = zcrx_fork_sibling();

		if (pid == 0) {
			does();
			_exit(7);
		}
		shared->sibling = pid;
		_exit(pid > 0 ? 0 : 1);
	} else {
		int status = -1;

		CHECK_EQ(waitpid(maker, &status, 0), maker);
		CHECK_EQ(status, 0);
		CHECK(shared->sibling > 0);
	}
}

static int end_of_sibling(void)
{
	int status = -1;

	/* Nobody but a parent may wait for it. */
	CHECK_EQ(waitpid(shared->sibling, &status, 0), shared->sibling);
	return status;
}

static void say_who_it_is(void)
{
	shared->parent = getppid();
	shared->id = gettid();
	shared->own_id = getpid();
}

static void it_is_a_child_of_its_makers_parent(void)
{
	int status;

	make_one(say_who_it_is);
	status = end_of_sibling();
	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 7);
	CHECK_EQ(shared->parent, getpid());
	CHECK_EQ(shared->own_id, shared->sibling);
	CHECK_EQ(shared->id, shared->sibling);
}

/* The C library sends this signal to the thread that it takes itself for. */
static void its_signals_reach_itself(void)
{
	int status;

	make_one(abort);
	status = end_of_sibling();
	CHECK(WIFSIGNALED(status));
	CHECK_EQ(WTERMSIG(status), SIGABRT);
}

static void die_with_the_mutex(void)
{
	if (pthread_mutex_lock(&shared->mutex))
		_exit(1);
}

/* Only who is known to Linux with his list leaves word that he died. */
static void its_robust_mutexes_are_its_own(void)
{
	pthread_mutexattr_t kind;

	share();
	CHECK_EQ(pthread_mutexattr_init(&kind), 0);
	CHECK_EQ(pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED), 0);
	CHECK_EQ(pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST), 0);
	CHECK_EQ(pthread_mutex_init(&shared->mutex, &kind), 0);
	make_one(die_with_the_mutex);
	CHECK_EQ(WEXITSTATUS(end_of_sibling()), 7);
	CHECK_EQ(pthread_mutex_lock(&shared->mutex), EOWNERDEAD);
	CHECK_EQ(pthread_mutex_consistent(&shared->mutex), 0);
	CHECK_EQ(pthread_mutex_unlock(&shared->mutex), 0);
}

static void fork_on(void)
{
	pid_t own = getpid(), child = fork();
	int status = -1;

	if (child == 0)
		_exit(getppid() == own ? 3 : 1);
	if (child < 0 || waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 3)
		_exit(1);
}

static void it_forks_as_any_other(void)
{
	make_one(fork_on);
	CHECK_EQ(WEXITSTATUS(end_of_sibling()), 7);
}

CHECK_MAIN(CASE(it_is_a_child_of_its_makers_parent), CASE(its_signals_reach_itself),
	   CASE(its_robust_mutexes_are_its_own), CASE(it_forks_as_any_other))
