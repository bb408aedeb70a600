/* One datagram of `send` and `receive`. */
#ifndef ORRERY_NUMBERED_H
#define ORRERY_NUMBERED_H

#include <stdint.h>

/* "or": datagrams of others are not counted, nor those that are not as long as they say. */
#define NUMBERED_MAGIC 0x6f72U

/*
 * Small enough for the shortest frame of Ethernet, which has room for 18 bytes behind the heads of
 * IPv4 and UDP. Both ends are x86: no byte order to agree on.
 */
struct numbered {
	uint16_t magic;
	uint16_t size;
	uint32_t sequence;
	int64_t sent_ns; /* CLOCK_REALTIME of the sender */
};

_Static_assert(sizeof(struct numbered) == 16, "no padding");

/* Largest payload of UDP over IPv4. */
enum { NUMBERED_LARGEST = 65507 };

#endif
