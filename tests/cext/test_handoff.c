/* SPDX-License-Identifier: MIT */
/* References that are handed over: by one hand, then by the two that meet in the ring. */
#include "kernel/handoff.h"
#include "threads.h"

#define NIOVS 3U

struct rig {
	struct zcrx_area area;
	struct zcrx_handoff handoff;
	struct zcrx_niov niovs[NIOVS];
	struct zcrx_handoff_shared shared;
	shm_u64 slots[ZCRX_HANDOFF_ENTRIES];
	uint32_t counts[NIOVS];
};

static void rig_init(struct rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	rig->area = (struct zcrx_area){.niovs = rig->niovs, .num_niovs = NIOVS};
	rig->handoff = (struct zcrx_handoff){&rig->shared, rig->slots, rig->counts};
}

static void a_note_is_counted_once(void)
{
	static struct rig rig;

	rig_init(&rig);
	CHECK(zcrx_handoff_put(&rig.handoff, 2, 5));
	CHECK_EQ(rig.counts[2], 0);
	CHECK_EQ(zcrx_handoff_held(&rig.handoff, 2), 5);
	zcrx_handoff_take(&rig.handoff);
	zcrx_handoff_take(&rig.handoff);
	CHECK_EQ(rig.counts[2], 5);
	CHECK_EQ(zcrx_handoff_held(&rig.handoff, 2), 5);
	CHECK_EQ(zcrx_handoff_held(&rig.handoff, 1), 0);
}

static void a_full_ring_takes_no_note_until_one_is_taken(void)
{
	static struct rig rig;

	rig_init(&rig);
	for (uint32_t round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < ZCRX_HANDOFF_ENTRIES; i++)
			CHECK(zcrx_handoff_put(&rig.handoff, i % NIOVS, 1));
		CHECK(!zcrx_handoff_put(&rig.handoff, 0, 1));
		zcrx_handoff_take(&rig.handoff);
		CHECK_EQ(rig.counts[0] + rig.counts[1] + rig.counts[2],
			 (round + 1) * ZCRX_HANDOFF_ENTRIES);
	}
}

static void what_is_folded_is_the_buffers_own_again(void)
{
	static struct rig rig;

	rig_init(&rig);
	zcrx_user_ref_give(&rig.area, 1, 2);
	CHECK(zcrx_handoff_put(&rig.handoff, 1, 3));
	zcrx_handoff_take(&rig.handoff);
	CHECK(zcrx_handoff_put(&rig.handoff, 1, 4));
	zcrx_handoff_fold(&rig.handoff, &rig.area);
	CHECK_EQ(zcrx_user_ref_take_all(&rig.area, 1), 5);
	CHECK_EQ(zcrx_handoff_held(&rig.handoff, 1), 4);
	zcrx_handoff_fold(&rig.handoff, &rig.area);
	CHECK_EQ(zcrx_user_ref_take_all(&rig.area, 1), 0);
}

#define NOTES CHECK_REPEAT(20000U)

static void *give(void *context)
{
	struct rig *rig = context;
	struct patience patience = {0};

	for (uint32_t i = 0; i < NOTES; i++) {
		while (!zcrx_handoff_put(&rig->handoff, i % NIOVS, 1 + i % 2)) {
			if (!wait_more(&patience))
				return NULL;
		}
	}
	return NULL;
}

static uint64_t counted(const struct rig *rig)
{
	return (uint64_t)rig->counts[0] + rig->counts[1] + rig->counts[2];
}

static void *take(void *context)
{
	struct rig *rig = context;
	struct patience patience = {0};

	/* Each second note is of two. */
	while (counted(rig) < NOTES + NOTES / 2) {
		zcrx_handoff_take(&rig->handoff);
		if (!wait_more(&patience))
			break;
	}
	return NULL;
}

static void each_note_is_taken_once_while_others_come(void)
{
	static struct rig rig;

	rig_init(&rig);
	run_both(give, take, &rig);
	zcrx_handoff_take(&rig.handoff);
	CHECK_EQ(counted(&rig), NOTES + NOTES / 2);
}

CHECK_MAIN(CASE(a_note_is_counted_once), CASE(a_full_ring_takes_no_note_until_one_is_taken),
	   CASE(what_is_folded_is_the_buffers_own_again),
	   CASE(each_note_is_taken_once_while_others_come))
