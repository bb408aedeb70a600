/* Counts what `send` sent: what is missing, what came twice, what came late, and the silences. */
#include "log.h"
#include "numbered.h"
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* A bit for each number: 128 MB at most. */
#define MOST_NUMBERS (UINT32_C(1) << 30)

/*
 * At the end what is still on its way or queued is counted, too: until so long a silence, which is
 * one wait, but not for ever where somebody goes on sending.
 */
enum { WAIT_US = 10000, MOST_LATE_NS = 500 * NS_PER_MS, RECEIVE_BUFFER = 8 << 20 };

struct tally {
	uint8_t *seen;
	uint64_t room; /* numbers that `seen` has bits for */
	int64_t received, duplicated, reordered;
	uint64_t first, last; /* lowest and highest number */
	int64_t began_ns, last_ns, largest_gap_ns, bytes;
	uint64_t gap_after; /* number before the largest gap */
	uint64_t latest;
	int64_t least_delay_ns, most_delay_ns;
};

static int bound(const char *address, int64_t port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct timeval wait = {.tv_usec = WAIT_US};
	const int size = RECEIVE_BUFFER;
	int fd;

	if (inet_pton(AF_INET, address, &at.sin_addr) != 1)
		refuse("--bind %s: an IPv4 address is needed", address);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at))
		fail(address);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	/* As root beyond the system's limit; as others up to it. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	return fd;
}

/*
 * Have the kernel say when a datagram came in. A program that waits for a processor reads it later,
 * and what it would see then is its own pause.
 */
static void stamp(int fd)
{
	const int on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on))
		fail("time stamps");
}

/* Receive a datagram, and when it came in; now, where the kernel says nothing. */
static ssize_t received(int fd, void *buffer, size_t room, int64_t *arrived_ns)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(struct timespec))];
	} control;
	struct iovec to = {.iov_base = buffer, .iov_len = room};
	struct msghdr message = {
		.msg_iov = &to,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control,
	};
	const ssize_t size = recvmsg(fd, &message, 0);
	struct cmsghdr *said = size < 0 ? NULL : CMSG_FIRSTHDR(&message);

	if (said && said->cmsg_level == SOL_SOCKET && said->cmsg_type == SCM_TIMESTAMPNS) {
		struct timespec at;

		memcpy(&at, CMSG_DATA(said), sizeof at);
		*arrived_ns = at.tv_sec * NS_PER_S + at.tv_nsec;
	} else {
		*arrived_ns = now_ns(CLOCK_REALTIME);
	}
	return size;
}

/* Whether the number is new; makes room for it. */
static bool is_new(struct tally *tally, uint64_t number)
{
	if (number >= tally->room) {
		uint64_t room = tally->room ? tally->room : 1 << 16;

		while (room <= number)
			room *= 2;
		tally->seen = realloc(tally->seen, room / 8);
		if (!tally->seen)
			fail("memory");
		memset(tally->seen + tally->room / 8, 0, (room - tally->room) / 8);
		tally->room = room;
	}

	const uint8_t bit = (uint8_t)(1U << number % 8);
	const bool fresh = !(tally->seen[number / 8] & bit);

	tally->seen[number / 8] |= bit;
	return fresh;
}

static void count(struct tally *tally, const struct numbered *head, int64_t now, int64_t delay)
{
	const uint64_t number = head->sequence;

	if (!is_new(tally, number)) {
		tally->duplicated++;
	} else if (!tally->received++) {
		tally->first = tally->last = number;
		tally->began_ns = now;
		tally->least_delay_ns = tally->most_delay_ns = delay;
	} else if (number < tally->last) {
		tally->reordered++;
		if (number < tally->first)
			tally->first = number;
	} else {
		tally->last = number;
	}
	if (tally->last_ns && now - tally->last_ns > tally->largest_gap_ns) {
		tally->largest_gap_ns = now - tally->last_ns;
		tally->gap_after = tally->latest;
	}
	if (delay < tally->least_delay_ns)
		tally->least_delay_ns = delay;
	if (delay > tally->most_delay_ns)
		tally->most_delay_ns = delay;
	tally->bytes += head->size;
	tally->last_ns = now;
	tally->latest = number;
}

static void report(const struct tally *tally)
{
	const int64_t span = tally->received ? (int64_t)(tally->last - tally->first) + 1 : 0;
	const double took = seconds(tally->last_ns - tally->began_ns);

	printf("{\"received\": %lld, \"lost\": %lld, \"duplicated\": %lld, \"reordered\": %lld, "
	       "\"first\": %lld, \"last\": %lld, \"largest_gap_ms\": %.3f, \"gap_after\": %lld, "
	       "\"delay_min_ms\": %.3f, \"delay_max_ms\": %.3f, \"bytes\": %lld, "
	       "\"seconds\": %.6f, \"packets_per_s\": %.1f, \"interrupted\": %s}\n",
	       (long long)tally->received, (long long)(span - tally->received),
	       (long long)tally->duplicated, (long long)tally->reordered,
	       tally->received ? (long long)tally->first : -1LL,
	       tally->received ? (long long)tally->last : -1LL,
	       (double)tally->largest_gap_ns / NS_PER_MS, (long long)tally->gap_after,
	       (double)tally->least_delay_ns / NS_PER_MS, (double)tally->most_delay_ns / NS_PER_MS,
	       (long long)tally->bytes, took, took > 0 ? (double)tally->received / took : 0.0,
	       json_bool(stopped));
}

int receive_numbered(int argc, char **argv)
{
	static char buffer[NUMBERED_LARGEST];
	int64_t port = 0, duration_s = 0, idle_ms = 0;
	const char *address = "0.0.0.0", *path = NULL;
	const struct option options[] = {
		{.name = "port", .required = true, .number = &port, .low = 1, .high = 65535},
		{.name = "seconds", .required = true, .number = &duration_s, .low = 1, .high = 86400},
		{.name = "idle-ms", .number = &idle_ms, .low = 0, .high = 86400000},
		{.name = "bind", .text = &address},
		{.name = "log", .text = &path},
		{.name = NULL},
	};
	struct tally tally = {0};
	struct numbered head;

	read_options(argc, argv, options);

	FILE *log = log_open(path);
	const int fd = bound(address, port);
	int64_t now = now_ns(CLOCK_MONOTONIC);
	int64_t end = now + duration_s * NS_PER_S;
	int64_t arrived_ns = 0;
	bool ending = false;

	if (log)
		stamp(fd);
	while (now < end) {
		const ssize_t size = received(fd, buffer, sizeof buffer, &arrived_ns);
		const bool silent = size < 0 && errno == EAGAIN;

		if (size < 0 && errno != EAGAIN && errno != EINTR)
			fail("receive");
		now = now_ns(CLOCK_MONOTONIC);
		if (size >= (ssize_t)sizeof head) {
			memcpy(&head, buffer, sizeof head);
			if (head.magic == NUMBERED_MAGIC && head.size == size &&
			    head.sequence < MOST_NUMBERS) {
				const struct arrival entry = {
					.number = head.sequence,
					.size = head.size,
					.sent_ns = head.sent_ns,
					.arrived_ns = arrived_ns,
				};

				log_entry(log, &entry, sizeof entry);
				count(&tally, &head, now, entry.arrived_ns - head.sent_ns);
			}
		} else if (idle_ms && tally.received && now - tally.last_ns > idle_ms * NS_PER_MS) {
			break;
		}
		if (silent && ending)
			break;
		if (stopped && !ending) {
			ending = true;
			end = now + MOST_LATE_NS < end ? now + MOST_LATE_NS : end;
		}
	}
	log_close(log);
	report(&tally);
	return 0;
}
