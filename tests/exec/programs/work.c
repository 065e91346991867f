/* SPDX-License-Identifier: MIT */
/*
 * Operations on files, by path, and on registered buffers. It tells what came of each request,
 * so that a kernel's own answers can be laid beside: work.txt. It works in the directory that
 * it is in, and leaves nothing there.
 */
#define _GNU_SOURCE
#include "results.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* What headers of Linux 6.1 do not have. */
#define OP_FTRUNCATE 55
#define OP_EPOLL_WAIT 59

static char bytes[8192], other[8192];

static struct io_uring_sqe *on(uint8_t opcode, int fd, const void *memory, uint32_t len,
			       uint64_t off)
{
	struct io_uring_sqe *sqe = ring_sqe(&ring, opcode, fd, opcode);

	sqe->addr = address_of(memory);
	sqe->len = len;
	sqe->off = off;
	return sqe;
}

/* A descriptor has any number: only whether it is one is told. */
static int say_opened(const char *what, struct io_uring_sqe *sqe)
{
	int result = do_one(sqe);

	printf("%s: %d\n", what, result < 0 ? result : 0);
	return result;
}

static int open_files(void)
{
	struct open_how how = {.flags = O_RDWR | O_CREAT, .mode = 0666};
	struct io_uring_sqe *sqe;
	struct stat status;
	int fd;

	umask(027);
	sqe = on(IORING_OP_OPENAT, AT_FDCWD, "work.one", 0666, 0);
	sqe->open_flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
	fd = say_opened("open", sqe);
	CHECK(fstat(fd, &status) == 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC);
	printf("mode: %o\n", status.st_mode & 0777);
	sqe = on(IORING_OP_OPENAT, AT_FDCWD, "work.one", 0666, 0);
	sqe->open_flags = O_RDWR | O_CREAT | O_EXCL;
	say_opened("open again", sqe);
	say_opened("open none", on(IORING_OP_OPENAT, AT_FDCWD, "work.none", 0, 0));
	say_opened("open nowhere", on(IORING_OP_OPENAT, 999, "work.none", 0, 0));
	say_opened("open at no address", on(IORING_OP_OPENAT, AT_FDCWD, (void *)8, 0, 0));
	sqe = on(IORING_OP_OPENAT, AT_FDCWD, "work.none", 0, 0);
	sqe->buf_index = 1;
	say_opened("open a buffer", sqe);
	close(say_opened("open how", on(IORING_OP_OPENAT2, AT_FDCWD, "work.two", sizeof(how),
					address_of(&how))));
	CHECK(stat("work.two", &status) == 0);
	printf("mode: %o\n", status.st_mode & 0777);
	say_opened("open how short",
		   on(IORING_OP_OPENAT2, AT_FDCWD, "work.two", 8, address_of(&how)));
	return fd;
}

static void read_and_write(int fd)
{
	struct iovec vector[3] = {{bytes, 3}, {bytes + 100, 0}, {bytes + 200, 500}};
	struct io_uring_sqe *sqe;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 11);
	say("write", do_whole(on(IORING_OP_WRITE, fd, bytes, sizeof(bytes), 0)));
	say("read", do_whole(on(IORING_OP_READ, fd, other, sizeof(other), 0)));
	CHECK(memcmp(bytes, other, sizeof(bytes)) == 0);
	say("read the rest", do_whole(on(IORING_OP_READ, fd, other, sizeof(other), 8000)));
	say("read behind it", do_whole(on(IORING_OP_READ, fd, other, sizeof(other), 9000)));
	say("write here", do_whole(on(IORING_OP_WRITE, fd, bytes, 5, (uint64_t)-1)));
	say("read here", do_whole(on(IORING_OP_READ, fd, other, 7, (uint64_t)-1)));
	CHECK(memcmp(bytes + 5, other, 7) == 0 && lseek(fd, 0, SEEK_CUR) == 12);
	say("read nowhere", do_whole(on(IORING_OP_READ, fd, (void *)8, 8, 0)));
	say("write nowhere", do_whole(on(IORING_OP_WRITE, fd, (void *)8, 8, 0)));
	say("write buffers", do_whole(on(IORING_OP_WRITEV, fd, vector, 3, 0)));
	say("read buffers", do_whole(on(IORING_OP_READV, fd, vector, 3, 1)));
	CHECK(bytes[0] == 11 && bytes[1] == 22 && (uint8_t)bytes[2] == (uint8_t)(200 * 11));
	say("too many buffers", do_whole(on(IORING_OP_READV, fd, vector, 1025, 1)));
	say("buffers nowhere", do_whole(on(IORING_OP_READV, fd, (void *)8, 2, 1)));
	sqe = on(IORING_OP_READ, fd, other, 8, 0);
	sqe->rw_flags = 1 << 30;
	say("read with unknown flags", do_whole(sqe));
	say("read of none", do_whole(on(IORING_OP_READ, 999, other, 8, 0)));
	sqe = on(IORING_OP_FSYNC, fd, NULL, 0, 0);
	sqe->fsync_flags = IORING_FSYNC_DATASYNC;
	say("sync", do_whole(sqe));
	sqe = on(IORING_OP_FSYNC, fd, NULL, 0, 0);
	sqe->fsync_flags = 8;
	say("sync with unknown flags", do_whole(sqe));
	say("sync with an address", do_whole(on(IORING_OP_FSYNC, fd, bytes, 0, 0)));
	say("sync a range", do_whole(on(IORING_OP_SYNC_FILE_RANGE, fd, NULL, 100, 0)));
	sqe = on(IORING_OP_FADVISE, fd, NULL, 4096, 0);
	sqe->fadvise_advice = 0;
	say("advise", do_whole(sqe));
	say("truncate", do_whole(on(OP_FTRUNCATE, fd, NULL, 0, 77)));
	CHECK(lseek(fd, 0, SEEK_END) == 77);
	sqe = on(IORING_OP_FALLOCATE, fd, NULL, 0, 0);
	sqe->addr = 4096;
	say("allocate", do_whole(sqe));
	CHECK(lseek(fd, 0, SEEK_END) == 4096);
}

static void name_files(void)
{
	struct statx status;
	struct stat plain;
	struct io_uring_sqe *sqe;
	int here = open(".", O_RDONLY | O_DIRECTORY);

	sqe = on(IORING_OP_STATX, AT_FDCWD, "work.one", STATX_BASIC_STATS, address_of(&status));
	say("status", do_whole(sqe));
	printf("size: %llu\n", (unsigned long long)status.stx_size);
	sqe = on(IORING_OP_STATX, here, "work.none", STATX_BASIC_STATS, address_of(&status));
	say("status of none", do_whole(sqe));
	sqe = on(IORING_OP_STATX, here, "work.one", STATX_BASIC_STATS, 8);
	say("status to nowhere", do_whole(sqe));
	say("directory", do_whole(on(IORING_OP_MKDIRAT, here, "work.dir", 0777, 0)));
	CHECK(stat("work.dir", &plain) == 0);
	printf("mode: %o\n", plain.st_mode & 0777);
	say("directory again", do_whole(on(IORING_OP_MKDIRAT, here, "work.dir", 0777, 0)));
	sqe = on(IORING_OP_LINKAT, here, "work.one", (uint32_t)AT_FDCWD,
		 address_of("work.dir/link"));
	say("link", do_whole(sqe));
	sqe = on(IORING_OP_SYMLINKAT, here, "work.any", 0, address_of("work.sym"));
	say("symbolic link", do_whole(sqe));
	sqe = on(IORING_OP_RENAMEAT, AT_FDCWD, "work.sym", (uint32_t)here,
		 address_of("work.dir/moved"));
	say("rename", do_whole(sqe));
	CHECK(readlink("work.dir/moved", other, sizeof(other)) == 8);
	say("unlink", do_whole(on(IORING_OP_UNLINKAT, here, "work.dir/moved", 0, 0)));
	say("unlink", do_whole(on(IORING_OP_UNLINKAT, here, "work.dir/link", 0, 0)));
	say("unlink none", do_whole(on(IORING_OP_UNLINKAT, here, "work.dir/link", 0, 0)));
	say("unlink a directory", do_whole(on(IORING_OP_UNLINKAT, here, "work.dir", 0, 0)));
	sqe = on(IORING_OP_UNLINKAT, here, "work.dir", 0, 0);
	sqe->unlink_flags = AT_REMOVEDIR;
	say("remove it", do_whole(sqe));
	say("unlink", do_whole(on(IORING_OP_UNLINKAT, AT_FDCWD, "work.one", 0, 0)));
	say("unlink", do_whole(on(IORING_OP_UNLINKAT, AT_FDCWD, "work.two", 0, 0)));
	close(here);
}

static void move_in_pipes(void)
{
	struct io_uring_sqe *sqe;
	int one[2], two[2];

	CHECK(pipe(one) == 0 && pipe(two) == 0);
	/* It waits until something comes, and the gateway with it for nobody else. */
	on(IORING_OP_READ, one[0], other, 100, 0)->user_data = 90;
	CHECK(ring_enter(&ring, 0) == 1);
	say("meanwhile", do_whole(on(IORING_OP_NOP, -1, NULL, 0, 0)));
	CHECK(write(one[1], "hello", 5) == 5);
	say("read what came", result_of(90));
	CHECK(memcmp(other, "hello", 5) == 0);
	on(IORING_OP_READ, one[0], other, 100, 0)->user_data = 91;
	CHECK(ring_enter(&ring, 0) == 1);
	sqe = ring_sqe(&ring, IORING_OP_ASYNC_CANCEL, -1, 92);
	sqe->addr = 91;
	say("cancel", do_whole(sqe));
	say("what was read", result_of(91));
	CHECK(write(one[1], "world", 5) == 5);
	for (int tee = 1; tee >= 0; tee--) {
		sqe = on(tee ? IORING_OP_TEE : IORING_OP_SPLICE, two[1], NULL, 100, 0);
		sqe->splice_fd_in = one[0];
		if (!tee)
			sqe->off = sqe->addr = (uint64_t)-1;
		say(tee ? "tee" : "splice", do_whole(sqe));
	}
	CHECK(read(two[0], other, sizeof(other)) == 10);
	close(one[1]);
	say("end", do_whole(on(IORING_OP_READ, one[0], other, 100, 0)));
	close(one[0]);
	close(two[0]);
	close(two[1]);
}

static void wait_by_epoll(void)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 77}, seen = {0};
	int pipe_ends[2], queue = epoll_create1(0);

	CHECK(pipe(pipe_ends) == 0);
	CHECK(epoll_ctl(queue, EPOLL_CTL_ADD, pipe_ends[0], &event) == 0);
	on(OP_EPOLL_WAIT, queue, &seen, 1, 0)->user_data = 93;
	CHECK(ring_enter(&ring, 0) == 1);
	CHECK(write(pipe_ends[1], "x", 1) == 1);
	say("epoll", result_of(93));
	CHECK(seen.data.u64 == 77 && seen.events == EPOLLIN);
	close(queue);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

static int register_vectors(struct iovec *vectors, unsigned int count)
{
	return ring_register(IORING_REGISTER_BUFFERS, vectors, count);
}

static struct io_uring_sqe *in_buffer(uint8_t opcode, int fd, const void *memory, uint32_t len,
				      uint16_t index)
{
	struct io_uring_sqe *sqe = on(opcode, fd, memory, len, 0);

	sqe->buf_index = index;
	return sqe;
}

static void use_registered_buffers(void)
{
	struct io_uring_rsrc_register sparse = {.nr = 3, .flags = IORING_RSRC_REGISTER_SPARSE};
	struct iovec vectors[3] = {{bytes, 4096}, {0}, {bytes + 4096, 4096}};
	uint64_t tag = 98;
	struct io_uring_rsrc_update2 update = {
		.offset = 1,
		.data = address_of(vectors),
		.tags = address_of(&tag),
		.nr = 1,
	};
	int pipe_ends[2], ends[2];
	struct io_uring_sqe *sqe;

	CHECK(pipe(pipe_ends) == 0);
	say("no buffers", do_whole(in_buffer(IORING_OP_WRITE_FIXED, pipe_ends[1], bytes, 8, 0)));
	say_registered("none", ring_register(IORING_UNREGISTER_BUFFERS, NULL, 0));
	say_registered("no count", register_vectors(vectors, 0));
	say_registered("too many", register_vectors(vectors, 16385));
	say_registered("no array", register_vectors(NULL, 1));
	vectors[1].iov_len = 8;
	say_registered("no address", register_vectors(vectors, 3));
	vectors[1].iov_base = (void *)8;
	say_registered("not mapped", register_vectors(vectors, 3));
	vectors[1] = (struct iovec){bytes, 0};
	say_registered("no size", register_vectors(vectors, 3));
	vectors[1].iov_base = NULL;
	say_registered("good", register_vectors(vectors, 3));
	say_registered("again", register_vectors(vectors, 3));
	say("write", do_whole(in_buffer(IORING_OP_WRITE_FIXED, pipe_ends[1], bytes, 8, 0)));
	say("read", do_whole(in_buffer(IORING_OP_READ_FIXED, pipe_ends[0], bytes + 4100, 8, 2)));
	CHECK(memcmp(bytes, bytes + 4100, 8) == 0);
	say("empty", do_whole(in_buffer(IORING_OP_WRITE_FIXED, pipe_ends[1], bytes, 8, 1)));
	say("another", do_whole(in_buffer(IORING_OP_WRITE_FIXED, pipe_ends[1], bytes, 8, 2)));
	say("behind", do_whole(in_buffer(IORING_OP_WRITE_FIXED, pipe_ends[1], bytes, 4097, 0)));
	say("no such", do_whole(in_buffer(IORING_OP_WRITE_FIXED, pipe_ends[1], bytes, 8, 3)));
	connect_pair(ends);
	for (uint16_t index = 0; index < 3; index += 2) {
		sqe = in_buffer(IORING_OP_SEND_ZC, ends[0], bytes, 8, index);
		sqe->ioprio = IORING_RECVSEND_FIXED_BUF;
		say("send", do_whole(sqe));
		say("its notification", result_of(IORING_OP_SEND_ZC));
	}
	close(ends[0]);
	close(ends[1]);
	say_registered("update short", ring_register(IORING_REGISTER_BUFFERS_UPDATE, &update, 8));
	say_registered("update",
		       ring_register(IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof(update)));
	say("now", do_whole(in_buffer(IORING_OP_WRITE_FIXED, pipe_ends[1], bytes, 8, 1)));
	update.offset = 3;
	say_registered("update none",
		       ring_register(IORING_REGISTER_BUFFERS_UPDATE, &update, sizeof(update)));
	say_registered("taken away", ring_register(IORING_UNREGISTER_BUFFERS, NULL, 0));
	say("tag", result_of(98));
	say_registered("sparse", ring_register(IORING_REGISTER_BUFFERS2, &sparse, sizeof(sparse)));
	say("empty", do_whole(in_buffer(IORING_OP_WRITE_FIXED, pipe_ends[1], bytes, 8, 1)));
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

int main(void)
{
	int fd;

	CHECK(ring_open(&ring, 16, 0, 0) == 0);
	fd = open_files();
	read_and_write(fd);
	name_files();
	move_in_pipes();
	wait_by_epoll();
	use_registered_buffers();
	ring_close(&ring);
	return 0;
}
