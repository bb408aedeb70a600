/* Writes to memory at a known rate: what a live migration has to keep up with. */
#include "probe.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, MB = 1 << 20, WORDS = PAGE / 8, SLICES_PER_S = 200, CHECK_EVERY = 64 };

static uint64_t state = 88172645463325252ULL;

/* xorshift64 (Marsaglia 2003): a page that no compression and no delta makes smaller. */
static uint64_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void write_page(volatile uint64_t *page, bool whole)
{
	if (!whole) {
		*page += 1;
		return;
	}
	for (int i = 0; i < WORDS; i++)
		page[i] = next_random();
}

int dirty(int argc, char **argv)
{
	int64_t mb = 0, rate = 0, duration_s = 0;
	const char *pattern = "random";
	const struct option options[] = {
		{.name = "mb", .required = true, .number = &mb, .low = 1, .high = 65536},
		{.name = "pages-per-s", .number = &rate, .low = 0, .high = 100000000},
		{.name = "seconds", .required = true, .number = &duration_s, .low = 1, .high = 86400},
		{.name = "pattern", .text = &pattern},
		{.name = NULL},
	};

	read_options(argc, argv, options);
	if (strcmp(pattern, "random") && strcmp(pattern, "byte"))
		refuse("--pattern %s: random or byte is needed", pattern);

	const bool whole = !strcmp(pattern, "random");
	const int64_t pages = mb * (MB / PAGE);
	char *buffer = mmap(NULL, (size_t)mb * MB, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (buffer == MAP_FAILED)
		fail("memory");

	const int64_t began = now_ns(CLOCK_MONOTONIC), end = began + duration_s * NS_PER_S;
	int64_t written = 0, due = 0, now = began, paced_from = began;

	while (!stopped && now < end) {
		int64_t batch = CHECK_EVERY;

		if (rate) {
			batch = (int64_t)(seconds(now - paced_from) * (double)rate) - due;
			/* Further behind than 0.1 s, the rate goes on from here: no bursts. */
			if (batch > rate / 10 + 1) {
				paced_from = now;
				due = 0;
				batch = rate / SLICES_PER_S + 1;
			}
			due += batch;
		}
		for (int64_t i = 0; i < batch && !stopped; i++, written++)
			write_page((uint64_t *)(buffer + written % pages * PAGE), whole);
		if (rate)
			sleep_until_ns(now + NS_PER_S / SLICES_PER_S);
		now = now_ns(CLOCK_MONOTONIC);
	}

	const double took = seconds(now_ns(CLOCK_MONOTONIC) - began);

	printf("{\"mb\": %lld, \"pattern\": \"%s\", \"pages\": %lld, \"seconds\": %.6f, "
	       "\"pages_per_s\": %.1f, \"interrupted\": %s}\n",
	       (long long)mb, pattern, (long long)written, took, (double)written / took,
	       json_bool(stopped));
	return 0;
}
