/* fsync and fdatasync as a common VPS has them: 2 ms later than here, or as many as SLOW_MS says.
   Each fdatasync adds a byte to the file that SLOW_COUNT names. For LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int later(const char *name, int file)
{
    const char *said = getenv("SLOW_MS");
    struct timespec delay = {0, (said ? atol(said) : 2) * 1000 * 1000};
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);

    nanosleep(&delay, 0);
    return real(file);
}

static void count(void)
{
    const char *path = getenv("SLOW_COUNT");
    int file = path ? open(path, O_WRONLY | O_APPEND) : -1;

    if (file < 0)
        return;
    if (write(file, ".", 1) < 0) {
        /* one too few */
    }
    close(file);
}

int fsync(int file) { return later("fsync", file); }

int fdatasync(int file)
{
    count();
    return later("fdatasync", file);
}
