/*
 * A service over TCP and who asks it. Every message has a number and content that follows from it,
 * and the service says so when either is not what it has to be: a byte that is lost, twice or
 * changed is noticed, and a connection that breaks is, too.
 */
#include "log.h"
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LARGEST = 1 << 16, MOST_WINDOW = 4096, POLL_MS = 10 };

/* How long the last answers are waited for: longer than any move takes. */
static const int64_t last_answers_ns = 3 * (int64_t)NS_PER_S;

struct message {
	uint32_t size; /* of all of it */
	uint32_t number;
};

static struct sockaddr_in at(const char *address, int64_t port)
{
	struct sockaddr_in found = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	if (inet_pton(AF_INET, address, &found.sin_addr) != 1)
		refuse("%s: an IPv4 address is needed", address);
	return found;
}

/* What stands behind the head of a message: xorshift64 (Marsaglia 2003), begun with its number. */
static void content(const struct message *head, unsigned char *to)
{
	uint64_t state = 88172645463325252ULL ^ ((uint64_t)head->number + 1) << 17;

	for (size_t i = sizeof *head; i < head->size; i += sizeof state) {
		const size_t left = head->size - i;

		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		memcpy(to + i, &state, left < sizeof state ? left : sizeof state);
	}
}

/* Read so many bytes; false where the connection ended before. */
static bool read_all(int fd, unsigned char *to, size_t size)
{
	size_t have = 0;

	while (have < size) {
		const ssize_t got = recv(fd, to + have, size - have, 0);

		if (got > 0)
			have += (size_t)got;
		else if (got == 0 || errno != EINTR || stopped)
			return false;
	}
	return true;
}

/* One connection: an answer to every message that is what it has to be. */
static void attend(int fd)
{
	static unsigned char got[LARGEST], wanted[LARGEST];
	struct message head;
	uint32_t number = 0;
	int64_t bytes = 0;
	bool right = true;

	while (right && read_all(fd, got, sizeof head)) {
		memcpy(&head, got, sizeof head);
		right = head.number == number && head.size >= sizeof head && head.size <= LARGEST;
		if (!right || !read_all(fd, got + sizeof head, head.size - sizeof head))
			break;
		content(&head, wanted);
		right = !memcmp(got + sizeof head, wanted + sizeof head, head.size - sizeof head);
		if (!right || send(fd, &number, sizeof number, MSG_NOSIGNAL) != sizeof number)
			break;
		bytes += head.size;
		number++;
	}
	printf("{\"messages\": %u, \"bytes\": %lld, \"right\": %s}\n", number, (long long)bytes,
	       json_bool(right));
}

int serve(int argc, char **argv)
{
	int64_t port = 0, duration_s = 0;
	const char *address = "0.0.0.0";
	const int on = 1;
	const struct option options[] = {
		{.name = "port", .required = true, .number = &port, .low = 1, .high = 65535},
		{.name = "seconds", .required = true, .number = &duration_s, .low = 1, .high = 86400},
		{.name = "bind", .text = &address},
		{.name = NULL},
	};

	read_options(argc, argv, options);

	const struct sockaddr_in here = at(address, port);
	const int64_t end = now_ns(CLOCK_MONOTONIC) + duration_s * NS_PER_S;
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
	    bind(fd, (const struct sockaddr *)&here, sizeof here) || listen(fd, 16))
		fail(address);
	while (!stopped && now_ns(CLOCK_MONOTONIC) < end) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};

		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (poll(&ready, 1, POLL_MS) < 1)
			continue;

		const int client = accept(fd, NULL, NULL);

		if (client < 0)
			continue;
		fflush(stdout);
		if (fork() == 0) {
			/* Whoever starts us waits until all of us are gone. */
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
			attend(client);
			return 0;
		}
		close(client);
	}
	close(fd);

	/* Those who are connected are attended to until they leave; not for ever, as they may be gone. */
	const int64_t give_up = now_ns(CLOCK_MONOTONIC) + last_answers_ns;

	while (waitpid(-1, NULL, WNOHANG) >= 0 && now_ns(CLOCK_MONOTONIC) < give_up)
		poll(NULL, 0, POLL_MS);
	return 0;
}

/* What is asked and not answered yet. */
struct open {
	int64_t sent_ns[MOST_WINDOW];
	uint32_t asked, answered;
	uint32_t partial; /* bytes of an answer that came in part */
	unsigned char answer[sizeof(uint32_t)];
};

/* Take the answers that are there; false where the connection has broken, or one is wrong. */
static bool take(int fd, struct open *open, uint32_t size, FILE *log)
{
	for (;;) {
		const ssize_t got = recv(fd, open->answer + open->partial,
					 sizeof open->answer - open->partial, MSG_DONTWAIT);

		if (got < 0)
			return errno == EAGAIN || errno == EINTR;
		if (got == 0)
			return false;
		open->partial += (uint32_t)got;
		if (open->partial < sizeof open->answer)
			continue;
		open->partial = 0;

		struct arrival entry = {.number = open->answered, .size = size};

		if (memcmp(open->answer, &open->answered, sizeof open->answer))
			return false;
		entry.sent_ns = open->sent_ns[open->answered % MOST_WINDOW];
		entry.arrived_ns = now_ns(CLOCK_REALTIME);
		log_entry(log, &entry, sizeof entry);
		open->answered++;
	}
}

/* Send the rest of a message as far as it goes; -1 where the connection has broken. */
static ssize_t push(int fd, const unsigned char *from, size_t size)
{
	const ssize_t put = send(fd, from, size, MSG_DONTWAIT | MSG_NOSIGNAL);

	return put >= 0 || (errno != EAGAIN && errno != EINTR) ? put : 0;
}

static void wait_for(int fd, bool room, int64_t until_ns)
{
	struct pollfd ready = {.fd = fd, .events = (short)(POLLIN | (room ? POLLOUT : 0))};
	const int64_t left = until_ns - now_ns(CLOCK_MONOTONIC);
	const struct timespec time = {.tv_sec = left / NS_PER_S, .tv_nsec = left % NS_PER_S};

	if (left > 0)
		ppoll(&ready, 1, &time, NULL);
}

int ask(int argc, char **argv)
{
	static unsigned char buffer[LARGEST];
	static struct open open;
	int64_t port = 0, duration_s = 0, size = 64, window = 1, rate = 0;
	const char *address = NULL, *path = NULL;
	const int on = 1;
	const struct option options[] = {
		{.name = "to", .required = true, .text = &address},
		{.name = "port", .required = true, .number = &port, .low = 1, .high = 65535},
		{.name = "seconds", .required = true, .number = &duration_s, .low = 1, .high = 86400},
		{.name = "size", .number = &size, .low = sizeof(struct message), .high = LARGEST},
		{.name = "window", .number = &window, .low = 1, .high = MOST_WINDOW},
		{.name = "rate", .number = &rate, .low = 0, .high = 1000000},
		{.name = "log", .text = &path},
		{.name = NULL},
	};

	read_options(argc, argv, options);

	const struct sockaddr_in there = at(address, port);
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	FILE *log = log_open(path);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&there, sizeof there))
		fail(address);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);

	const int64_t began = now_ns(CLOCK_MONOTONIC), until = began + duration_s * NS_PER_S;
	int64_t next = began, now = began, give_up = until + last_answers_ns;
	size_t left = 0; /* bytes of the message that is being sent */
	bool alive = true;

	while (alive && now < give_up) {
		const bool ending = stopped || now >= until;

		if (ending && give_up > now + last_answers_ns)
			give_up = now + last_answers_ns;
		if (ending && !left && open.answered == open.asked)
			break;
		if (!left && !ending && now >= next && open.asked - open.answered < window) {
			const struct message head = {(uint32_t)size, open.asked};

			memcpy(buffer, &head, sizeof head);
			content(&head, buffer);
			open.sent_ns[open.asked % MOST_WINDOW] = now_ns(CLOCK_REALTIME);
			open.asked++;
			left = (size_t)size;
			/* What was missed is not made up for. */
			if (rate) {
				const int64_t step = NS_PER_S / rate;

				next += step * ((now - next) / step + 1);
			}
		}
		if (left) {
			const ssize_t put = push(fd, buffer + size - left, left);

			alive = put >= 0;
			left -= put > 0 ? (size_t)put : 0;
		}
		alive = alive && take(fd, &open, (uint32_t)size, log);
		now = now_ns(CLOCK_MONOTONIC);
		if (left || ending || open.asked - open.answered >= window)
			wait_for(fd, left > 0, now + POLL_MS * (int64_t)NS_PER_MS);
		else if (next > now)
			wait_for(fd, false, next);
		now = now_ns(CLOCK_MONOTONIC);
	}
	log_close(log);
	printf("{\"asked\": %u, \"answered\": %u, \"size\": %lld, \"broken\": %s, \"lost_bytes\": %lld, "
	       "\"seconds\": %.6f, \"interrupted\": %s}\n",
	       open.asked, open.answered, (long long)size, json_bool(!alive),
	       (long long)(open.asked - open.answered) * size, seconds(now - began), json_bool(stopped));
	return 0;
}
