/* Loaded before libc: shifts the clock by the seconds in a file, and sends a signal just before a rename.

   FLOWLAB_CLOCK    the file; without it, the clock is right. The monotonic clock never steps, as in Linux.
   FLOWLAB_RENAME   the name of a file; just before a rename to this name, the process sends itself a signal.
   FLOWLAB_SIGNAL   the number of the signal. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long seconds_off(void) {
    char text[32] = "";
    const char *path = getenv("FLOWLAB_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    return length > 0 ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += seconds_off();
    return result;
}

int gettimeofday(struct timeval *now, void *zone) {
    int (*real)(struct timeval *, void *) = dlsym(RTLD_NEXT, "gettimeofday");
    int result = real(now, zone);
    now->tv_sec += seconds_off();
    return result;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    const char *name = strrchr(to, '/'), *wanted = getenv("FLOWLAB_RENAME");
    if (wanted && strcmp(name ? name + 1 : to, wanted) == 0) kill(getpid(), atoi(getenv("FLOWLAB_SIGNAL")));
    return real(from, to);
}
