/* What the subcommands of orrery-probe share. */
#ifndef ORRERY_PROBE_H
#define ORRERY_PROBE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum { HIGHEST_PRIORITY = 99 };
enum { NS_PER_S = 1000000000, NS_PER_MS = 1000000, NS_PER_US = 1000 };

/* One option of a subcommand: a bounded whole number, or a text where `text` is set. */
struct option {
	const char *name;
	bool required;
	int64_t *number;
	int64_t low, high;
	const char **text;
};

/* Set by SIGTERM and SIGINT; every loop ends then, and the summary is still printed. */
extern volatile sig_atomic_t stopped;

/* Read `--name value` pairs; the last option of the array has no name. Ends the program with 1. */
void read_options(int argc, char **argv, const struct option *options);

/* The value of an option that is a bounded whole number. Ends the program with 1 where it is none. */
int64_t read_number(const char *name, const char *text, int64_t low, int64_t high);

/* Say what is wrong on standard error and end the program with 1: the command line is off. */
_Noreturn void refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Say what failed, and why, and end the program with 3: the system refuses something. */
_Noreturn void fail(const char *what);

/* A clock's time [ns]. */
int64_t now_ns(clockid_t clock);

/* Sleep until a time of CLOCK_MONOTONIC [ns]; a signal ends the sleep. */
void sleep_until_ns(int64_t deadline);

/* Run before everything that has no such priority (SCHED_FIFO), unless it is 0. */
void take_priority(int64_t priority);

/* Seconds, for people and JSON. */
double seconds(int64_t ns);

/* JSON's words. */
const char *json_bool(bool value);

int heartbeat(int argc, char **argv);
int dirty(int argc, char **argv);
int send_numbered(int argc, char **argv);
int receive_numbered(int argc, char **argv);
int cpu(int argc, char **argv);
int write_disk(int argc, char **argv);
int serve(int argc, char **argv);
int ask(int argc, char **argv);

#endif
