/* A beat every period: the gaps say when this machine did not run. */
#include "log.h"
#include "probe.h"

#include <stdio.h>

int heartbeat(int argc, char **argv)
{
	int64_t period_us = 1000, duration_s = 0, gap_ms = 10, priority = 0;
	const char *path = NULL;
	const struct option options[] = {
		{.name = "period-us", .number = &period_us, .low = 100, .high = 1000000},
		{.name = "seconds", .required = true, .number = &duration_s, .low = 1, .high = 86400},
		{.name = "gap-ms", .number = &gap_ms, .low = 1, .high = 60000},
		{.name = "fifo", .number = &priority, .low = 0, .high = HIGHEST_PRIORITY},
		{.name = "log", .text = &path},
		{.name = NULL},
	};
	int64_t beats = 0, gaps = 0, largest = 0;

	read_options(argc, argv, options);

	FILE *log = log_open(path);

	take_priority(priority);

	const int64_t period = period_us * NS_PER_US;
	const int64_t began_real = now_ns(CLOCK_REALTIME), began = now_ns(CLOCK_MONOTONIC);
	const int64_t end = began + duration_s * NS_PER_S;
	int64_t next = began + period, last = began, now = began;

	while (!stopped && now < end) {
		sleep_until_ns(next);
		if (stopped)
			break;
		now = now_ns(CLOCK_MONOTONIC);
		beats++;
		if (log) {
			const struct beat entry = {now, now_ns(CLOCK_REALTIME)};

			log_entry(log, &entry, sizeof entry);
		}
		if (now - last > largest)
			largest = now - last;
		if (now - last > gap_ms * NS_PER_MS) {
			gaps++;
			printf("{\"at_s\": %.6f, \"gap_ms\": %.3f, \"monotonic_s\": %.6f, "
			       "\"realtime_s\": %.6f}\n",
			       seconds(last - began), (double)(now - last) / NS_PER_MS, seconds(now),
			       seconds(now_ns(CLOCK_REALTIME)));
			fflush(stdout);
		}
		last = now;
		/* Beats that were missed are not made up for. */
		next += period * ((now - next) / period + 1);
	}

	log_close(log);

	const int64_t monotonic = now_ns(CLOCK_MONOTONIC) - began;
	const int64_t real = now_ns(CLOCK_REALTIME) - began_real;

	printf("{\"beats\": %lld, \"period_us\": %lld, \"gaps\": %lld, \"largest_gap_ms\": %.3f, "
	       "\"monotonic_s\": %.6f, \"realtime_s\": %.6f, \"clock_difference_ms\": %.3f, "
	       "\"interrupted\": %s}\n",
	       (long long)beats, (long long)period_us, (long long)gaps, (double)largest / NS_PER_MS,
	       seconds(monotonic), seconds(real), (double)(real - monotonic) / NS_PER_MS,
	       json_bool(stopped));
	return 0;
}
