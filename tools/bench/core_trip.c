/*
 * How far apart the two cores are: the time that a cache line takes to go
 * from one to the other and back, by two processes that answer each other.
 *
 * It is a property of the place, not of any ring. On a virtual machine it
 * may change while a benchmark runs, as virtual cores are moved between
 * hardware threads of one core, cores and sockets, and everything that two
 * processes do together changes with it.
 *
 *	core_trip -t SECONDS
 */
#include "pair.h"

#define TRIPS_BETWEEN_CLOCKS 256u
#define LAST_WORD UINT64_MAX

struct ball {
	_Alignas(PAIR_LINE_BYTES) _Atomic uint64_t there;
	_Alignas(PAIR_LINE_BYTES) _Atomic uint64_t back;
};

/* Without a pause while spinning, which takes longer than the trip. */
static uint64_t await_change(_Atomic uint64_t *word, uint64_t old, bool alone)
{
	uint64_t now;

	while ((now = atomic_load_explicit(word, memory_order_acquire)) == old)
		if (alone)
			sched_yield();
	return now;
}

static void answer(struct ball *ball, bool alone)
{
	uint64_t seen = 0;

	while (seen != LAST_WORD) {
		seen = await_change(&ball->there, seen, alone);
		atomic_store_explicit(&ball->back, seen, memory_order_release);
	}
}

static double serve(struct ball *ball, double seconds, bool alone)
{
	uint64_t start = now_ns(), deadline = deadline_after(seconds);
	uint64_t trips = 0, elapsed_ns;

	do {
		for (uint32_t i = 0; i < TRIPS_BETWEEN_CLOCKS; i++, trips++) {
			atomic_store_explicit(&ball->there, trips + 1,
					      memory_order_release);
			await_change(&ball->back, trips, alone);
		}
	} while (now_ns() < deadline);
	elapsed_ns = now_ns() - start;
	atomic_store_explicit(&ball->there, LAST_WORD, memory_order_release);
	return (double)elapsed_ns / (double)trips;
}

int main(int argc, char **argv)
{
	double seconds = 0.01, trip_ns;
	int option, cores[] = { allowed_core(0), allowed_core(1) };
	bool alone = cores[1] < 0;
	struct pair_run *run = shared_bytes(sizeof(*run));
	struct ball *ball = shared_bytes(sizeof(*ball));
	pid_t child;

	while ((option = getopt(argc, argv, "t:")) != -1) {
		if (option != 't')
			return 2;
		seconds = parse_seconds(optarg);
	}
	child = pair_fork(seconds);
	pin_to(cores[child ? 0 : 1]);
	pair_line_up(run, alone);
	if (child == 0) {
		answer(ball, alone);
		_exit(0);
	}
	trip_ns = serve(ball, seconds, alone);
	pair_join(child);
	report("ns/trip", trip_ns);
	return 0;
}
