/* One datagram of `send` and `receive`. */
#ifndef ORRERY_NUMBERED_H
#define ORRERY_NUMBERED_H

#include <stdint.h>

/* "orry": datagrams of others are not counted. */
#define NUMBERED_MAGIC 0x6f727279U

/* Both ends are x86: no byte order to agree on. */
struct numbered {
	uint32_t magic;
	uint32_t size;
	uint64_t sequence;
	int64_t sent_ns; /* CLOCK_REALTIME of the sender */
};

/* Largest payload of UDP over IPv4. */
enum { NUMBERED_LARGEST = 65507 };

#endif
