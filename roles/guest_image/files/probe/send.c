/* Numbered datagrams, at a rate or as fast as they go. */
#include "numbered.h"
#include "probe.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Further behind than this, the rate goes on from here: a pause is a gap, not a burst later. */
enum { MOST_BEHIND_NS = 50 * NS_PER_MS, CHECK_EVERY = 32 };

/*
 * Payloads of frames of 64, 570 and 1518 bytes with FCS, 7 : 4 : 1, as FD.io CSIT's IMIX_v4_1 has
 * them; in an order that spreads each size evenly, so that no burst of large ones fills a queue.
 */
static const uint16_t imix[] = {18, 524, 18, 18, 524, 18, 1472, 18, 524, 18, 524, 18};

/* Sizes of the payloads, one after the other, over and over. */
struct sizes {
	const uint16_t *each;
	size_t count;
};

static struct sizes read_sizes(const char *text)
{
	static uint16_t one;

	if (!strcmp(text, "imix"))
		return (struct sizes){imix, sizeof imix / sizeof imix[0]};
	one = (uint16_t)read_number("size", text, sizeof(struct numbered), NUMBERED_LARGEST);
	return (struct sizes){&one, 1};
}

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

/* The summary; a mix has no size of its own. */
static void report(int64_t sent, int64_t errors, int64_t bytes, struct sizes sizes, double took)
{
	printf("{\"sent\": %lld, \"errors\": %lld, \"size\": ", (long long)sent, (long long)errors);
	if (sizes.count == 1)
		printf("%d", sizes.each[0]);
	else
		printf("\"imix\"");
	printf(", \"bytes\": %lld, \"seconds\": %.6f, \"packets_per_s\": %.1f, "
	       "\"mbit_per_s\": %.3f, \"interrupted\": %s}\n",
	       (long long)bytes, took, (double)sent / took, (double)bytes * 8 / 1e6 / took,
	       json_bool(stopped));
}

int send_numbered(int argc, char **argv)
{
	static char buffer[NUMBERED_LARGEST];
	int64_t port = 0, rate = 0, duration_s = 0;
	const char *address = NULL, *size = "64";
	const struct option options[] = {
		{.name = "to", .required = true, .text = &address},
		{.name = "port", .required = true, .number = &port, .low = 1, .high = 65535},
		{.name = "size", .text = &size},
		{.name = "rate", .number = &rate, .low = 0, .high = 10000000},
		{.name = "seconds", .required = true, .number = &duration_s, .low = 1, .high = 86400},
		{.name = NULL},
	};

	read_options(argc, argv, options);

	const struct sizes sizes = read_sizes(size);
	const int fd = connected(address, port);
	const int64_t began = now_ns(CLOCK_MONOTONIC), end = began + duration_s * NS_PER_S;
	int64_t sent = 0, errors = 0, bytes = 0, from = began, now = began;
	struct numbered head = {.magic = NUMBERED_MAGIC};

	/* There are no more numbers than that. */
	while (!stopped && now < end && sent <= UINT32_MAX) {
		if (rate)
			from = pace(from, sent + errors, rate, now);
		if (stopped)
			break;
		head.size = sizes.each[(size_t)sent % sizes.count];
		head.sequence = (uint32_t)sent;
		head.sent_ns = now_ns(CLOCK_REALTIME);
		memcpy(buffer, &head, sizeof head);
		/* Nobody listening yet, or a full queue: the number is used again. */
		if (send(fd, buffer, head.size, 0) < 0) {
			errors++;
		} else {
			sent++;
			bytes += head.size;
		}
		if (rate || (sent + errors) % CHECK_EVERY == 0)
			now = now_ns(CLOCK_MONOTONIC);
	}
	report(sent, errors, bytes, sizes, seconds(now_ns(CLOCK_MONOTONIC) - began));
	return 0;
}
