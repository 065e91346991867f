/* SPDX-License-Identifier: MIT */
/* The library used as it should not be: an error each time, and never a crash. */
#include "lib_program.h"

#include <pthread.h>

static struct program program;

/* All that takes an instance. */
static void check_refuses_all(struct zcrx_emu *emu, int error)
{
	struct zcrx_emu_recv recv = {.flow = 1};
	struct zcrx_emu_cq cq = {&program.cq_head, &program.cq_tail, program.cqes, CQES, NULL};
	struct zcrx_emu_cq_at at = {0};
	char text[8] = "before";
	uint8_t byte = 0;

	CHECK_EQ(zcrx_emu_register(emu, 32, &program.reg, 1), error);
	CHECK_EQ(zcrx_emu_register_ifq(emu, &program.reg), error);
	CHECK(zcrx_emu_mmap(emu, PAGE, 0x30000000) == NULL);
	CHECK_EQ(zcrx_emu_set_cq(emu, &cq), error);
	CHECK_EQ(zcrx_emu_set_cq_at(emu, &at), error);
	CHECK_EQ(zcrx_emu_arm(emu, &recv), error);
	CHECK_EQ(zcrx_emu_deliver(emu, 0, 1, &byte, 1, NULL), error);
	CHECK_EQ(zcrx_emu_end(emu, 1), error);
	CHECK_EQ(zcrx_emu_close(emu, 1), error);
	CHECK_EQ(zcrx_emu_step(emu), error);
	CHECK_EQ(zcrx_emu_drain(emu, 0), error);
	CHECK_EQ(zcrx_emu_start(emu), error);
	CHECK_EQ(zcrx_emu_stop(emu), error);
	CHECK_EQ(zcrx_emu_finish(emu), error);
	CHECK_EQ(zcrx_emu_count(emu, ZCRX_EMU_KINDS), 0);
	CHECK_EQ(zcrx_emu_report_text(emu, text, sizeof(text)), 0);
	CHECK_EQ(text[0], 0);
	CHECK_EQ(zcrx_emu_report_json(emu, NULL, 0), 0);
	CHECK(strstr(zcrx_emu_why(emu), "destroyed") != NULL);
	zcrx_emu_destroy(emu);
}

static void destroyed_instance_answers_ebadf(void)
{
	struct zcrx_emu *destroyed, *emu;

	program_start(&program, "7.3", 8, 16);
	arm(&program, 1);
	destroyed = program.emu;
	zcrx_emu_destroy(destroyed);
	check_refuses_all(destroyed, -EBADF);
	/* However many come and go meanwhile, up to a bound. */
	for (uint32_t i = 0; i < 50; i++) {
		CHECK_EQ(zcrx_emu_create(NULL, &emu), 0);
		CHECK(emu != destroyed);
		zcrx_emu_destroy(emu);
	}
	check_refuses_all(destroyed, -EBADF);
	check_refuses_all(NULL, -EBADF);
	program.emu = NULL;
	program_end(&program);
}

static void memory_of_destroyed_instances_is_used_again(void)
{
	struct zcrx_emu *emus[500];
	uint32_t again = 0;

	for (uint32_t i = 0; i < COUNT_OF(emus); i++) {
		CHECK_EQ(zcrx_emu_create(NULL, &emus[i]), 0);
		CHECK_EQ(zcrx_emu_count(emus[i], ZCRX_EMU_KINDS), 0);
		for (uint32_t j = 0; j < i && !again; j++)
			again = emus[j] == emus[i] ? i - j : 0;
		zcrx_emu_destroy(emus[i]);
	}
	CHECK(again > 64 && again < 70);
}

static void destroyed_machine_answers_ebadf(void)
{
	struct zcrx_emu_options options = {.size = sizeof(options)};
	struct zcrx_emu *emu = NULL;

	CHECK_EQ(zcrx_emu_machine_create(&options.machine), 0);
	CHECK_EQ(zcrx_emu_machine_destroy(options.machine), 0);
	CHECK_EQ(zcrx_emu_machine_destroy(options.machine), -EBADF);
	CHECK_EQ(zcrx_emu_create(&options, &emu), -EBADF);
	CHECK(emu == NULL);
}

static void *call_from_another_thread(void *argument)
{
	struct zcrx_emu_recv recv = {.flow = 1};
	struct zcrx_ctrl ctrl = {.op = 0};
	int *answers = argument;

	answers[0] = zcrx_emu_arm(program.emu, &recv);
	answers[1] = zcrx_emu_register(program.emu, 36, &ctrl, 0);
	answers[2] = (int)zcrx_emu_deliver(program.emu, 0, 1, &recv, 4, NULL);
	answers[3] = zcrx_emu_step(program.emu);
	return NULL;
}

/* With a single issuer only; who plays the NIC and the kernel is any thread. */
static void other_thread_than_the_issuer_is_refused(void)
{
	for (uint32_t single = 0; single < 2; single++) {
		pthread_t thread;
		int answers[4];

		program_init(&program, "7.3", 8, 16);
		program.options.ring_flags = DEFER_TASKRUN | CQE32 | single << 12;
		program_create(&program);
		REQUIRE(zcrx_emu_register_ifq(program.emu, &program.reg) == 0);
		find_ring(&program);
		arm(&program, 2);
		CHECK_EQ(pthread_create(&thread, NULL, call_from_another_thread, answers), 0);
		CHECK_EQ(pthread_join(thread, NULL), 0);
		CHECK_EQ(answers[0], single ? -EEXIST : 0);
		CHECK_EQ(answers[1], single ? -EEXIST : 0);
		CHECK_EQ(answers[2], 4);
		CHECK_EQ(answers[3], single ? 0 : 1);
		CHECK_EQ(strstr(zcrx_emu_why(program.emu), "SINGLE_ISSUER") != NULL, single == 1);
		program_end(&program);
	}
}

static uint32_t armed;

static int arm_again(void *context, const struct zcrx_emu_cqe *cqe)
{
	struct zcrx_emu_recv recv = {.flow = 1, .limit = 10};

	(void)context;
	if (!(cqe->flags & ZCRX_EMU_CQE_F_MORE)) {
		CHECK_EQ(zcrx_emu_arm(program.emu, &recv), 0);
		__atomic_add_fetch(&armed, 1, __ATOMIC_RELEASE);
	}
	return 0;
}

/* Whoever runs it, it is the program that is called. */
static void callback_is_the_issuer(void)
{
	struct zcrx_emu_recv recv = {.flow = 1, .limit = 10};
	struct patience patience = {0};

	program_init(&program, "7.3", 8, 16);
	program.options.ring_flags = DEFER_TASKRUN | CQE32 | 1U << 12;
	program.options.on_cqe = arm_again;
	program_create(&program);
	REQUIRE(zcrx_emu_register_ifq(program.emu, &program.reg) == 0);
	CHECK_EQ(zcrx_emu_arm(program.emu, &recv), 0);
	CHECK_EQ(zcrx_emu_start(program.emu), 0);
	CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, &recv, 16, NULL), 16);
	while (__atomic_load_n(&armed, __ATOMIC_ACQUIRE) < 1 && wait_more(&patience))
		;
	CHECK_EQ(zcrx_emu_stop(program.emu), 0);
	program_end(&program);
}

static uint32_t called;

static void call_all(void)
{
	struct zcrx_ctrl ctrl = {.op = 0};

	__atomic_add_fetch(&called, 1, __ATOMIC_RELAXED);
	zcrx_emu_destroy(program.emu);
	CHECK_EQ(zcrx_emu_stop(program.emu), -EBUSY);
	CHECK_EQ(zcrx_emu_start(program.emu), -EBUSY);
	CHECK_EQ(zcrx_emu_step(program.emu), -EBUSY);
	CHECK_EQ(zcrx_emu_drain(program.emu, 0), -EBUSY);
	CHECK_EQ(zcrx_emu_close(program.emu, 1), -EBUSY);
	CHECK_EQ(zcrx_emu_finish(program.emu), -EBUSY);
	CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, &ctrl, 1, NULL), -EBUSY);
	CHECK_EQ(zcrx_emu_register(program.emu, 36, &ctrl, 0), -EBUSY);
	CHECK(strstr(zcrx_emu_why(program.emu), "callback") != NULL);
}

static int call_all_of_a_completion(void *context, const struct zcrx_emu_cqe *cqe)
{
	(void)context;
	(void)cqe;
	call_all();
	return 0;
}

static void call_all_of_a_report(void *context, const struct zcrx_emu_report *report)
{
	(void)context;
	(void)report;
	call_all();
}

/* Whichever call causes it, a thread of ours or not. */
static void callback_destroys_and_stops_nothing(void)
{
	struct zcrx_emu_recv recv = {.flow = 1}, unknown = {.zcrx_id = 9};
	struct patience patience = {0};

	called = 0;
	program_init(&program, "7.3", 8, 16);
	program.options.on_cqe = call_all_of_a_completion;
	program.options.on_report = call_all_of_a_report;
	program_create(&program);
	REQUIRE(zcrx_emu_register_ifq(program.emu, &program.reg) == 0);
	CHECK_EQ(zcrx_emu_arm(program.emu, &unknown), 0);
	CHECK_EQ(called, 1);
	CHECK_EQ(zcrx_emu_arm(program.emu, &recv), 0);
	CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, &recv, 8, NULL), 8);
	CHECK_EQ(zcrx_emu_step(program.emu), 1);
	CHECK_EQ(called, 2);
	/* One report: what was given is not returned. */
	CHECK_EQ(zcrx_emu_finish(program.emu), 1);
	CHECK_EQ(called, 3);
	CHECK_EQ(zcrx_emu_start(program.emu), 0);
	CHECK_EQ(zcrx_emu_deliver(program.emu, 0, 1, &recv, 8, NULL), 8);
	while (__atomic_load_n(&called, __ATOMIC_RELAXED) < 4 && wait_more(&patience))
		;
	CHECK_EQ(zcrx_emu_stop(program.emu), 0);
	program_end(&program);
}

CHECK_MAIN(CASE(destroyed_instance_answers_ebadf),
	   CASE(memory_of_destroyed_instances_is_used_again), CASE(destroyed_machine_answers_ebadf),
	   CASE(other_thread_than_the_issuer_is_refused), CASE(callback_is_the_issuer),
	   CASE(callback_destroys_and_stops_nothing))
