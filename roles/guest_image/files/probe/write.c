/*
 * Writes to a disk, each page on the disk before the next: what a migration has to bring along. In
 * the end every page is read from the disk, past the guest's memory, and looked at.
 */
#include "pattern.h"
#include "probe.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int opened(const char *path)
{
	const int fd = open(path, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);

	if (fd < 0)
		fail(path);
	return fd;
}

static int64_t damaged(int fd, uint64_t *buffer, int64_t pages, int64_t written)
{
	int64_t found = 0;

	for (int64_t i = 0; i < pages; i++) {
		const int64_t last = last_write(i, pages, written);

		if (last < 0)
			continue;
		if (pread(fd, buffer, PAGE, i * PAGE) != PAGE)
			fail("read");
		found += !holds_page(buffer, last);
	}
	return found;
}

int write_disk(int argc, char **argv)
{
	int64_t mb = 0, rate = 0, duration_s = 0;
	const char *path = NULL;
	const struct option options[] = {
		{.name = "to", .required = true, .text = &path},
		{.name = "mb", .required = true, .number = &mb, .low = 1, .high = 65536},
		{.name = "pages-per-s", .required = true, .number = &rate, .low = 1, .high = 1000000},
		{.name = "seconds", .required = true, .number = &duration_s, .low = 1, .high = 86400},
		{.name = NULL},
	};
	uint64_t *buffer;

	read_options(argc, argv, options);

	const int fd = opened(path);
	const int64_t pages = mb * PAGES_PER_MB, step = NS_PER_S / rate;
	const int64_t began = now_ns(CLOCK_MONOTONIC), end = began + duration_s * NS_PER_S;
	int64_t written = 0, now = began, next = began;

	if (posix_memalign((void **)&buffer, PAGE, PAGE))
		fail("memory");
	while (!stopped && now < end) {
		fill_page(buffer, written);
		if (pwrite(fd, buffer, PAGE, written % pages * PAGE) != PAGE)
			fail("write");
		written++;
		now = now_ns(CLOCK_MONOTONIC);
		/* What was missed is not made up for. */
		next = now > next + step ? now : next + step;
		sleep_until_ns(next);
		now = now_ns(CLOCK_MONOTONIC);
	}

	const double took = seconds(now - began);

	printf("{\"mb\": %lld, \"pages\": %lld, \"seconds\": %.6f, \"damaged_pages\": %lld, "
	       "\"interrupted\": %s}\n",
	       (long long)mb, (long long)written, took,
	       (long long)damaged(fd, buffer, pages, written), json_bool(stopped));
	return 0;
}
