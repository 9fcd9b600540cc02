/* A disk whose fdatasync takes SLEEP_MS longer, for a process that is started with this library in LD_PRELOAD. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

static atomic_long calls;

int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    struct timespec left = { SLEEP_MS / 1000, SLEEP_MS % 1000 * 1000000L };
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
    atomic_fetch_add(&calls, 1);
    return real(fd);
}

/* Says that it was there: a process that calls the kernel past the C library would not notice it. */
__attribute__((destructor)) static void report(void)
{
    fprintf(stderr, "slow fdatasync: %ld calls\n", atomic_load(&calls));
}
