/* orrery-probe: what the lab measures with inside a guest, and on the host beside it. */
#include "probe.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

volatile sig_atomic_t stopped;

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *usage;
} commands[] = {
	{"heartbeat", heartbeat, "--seconds S [--period-us 1000] [--gap-ms 10] [--fifo 0] [--log FILE]"},
	{"dirty", dirty, "--mb N --seconds S [--pages-per-s 0] [--pattern random|byte]"},
	{"send", send_numbered, "--to IP --port P --seconds S [--size 64|imix] [--rate 0]"},
	{"receive", receive_numbered, "--port P --seconds S [--idle-ms 0] [--bind IP] [--log FILE]"},
	{"cpu", cpu, "--work N"},
	{"write", write_disk, "--to DEVICE --mb N --seconds S --pages-per-s R"},
	{"serve", serve, "--port P --seconds S [--bind IP]"},
	{"ask", ask, "--to IP --port P --seconds S [--size 64] [--window 1] [--rate 0] [--log FILE]"},
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void on_signal(int number)
{
	(void)number;
	stopped = 1;
}

void refuse(const char *format, ...)
{
	va_list words;

	fputs("orrery-probe: ", stderr);
	va_start(words, format);
	vfprintf(stderr, format, words);
	va_end(words);
	fputs("\nusage:\n", stderr);
	for (int i = 0; i < COMMANDS; i++)
		fprintf(stderr, "  orrery-probe %s %s\n", commands[i].name, commands[i].usage);
	exit(1);
}

void fail(const char *what)
{
	fprintf(stderr, "orrery-probe: %s: %s\n", what, strerror(errno));
	exit(3);
}

int64_t read_number(const char *name, const char *text, int64_t low, int64_t high)
{
	char *end;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno || end == text || *end || value < low || value > high)
		refuse("--%s %s: a whole number from %lld to %lld is needed", name, text,
		       (long long)low, (long long)high);
	return value;
}

void read_options(int argc, char **argv, const struct option *options)
{
	uint32_t seen = 0;

	for (int i = 0; i < argc; i += 2) {
		const struct option *option = options;

		while (option->name && (strncmp(argv[i], "--", 2) || strcmp(argv[i] + 2, option->name)))
			option++;
		if (!option->name)
			refuse("%s is no option here", argv[i]);
		if (i + 1 == argc)
			refuse("%s needs a value", argv[i]);
		if (option->text)
			*option->text = argv[i + 1];
		else
			*option->number =
				read_number(option->name, argv[i + 1], option->low, option->high);
		seen |= 1U << (option - options);
	}
	for (const struct option *option = options; option->name; option++)
		if (option->required && !(seen & 1U << (option - options)))
			refuse("--%s is needed", option->name);
}

int64_t now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

void sleep_until_ns(int64_t deadline)
{
	struct timespec until = {.tv_sec = deadline / NS_PER_S, .tv_nsec = deadline % NS_PER_S};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

void take_priority(int64_t priority)
{
	const struct sched_param wanted = {.sched_priority = (int)priority};

	if (priority && sched_setscheduler(0, SCHED_FIFO, &wanted))
		fail("priority");
}

double seconds(int64_t ns)
{
	return (double)ns / NS_PER_S;
}

const char *json_bool(bool value)
{
	return value ? "true" : "false";
}

int main(int argc, char **argv)
{
	/* No SA_RESTART: a blocking call returns, and its loop sees `stopped`. */
	struct sigaction action = {.sa_handler = on_signal};

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	if (argc < 2)
		refuse("a subcommand is needed");
	for (int i = 0; i < COMMANDS; i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 2, argv + 2);
	refuse("%s is no subcommand", argv[1]);
}
