/* Preloaded into a process, this counts what it asks of the file system below one folder, and at
 * one of these operations kills the process or makes the disk full. See fault_helpers.py.
 *
 * cc -shared -fPIC -O1 -o fault_shim.so fault_shim.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum action {
    COUNT = 0,
    KILL_BEFORE = 1, /* the operation */
    KILL_AMID = 2,   /* half of a write is done; of anything else, all of it */
    FULL_ONCE = 3,   /* half of a write is done, the rest and every other operation fails */
    FULL_FROM = 4,   /* the same, and so does everything later that takes space */
};

static char folder[PATH_MAX];
static long fire_at;
static int fire_action;
static atomic_long count;
static atomic_int full_fd = -1; /* of which the next write fails */
static atomic_int full;
static char fired_on[PATH_MAX + 32];

/* Watch operations below `path` from now on; at the `at`-th, counted from 1, do `action`. */
void fault_arm(const char *path, long at, int action) {
    strncpy(folder, path, sizeof folder - 1);
    fire_at = at;
    fire_action = action;
    count = 0;
    full = 0;
    full_fd = -1;
    fired_on[0] = 0;
}

long fault_count(void) { return count; }

/* "write /the/file" where it was done, empty where it was not. */
const char *fault_fired_on(void) { return fired_on; }

static int below(const char *path) {
    size_t length = strlen(folder);
    return length && path && !strncmp(path, folder, length) &&
           (path[length] == '/' || path[length] == 0);
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Counts an operation; the action where its time has come, else COUNT. */
static int due(const char *what, const char *path) {
    long number = atomic_fetch_add(&count, 1) + 1;
    if (number != fire_at || fire_action == COUNT) return COUNT;
    snprintf(fired_on, sizeof fired_on, "%s %s", what, path);
    if (fire_action == KILL_BEFORE) die();
    if (fire_action == FULL_FROM) full = 1;
    return fire_action;
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* The bytes of a write that are done before the fault: -1 to refuse it, `size` for all. */
static ssize_t allowed(int fd, size_t size, int *action) {
    char path[PATH_MAX];
    *action = COUNT;
    if (!folder[0] || fd <= 2 || !path_of(fd, path) || !below(path)) return (ssize_t)size;
    *action = due("write", path);
    if (*action == KILL_AMID) return (ssize_t)(size / 2);
    if (*action == FULL_ONCE || *action == FULL_FROM) {
        if (size < 2) return -1;
        full_fd = fd;
        return (ssize_t)(size / 2);
    }
    int expected = fd;
    if (full || atomic_compare_exchange_strong(&full_fd, &expected, -1)) return -1;
    return (ssize_t)size;
}

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    int action;
    ssize_t most = allowed(fd, size, &action);
    if (most < 0) { errno = ENOSPC; return -1; }
    ssize_t done = real(fd, data, (size_t)most);
    if (action == KILL_AMID) die();
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    REAL(pwrite64);
    int action;
    ssize_t most = allowed(fd, size, &action);
    if (most < 0) { errno = ENOSPC; return -1; }
    ssize_t done = real(fd, data, (size_t)most, offset);
    if (action == KILL_AMID) die();
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int parts_count) {
    REAL(writev);
    size_t size = 0;
    for (int i = 0; i < parts_count; i++) size += parts[i].iov_len;
    int action;
    ssize_t most = allowed(fd, size, &action);
    if (most < 0) { errno = ENOSPC; return -1; }
    if (most == (ssize_t)size) return real(fd, parts, parts_count);
    ssize_t done = 0;
    for (int i = 0; i < parts_count && done < most; i++) {
        size_t left = (size_t)(most - done);
        struct iovec part = {parts[i].iov_base, parts[i].iov_len < left ? parts[i].iov_len : left};
        ssize_t written = real(fd, &part, 1);
        if (written < 0) return done ? done : -1;
        done += written;
    }
    if (action == KILL_AMID) die();
    return done;
}

static int creates(const char *path, int flags) {
    struct stat status;
    return (flags & O_CREAT) && below(path) && stat(path, &status) != 0;
}

/* Whether an operation that takes space is to fail. */
static int refused(const char *what, const char *path, int *action) {
    *action = due(what, path);
    if (full || *action == FULL_ONCE || *action == FULL_FROM) {
        errno = ENOSPC;
        return 1;
    }
    return 0;
}

#define OPEN(name, parameters, call) \
    int name parameters { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list rest; \
            va_start(rest, flags); \
            mode = va_arg(rest, mode_t); \
            va_end(rest); \
        } \
        int action = COUNT; \
        if (creates(path, flags) && refused("create", path, &action)) return -1; \
        int fd = call; \
        if (action == KILL_AMID) die(); \
        return fd; \
    }

OPEN(open, (const char *path, int flags, ...), real(path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), real(path, flags, mode))
OPEN(openat, (int at, const char *path, int flags, ...), real(at, path, flags, mode))
OPEN(openat64, (int at, const char *path, int flags, ...), real(at, path, flags, mode))

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    int action = COUNT;
    if (below(path) && refused("mkdir", path, &action)) return -1;
    int result = real(path, mode);
    if (action == KILL_AMID) die();
    return result;
}

int rename(const char *from, const char *to) {
    REAL(rename);
    int action = COUNT;
    if (below(to) && refused("rename", to, &action)) return -1;
    int result = real(from, to);
    if (action == KILL_AMID) die();
    return result;
}

int fsync(int fd) {
    REAL(fsync);
    char path[PATH_MAX];
    int action = COUNT;
    if (folder[0] && path_of(fd, path) && below(path) && refused("fsync", path, &action)) return -1;
    int result = real(fd);
    if (action == KILL_AMID) die();
    return result;
}

int ftruncate64(int fd, off64_t size) {
    REAL(ftruncate64);
    char path[PATH_MAX];
    int action = COUNT;
    if (folder[0] && path_of(fd, path) && below(path)) {
        struct stat status;
        action = due("truncate", path);
        int grows = fstat(fd, &status) == 0 && size > status.st_size;
        if (grows && (full || action == FULL_ONCE || action == FULL_FROM)) {
            errno = ENOSPC;
            return -1;
        }
    }
    int result = real(fd, size);
    if (action == KILL_AMID) die();
    return result;
}

/* Deleting takes no space: only kills strike here. */
int unlink(const char *path) {
    REAL(unlink);
    int action = COUNT;
    if (below(path)) action = due("unlink", path);
    int result = real(path);
    if (action == KILL_AMID) die();
    return result;
}

/* Copying in the kernel, which `shutil` tries first, is declined: it then writes. */
ssize_t sendfile64(int out, int in, off64_t *offset, size_t size) {
    (void)out, (void)in, (void)offset, (void)size;
    errno = ENOTSOCK;
    return -1;
}
