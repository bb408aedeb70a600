/* Logs of probes. */
#ifndef ORRERY_LOG_H
#define ORRERY_LOG_H

#include <stdint.h>
#include <stdio.h>

/* A beat of `heartbeat`. */
struct beat {
	int64_t monotonic_ns;
	int64_t realtime_ns;
};

/* A datagram that `receive` has got, or a message that `ask` has an answer to. */
struct arrival {
	uint32_t number;
	uint32_t size;
	int64_t sent_ns;    /* CLOCK_REALTIME of the sender */
	int64_t arrived_ns; /* CLOCK_REALTIME of who writes it down */
};

_Static_assert(sizeof(struct beat) == 16 && sizeof(struct arrival) == 24, "no padding");

/* Open a log; none where there is no path. A program has one. */
FILE *log_open(const char *path);

/* Add an entry; nothing where there is no log. */
void log_entry(FILE *log, const void *entry, size_t size);

void log_close(FILE *log);

#endif
