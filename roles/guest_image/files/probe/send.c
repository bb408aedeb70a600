/* Numbered datagrams, at a rate or as fast as they go. */
#include "numbered.h"
#include "probe.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Further behind than this, the rate goes on from here: a pause is a gap, not a burst later. */
enum { MOST_BEHIND_NS = 50 * NS_PER_MS, CHECK_EVERY = 32 };

static int connected(const char *address, int64_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd;

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1)
		refuse("--to %s: an IPv4 address is needed", address);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to))
		fail(address);
	return fd;
}

/* Wait for the time of the next datagram; returns the time that the rate counts from. */
static int64_t pace(int64_t from, int64_t count, int64_t rate, int64_t now)
{
	const int64_t due = from + (int64_t)((double)count * NS_PER_S / (double)rate);

	if (due > now)
		sleep_until_ns(due);
	else if (now - due > MOST_BEHIND_NS)
		return from + (now - due);
	return from;
}

int send_numbered(int argc, char **argv)
{
	static char buffer[NUMBERED_LARGEST];
	int64_t port = 0, size = 64, rate = 0, duration_s = 0;
	const char *address = NULL;
	const struct option options[] = {
		{.name = "to", .required = true, .text = &address},
		{.name = "port", .required = true, .number = &port, .low = 1, .high = 65535},
		{.name = "size", .number = &size, .low = sizeof(struct numbered),
		 .high = NUMBERED_LARGEST},
		{.name = "rate", .number = &rate, .low = 0, .high = 10000000},
		{.name = "seconds", .required = true, .number = &duration_s, .low = 1, .high = 86400},
		{.name = NULL},
	};

	read_options(argc, argv, options);

	const int fd = connected(address, port);
	const int64_t began = now_ns(CLOCK_MONOTONIC), end = began + duration_s * NS_PER_S;
	int64_t sent = 0, errors = 0, from = began, now = began;
	struct numbered head = {.magic = NUMBERED_MAGIC, .size = (uint32_t)size};

	while (!stopped && now < end) {
		if (rate)
			from = pace(from, sent + errors, rate, now);
		if (stopped)
			break;
		head.sequence = (uint64_t)sent;
		head.sent_ns = now_ns(CLOCK_REALTIME);
		memcpy(buffer, &head, sizeof head);
		/* Nobody listening yet, or a full queue: the number is used again. */
		if (send(fd, buffer, (size_t)size, 0) < 0)
			errors++;
		else
			sent++;
		if (rate || (sent + errors) % CHECK_EVERY == 0)
			now = now_ns(CLOCK_MONOTONIC);
	}

	const double took = seconds(now_ns(CLOCK_MONOTONIC) - began);

	printf("{\"sent\": %lld, \"errors\": %lld, \"size\": %lld, \"seconds\": %.6f, "
	       "\"packets_per_s\": %.1f, \"mbit_per_s\": %.3f, \"interrupted\": %s}\n",
	       (long long)sent, (long long)errors, (long long)size, took, (double)sent / took,
	       (double)sent * (double)size * 8 / 1e6 / took, json_bool(stopped));
	return 0;
}
