/* SPDX-License-Identifier: MIT */
/* Where the provider goes: to who has least to do, and nowhere if somebody else bound it. */
#define _GNU_SOURCE
#include "actors/placement.h"

#include <sched.h>

#include "check.h"

/* More queues than any machine has cores: it is always crowded. */
#define QUEUES ZCRX_QUEUES_MAX

struct scene {
	struct zcrx_bells bells;
	struct zcrx_placement *placement;
	cpu_set_t allowed;
	int cores[2];
};

static bool scene_init(struct scene *scene)
{
	uint32_t count = 0;

	memset(scene, 0, sizeof(*scene));
	REQUIRE(sched_getaffinity(0, sizeof(scene->allowed), &scene->allowed) == 0);
	for (int cpu = 0; cpu < CPU_SETSIZE && count < 2; cpu++) {
		if (CPU_ISSET(cpu, &scene->allowed))
			scene->cores[count++] = cpu;
	}
	scene->placement = zcrx_placement_new(&scene->bells, QUEUES);
	return scene->placement != NULL; /* one core, or very many: nothing to choose */
}

static void scene_free(struct scene *scene)
{
	zcrx_placement_free(scene->placement);
	sched_setaffinity(0, sizeof(scene->allowed), &scene->allowed);
}

static void is_idle(struct zcrx_bell *bell, int cpu, uint32_t looks)
{
	atomic_store(&bell->cpu, (uint32_t)cpu + 1);
	atomic_fetch_add(&bell->idle, looks);
}

static void follow(struct scene *scene)
{
	uint64_t start = check_now_ns();

	while (check_now_ns() - start < 1100000) /* it looks once a millisecond */
		zcrx_placement_follow(scene->placement);
	/* Who was not on a core meanwhile has not looked once. */
	zcrx_placement_follow(scene->placement);
}

/* The one core that we are bound to, or -1. */
static int bound_to(void)
{
	cpu_set_t now;

	REQUIRE(sched_getaffinity(0, sizeof(now), &now) == 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &now))
			return CPU_COUNT(&now) == 1 ? cpu : -1;
	}
	return -1;
}

static void it_goes_to_who_has_least_to_do(void)
{
	struct scene scene;

	if (scene_init(&scene)) {
		is_idle(&scene.bells.nic, scene.cores[0], 10);
		is_idle(&scene.bells.consumers[0], scene.cores[1], 100);
		follow(&scene);
		CHECK_EQ(bound_to(), scene.cores[1]);
		/* A little more to do there is no reason to move. */
		is_idle(&scene.bells.nic, scene.cores[0], 120);
		is_idle(&scene.bells.consumers[0], scene.cores[1], 100);
		follow(&scene);
		CHECK_EQ(bound_to(), scene.cores[1]);
		is_idle(&scene.bells.nic, scene.cores[0], 500);
		is_idle(&scene.bells.consumers[0], scene.cores[1], 100);
		follow(&scene);
		CHECK_EQ(bound_to(), scene.cores[0]);
		zcrx_placement_release(scene.placement);
		CHECK_EQ(bound_to(), -1);
	}
	scene_free(&scene);
}

static void the_busiest_of_a_core_counts(void)
{
	struct scene scene;

	if (scene_init(&scene)) {
		is_idle(&scene.bells.nic, scene.cores[0], 50);
		is_idle(&scene.bells.consumers[0], scene.cores[1], 1000);
		is_idle(&scene.bells.consumers[1], scene.cores[1], 1);
		follow(&scene);
		CHECK_EQ(bound_to(), scene.cores[0]);
	}
	scene_free(&scene);
}

static void nonsense_moves_nobody(void)
{
	struct scene scene;

	if (scene_init(&scene)) {
		is_idle(&scene.bells.nic, CPU_SETSIZE + 7, 1000);
		is_idle(&scene.bells.consumers[0], -2, 1000); /* the greatest number there is */
		follow(&scene);
		CHECK_EQ(bound_to(), -1);
	}
	scene_free(&scene);
}

static void who_is_bound_by_somebody_else_stays(void)
{
	struct scene scene;
	cpu_set_t one;

	if (scene_init(&scene)) {
		CPU_ZERO(&one);
		CPU_SET(scene.cores[0], &one);
		REQUIRE(sched_setaffinity(0, sizeof(one), &one) == 0);
		is_idle(&scene.bells.consumers[0], scene.cores[1], 1000);
		follow(&scene);
		CHECK_EQ(bound_to(), scene.cores[0]);
		zcrx_placement_release(scene.placement);
		CHECK_EQ(bound_to(), scene.cores[0]);
	}
	scene_free(&scene);
}

static void with_a_core_for_each_there_is_nothing_to_choose(void)
{
	struct zcrx_bells bells = {0};
	cpu_set_t before, one;

	REQUIRE(sched_getaffinity(0, sizeof(before), &before) == 0);
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; cpu++) {
		if (CPU_ISSET(cpu, &before))
			CPU_SET(cpu, &one);
	}
	REQUIRE(sched_setaffinity(0, sizeof(one), &one) == 0);
	CHECK(zcrx_placement_new(&bells, 1) == NULL);
	REQUIRE(sched_setaffinity(0, sizeof(before), &before) == 0);
	zcrx_placement_free(NULL);
}

CHECK_MAIN(CASE(it_goes_to_who_has_least_to_do), CASE(the_busiest_of_a_core_counts),
	   CASE(nonsense_moves_nobody), CASE(who_is_bound_by_somebody_else_stays),
	   CASE(with_a_core_for_each_there_is_nothing_to_choose))
