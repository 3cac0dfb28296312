/* Faults at one call of a process that writes below a folder. Loaded with LD_PRELOAD, so that it also
 * sees what libraries in Rust and C++ write. soak_arm starts it; before, every call passes.
 *
 * Every call that changes something below the folder has a number, from 0, and is a line of the log:
 * "NAME PATH", of a rename "rename FROM\tTO". The fault comes instead of call `target`. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FULL = 1, EIO_ONCE, EINTR_ONCE, KILL, TORN }; /* as KINDS in faults.py, in this order */
#define PASS 0
#define HALF (-1)

static char folder[PATH_MAX];
static int armed, kind, log_to;
static long target, calls;

void soak_arm(const char *below, long at, int fault, int descriptor) {
    snprintf(folder, sizeof folder, "%s/", below);
    target = at, kind = fault, log_to = descriptor, calls = 0, armed = 1;
}

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

static void descriptor_path(int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, PATH_MAX - 1);
    path[size < 0 ? 0 : size] = 0;
}

static void absolute(int at, const char *name, char *path) {
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return;
    }
    char base[PATH_MAX] = "";
    if (at != AT_FDCWD) descriptor_path(at, base);
    else if (!getcwd(base, sizeof base)) base[0] = 0;
    snprintf(path, PATH_MAX, "%.2000s/%.2000s", base, name);
}

/* Count a call; return PASS, HALF (write a half, without an error) or the error number. */
static int fault(const char *name, const char *path, const char *to) {
    if (strncmp(path, folder, strlen(folder))) return PASS;
    long call = __atomic_fetch_add(&calls, 1, __ATOMIC_SEQ_CST);
    char line[2 * PATH_MAX + 32];
    int size = snprintf(line, sizeof line, "%s %s%s%s\n", name, path, to ? "\t" : "", to ? to : "");
    syscall(SYS_write, log_to, line, size);
    int writes = !strcmp(name, "write");
    if (kind == FULL && call > target)
        return writes || !strcmp(name, "open") || !strcmp(name, "mkdir") ? ENOSPC : PASS;
    if (call != target) return PASS;
    switch (kind) {
    case FULL: return writes ? HALF : ENOSPC;
    case EIO_ONCE: return EIO;
    case EINTR_ONCE: return EINTR;
    case KILL: die(); break;
    case TORN: return HALF;
    }
    return PASS;
}

static int at_path(const char *name, int at, const char *path) {
    char whole[PATH_MAX];
    if (!armed) return PASS;
    absolute(at, path, whole);
    return fault(name, whole, NULL);
}

static int at_descriptor(const char *name, int descriptor) {
    char path[PATH_MAX];
    if (!armed) return PASS;
    descriptor_path(descriptor, path);
    return fault(name, path, NULL);
}

#define REFUSE(found, result) \
    do { int number = (found); if (number > 0) { errno = number; return result; } } while (0)

static int opening(int at, const char *path, int flags, mode_t mode) {
    if ((flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT) REFUSE(at_path("open", at, path), -1);
    return syscall(SYS_openat, at, path, flags, mode);
}

#define OPEN(name, parameters, at) \
    int name parameters { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        return opening(at, path, flags, mode); \
    }
OPEN(open, (const char *path, int flags, ...), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD)
OPEN(openat, (int at, const char *path, int flags, ...), at)
OPEN(openat64, (int at, const char *path, int flags, ...), at)

#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) { \
        if (strpbrk(mode, "wa+")) REFUSE(at_path("open", AT_FDCWD, path), NULL); \
        FILE *(*next)(const char *, const char *) = dlsym(RTLD_NEXT, #name); \
        return next(path, mode); \
    }
FOPEN(fopen)
FOPEN(fopen64)

/* A half, if there is more than one byte; of TORN the last thing that the process does. */
static ssize_t half_of(int descriptor, const void *content, size_t size, int *done) {
    int found = at_descriptor("write", descriptor);
    *done = found != PASS;
    REFUSE(found, -1);
    if (found == PASS) return 0;
    ssize_t result = size > 1 ? syscall(SYS_write, descriptor, content, size / 2) : 0;
    if (kind == TORN) die();
    if (size <= 1) { errno = ENOSPC; return -1; }
    return result;
}

ssize_t write(int descriptor, const void *content, size_t size) {
    int done;
    ssize_t result = half_of(descriptor, content, size, &done);
    return done ? result : syscall(SYS_write, descriptor, content, size);
}

ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    int done;
    ssize_t result = half_of(descriptor, count ? parts[0].iov_base : "", count ? parts[0].iov_len : 0, &done);
    return done ? result : syscall(SYS_writev, descriptor, parts, count);
}

#define COPY(name, parameters, out, call) \
    ssize_t name parameters { \
        int done; \
        ssize_t result = half_of(out, "", 0, &done); \
        return done ? result : call; \
    }
COPY(pwrite, (int out, const void *content, size_t size, off_t place), out, syscall(SYS_pwrite64, out, content, size, place))
COPY(pwrite64, (int out, const void *content, size_t size, off64_t place), out, syscall(SYS_pwrite64, out, content, size, place))
COPY(sendfile, (int out, int in, off_t *place, size_t size), out, syscall(SYS_sendfile, out, in, place, size))
COPY(sendfile64, (int out, int in, off64_t *place, size_t size), out, syscall(SYS_sendfile, out, in, place, size))

int fsync(int descriptor) {
    REFUSE(at_descriptor("fsync", descriptor), -1);
    return syscall(SYS_fsync, descriptor);
}

int fdatasync(int descriptor) {
    REFUSE(at_descriptor("fsync", descriptor), -1);
    return syscall(SYS_fdatasync, descriptor);
}

int renameat(int from, const char *path, int into, const char *name) {
    char source[PATH_MAX], goal[PATH_MAX];
    if (armed) {
        absolute(from, path, source), absolute(into, name, goal);
        REFUSE(fault("rename", source, goal), -1);
    }
    return syscall(SYS_renameat2, from, path, into, name, 0);
}

int rename(const char *path, const char *name) { return renameat(AT_FDCWD, path, AT_FDCWD, name); }

int mkdirat(int at, const char *path, mode_t mode) {
    REFUSE(at_path("mkdir", at, path), -1);
    return syscall(SYS_mkdirat, at, path, mode);
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int unlinkat(int at, const char *path, int flags) {
    REFUSE(at_path("unlink", at, path), -1);
    return syscall(SYS_unlinkat, at, path, flags);
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
