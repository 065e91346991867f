/* SPDX-License-Identifier: MIT */
/*
 * armed WAY...: what becomes of armed receives when processes fork, become other programs, are
 * killed, or are many.
 */
#include "zcrx.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#define SOMEWHERE ((uint8_t *)0x6a0000000000)

static void wait_for_child(pid_t child)
{
	int status;

	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void wait_for_word(int from)
{
	char word;

	CHECK(read(from, &word, 1) == 1);
}

static void say_word(int to)
{
	CHECK(write(to, "", 1) == 1);
}

/* ---- many ------------------------------------------------------------------------------------ */

static void serve_one(uint32_t if_rxq)
{
	struct zc zc;
	int ends[2];
	char text[16];

	zc_open(&zc, if_rxq);
	zc_connect(ends);
	zc_arm(&zc, ends[0]);
	for (int i = 0; i < 20; i++) {
		snprintf(text, sizeof(text), "%u: %d", if_rxq, i);
		zc_receive(&zc, ends[1], text);
	}
	zc_close(&zc);
	close(ends[0]);
	close(ends[1]);
}

static void *serve_as_thread(void *argument)
{
	serve_one((uint32_t)(uintptr_t)argument);
	return NULL;
}

static void serve_as_threads(void)
{
	pthread_t threads[8];

	for (uintptr_t i = 0; i < 8; i++)
		CHECK(pthread_create(&threads[i], NULL, serve_as_thread, (void *)i) == 0);
	for (int i = 0; i < 8; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
}

static void serve_as_processes(void)
{
	pid_t children[4];

	for (uint32_t i = 0; i < 4; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			serve_one(i);
			_exit(0);
		}
	}
	for (int i = 0; i < 4; i++)
		wait_for_child(children[i]);
}

/* A thread has many rings, each with a queue of its own, all of them armed at once. */
static void serve_as_rings(void)
{
	static struct zc zcs[32];
	static int ends[32][2];

	for (uint32_t i = 0; i < 32; i++) {
		zc_open(&zcs[i], i);
		zc_connect(ends[i]);
		zc_arm(&zcs[i], ends[i][0]);
		CHECK(ring_enter(&zcs[i].ring, 0) == 1);
	}
	for (int i = 31; i >= 0; i--)
		zc_receive(&zcs[i], ends[i][1], "to each its own");
	for (int i = 0; i < 32; i++)
		zc_close(&zcs[i]);
}

/* Memory of a queue that was closed is the next one's at once: of that follows nothing. */
static void serve_again_and_again(void)
{
	int ends[2];

	zc_connect(ends);
	for (int i = 0; i < 100; i++) {
		struct zc zc;

		zc_open(&zc, 0);
		zc_arm(&zc, ends[0]);
		for (int messages = i % 2; messages >= 0; messages--)
			zc_receive(&zc, ends[1], "one more");
		zc_close(&zc);
	}
	close(ends[0]);
	close(ends[1]);
}

/* ---- a queue is one's who is gone --------------------------------------------------------------- */

/* Another process cannot have the queue of one that receives, and can as soon as that is dead. */
static void be_killed(void)
{
	uint8_t *memory =
		mmap(NULL, ZC_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct zc zc = {0};
	int ends[2], armed[2];
	pid_t child;

	CHECK(pipe(armed) == 0 && memory != MAP_FAILED);
	zc_connect(ends);
	child = fork();
	if (child == 0) {
		zc_open(&zc, 0);
		zc_arm(&zc, ends[0]);
		CHECK(ring_enter(&zc.ring, 0) == 1);
		say_word(armed[1]);
		for (;;)
			ring_enter(&zc.ring, 256);
	}
	wait_for_word(armed[0]);
	CHECK(ring_open(&zc.ring, 8,
			IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
				IORING_SETUP_CQE32,
			256) == 0);
	CHECK(zc_register(&zc, memory, 0) == -EEXIST);
	CHECK(send(ends[1], "lost", 4, 0) == 4);
	CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
	CHECK(zc_register(&zc, memory, 0) == 0);
	close(ends[0]);
	zc_connect(ends);
	zc_arm(&zc, ends[0]);
	zc_receive(&zc, ends[1], "not lost");
	zc_close(&zc);
}

/* ---- whose memory it is ---------------------------------------------------------------------------- */

static bool is_zero(const uint8_t *memory)
{
	for (size_t i = 0; i < ZC_SIZE; i++) {
		if (memory[i])
			return false;
	}
	return true;
}

/* The area is that of who registered it; a child has a copy, which stays as it was. */
static void fork_while_armed(void)
{
	struct zc zc;
	int ends[2], done[2];
	pid_t child;

	zc_open(&zc, 0);
	zc_connect(ends);
	zc_arm(&zc, ends[0]);
	CHECK(ring_enter(&zc.ring, 0) == 1);
	CHECK(pipe(done) == 0);
	child = fork();
	if (child == 0) {
		close(done[1]);
		CHECK(read(done[0], &child, 1) == 0);
		for (size_t i = 0; i < ZC_AREA_SIZE; i++)
			CHECK(zc.area[i] == 0);
		_exit(0);
	}
	zc_receive(&zc, ends[1], "the parent's");
	close(done[1]);
	wait_for_child(child);
	/* The child's end did not close it. */
	zc_receive(&zc, ends[1], "the parent's, still");
	zc_close(&zc);
}

/* What was the area's memory is another program's by now. */
static int look_after_exec(int receiver, int ring_fd, const struct io_uring_params *params)
{
	uint8_t *memory = mmap(SOMEWHERE, ZC_SIZE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	struct pollfd readable = {.fd = receiver, .events = POLLIN};
	struct ring ring;
	char bytes[8];

	CHECK(memory == SOMEWHERE);
	say_word(1);
	CHECK(poll(&readable, 1, -1) == 1);
	if (ring_fd < 0) {
		CHECK(ring_open(&ring, 8, 0, 0) == 0);
		ring_sqe(&ring, IORING_OP_NOP, -1, 1);
		CHECK(ring_enter(&ring, 1) == 1);
	} else {
		/* The ring is still there, and says that the receive has nowhere to go. */
		ring_map(&ring, ring_fd, params);
		CHECK(ring_enter(&ring, 1) == 0);
		CHECK(ring_cqe(&ring)->user_data == 7 && ring_cqe(&ring)->res == -EFAULT);
		CHECK(ring_cqe(&ring)->flags == 0);
	}
	CHECK(is_zero(memory));
	/* Nobody has read them. */
	CHECK(recv(receiver, bytes, sizeof(bytes), 0) == 6);
	CHECK(is_zero(memory));
	return 0;
}

static void exec_while_armed(const char *self, bool keeps_ring)
{
	const uint32_t flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
	struct zc zc = {0};
	int ends[2], ready[2];
	pid_t child;

	zc_connect(ends);
	CHECK(pipe(ready) == 0);
	child = fork();
	if (child == 0) {
		uint8_t *memory = mmap(SOMEWHERE, ZC_SIZE, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		char fds[2][16];

		CHECK(memory == SOMEWHERE);
		CHECK(dup2(ready[1], 1) == 1);
		CHECK(ring_open(&zc.ring, 8, flags | IORING_SETUP_CQE32, 256) == 0);
		CHECK(zc_register(&zc, memory, 0) == 0);
		zc_arm(&zc, ends[0]);
		CHECK(ring_enter(&zc.ring, 0) == 1);
		if (keeps_ring)
			CHECK(fcntl(zc.ring.fd, F_SETFD, 0) == 0);
		snprintf(fds[0], sizeof(fds[0]), "%d", ends[0]);
		snprintf(fds[1], sizeof(fds[1]), "%d", keeps_ring ? zc.ring.fd : -1);
		execl(self, self, "look", fds[0], fds[1], (char *)NULL);
		CHECK(!"it was not started");
	}
	wait_for_word(ready[0]);
	CHECK(send(ends[1], "theirs", 6, 0) == 6);
	wait_for_child(child);
}

/* The parameters of the ring above: a new program asks for a like one to know them. */
static struct io_uring_params params_of_kept(void)
{
	const uint32_t flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
	struct ring like;

	CHECK(ring_open(&like, 8, flags | IORING_SETUP_CQE32, 256) == 0);
	ring_close(&like);
	return like.params;
}

static bool go(const char *way, const char *self)
{
	if (strcmp(way, "threads") == 0)
		serve_as_threads();
	else if (strcmp(way, "processes") == 0)
		serve_as_processes();
	else if (strcmp(way, "rings") == 0)
		serve_as_rings();
	else if (strcmp(way, "again") == 0)
		serve_again_and_again();
	else if (strcmp(way, "killed") == 0)
		be_killed();
	else if (strcmp(way, "fork") == 0)
		fork_while_armed();
	else if (strcmp(way, "exec") == 0)
		exec_while_armed(self, false);
	else if (strcmp(way, "exec-kept") == 0)
		exec_while_armed(self, true);
	else
		return false;
	return true;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "look") == 0) {
		struct io_uring_params params = params_of_kept();

		return look_after_exec(atoi(argv[2]), atoi(argv[3]), &params);
	}
	for (int i = 1; i < argc; i++) {
		if (!go(argv[i], argv[0]))
			return 2;
		puts(argv[i]);
		fflush(stdout);
	}
	return 0;
}
