/*
 * Writes to memory at a known rate: what a live migration has to keep up with. In the end every page
 * is looked at: what it holds follows from the number of its last write, so that a page that was
 * lost, changed, or brought in an older state on the way is noticed.
 */
#include "pattern.h"
#include "probe.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { WORDS = PAGE / 8, SLICES_PER_S = 200, CHECK_EVERY = 64 };

/* Whether a page holds what its writes have left. */
static bool is_right(const uint64_t *page, int64_t last, int64_t times, bool whole)
{
	if (whole && last >= 0)
		return holds_page(page, last);
	return page[0] == (uint64_t)times && page[WORDS - 1] == 0;
}

/* Pages that do not hold what they have to. */
static int64_t damaged(const char *buffer, int64_t pages, int64_t written, bool whole)
{
	int64_t found = 0;

	for (int64_t i = 0; i < pages; i++) {
		const int64_t times = written / pages + (i < written % pages);
		const uint64_t *page = (const uint64_t *)(buffer + i * PAGE);

		found += !is_right(page, last_write(i, pages, written), times, whole);
	}
	return found;
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
	const int64_t pages = mb * PAGES_PER_MB;
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
		for (int64_t i = 0; i < batch && !stopped; i++, written++) {
			volatile uint64_t *page = (uint64_t *)(buffer + written % pages * PAGE);

			if (whole)
				fill_page(page, written);
			else
				*page += 1;
		}
		if (rate)
			sleep_until_ns(now + NS_PER_S / SLICES_PER_S);
		now = now_ns(CLOCK_MONOTONIC);
	}

	const double took = seconds(now_ns(CLOCK_MONOTONIC) - began);

	printf("{\"mb\": %lld, \"pattern\": \"%s\", \"pages\": %lld, \"seconds\": %.6f, "
	       "\"pages_per_s\": %.1f, \"damaged_pages\": %lld, \"interrupted\": %s}\n",
	       (long long)mb, pattern, (long long)written, took, (double)written / took,
	       (long long)damaged(buffer, pages, written, whole), json_bool(stopped));
	return 0;
}
