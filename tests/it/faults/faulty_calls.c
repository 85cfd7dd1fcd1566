/* Loaded into a server by LD_PRELOAD: fails chosen calls and shifts the clock, as the file $FAULTS_FILE says.
 * Each of its lines is `CALL ERRNO PART`, for files whose path contains PART, or `clock 0 SECONDS`. If the file is
 * missing, every call is done as usual. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const char *control;

__attribute__((constructor)) static void start(void) { control = getenv("FAULTS_FILE"); }

/* The control file, or nothing. */
static int faults(char *text, size_t size) {
    if (!control) return 0;
    int fd = syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return 0;
    long length = syscall(SYS_read, fd, text, size - 1);
    syscall(SYS_close, fd);
    if (length <= 0) return 0;
    text[length] = 0;
    return 1;
}

/* The error with which a call on a path fails, or 0. */
static int failure(const char *call, const char *path) {
    char text[2048], name[32], part[256], *line, *rest = text;
    int saved = errno, code, found = 0;
    if (faults(text, sizeof text))
        while (!found && (line = strsep(&rest, "\n")))
            if (sscanf(line, "%31s %d %255s", name, &code, part) == 3 && !strcmp(name, call) && strstr(path, part))
                found = code;
    errno = saved;
    return found;
}

static int failure_of(const char *call, int fd) {
    char link[64], path[4096];
    if (!control) return 0;
    int saved = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long length = readlink(link, path, sizeof path - 1);
    errno = saved;
    if (length < 0) return 0;
    path[length] = 0;
    return failure(call, path);
}

static int failure_to_open(const char *path, int flags) {
    int code = failure("open", path);
    if (!code && flags & O_CREAT) code = failure("create", path);
    return code || (flags & O_ACCMODE) == O_RDONLY ? code : failure("modify", path);
}

static long shift(void) {
    char text[2048], *line, *rest = text;
    long seconds = 0;
    int saved = errno;
    if (faults(text, sizeof text))
        while ((line = strsep(&rest, "\n")))
            sscanf(line, "clock 0 %ld", &seconds);
    errno = saved;
    return seconds;
}

#define REAL(name) ({ static typeof(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name); real; })
#define FAIL_IF(failure) do { int code = failure; if (code) { errno = code; return -1; } } while (0)

int fsync(int fd) { FAIL_IF(failure_of("sync", fd)); return REAL(fsync)(fd); }
int fdatasync(int fd) { FAIL_IF(failure_of("sync", fd)); return REAL(fdatasync)(fd); }

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    FAIL_IF(failure_of("write", fd));
    return REAL(pwrite)(fd, bytes, count, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    FAIL_IF(failure_of("write", fd));
    return REAL(pwrite64)(fd, bytes, count, at);
}
ssize_t pread64(int fd, void *bytes, size_t count, off64_t at) {
    FAIL_IF(failure_of("read", fd));
    return REAL(pread64)(fd, bytes, count, at);
}
int ftruncate(int fd, off_t length) { FAIL_IF(failure_of("truncate", fd)); return REAL(ftruncate)(fd, length); }
int ftruncate64(int fd, off64_t length) { FAIL_IF(failure_of("truncate", fd)); return REAL(ftruncate64)(fd, length); }

int rename(const char *from, const char *to) { FAIL_IF(failure("rename", to)); return REAL(rename)(from, to); }
int unlink(const char *path) { FAIL_IF(failure("remove", path)); return REAL(unlink)(path); }
int mkdir(const char *path, mode_t mode) { FAIL_IF(failure("create", path)); return REAL(mkdir)(path, mode); }

#define MODE(flags) ({ va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); mode; })

int open(const char *path, int flags, ...) { FAIL_IF(failure_to_open(path, flags)); return REAL(open)(path, flags, MODE(flags)); }
int open64(const char *path, int flags, ...) { FAIL_IF(failure_to_open(path, flags)); return REAL(open64)(path, flags, MODE(flags)); }
int openat(int at, const char *path, int flags, ...) {
    FAIL_IF(failure_to_open(path, flags));
    return REAL(openat)(at, path, flags, MODE(flags));
}
int openat64(int at, const char *path, int flags, ...) {
    FAIL_IF(failure_to_open(path, flags));
    return REAL(openat64)(at, path, flags, MODE(flags));
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, clock, now);
    if (!result && control && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift();
    return result;
}
int gettimeofday(struct timeval *now, void *zone) {
    int result = syscall(SYS_gettimeofday, now, zone);
    if (!result && control) now->tv_sec += shift();
    return result;
}
time_t time(time_t *now) {
    struct timespec present;
    clock_gettime(CLOCK_REALTIME, &present);
    if (now) *now = present.tv_sec;
    return present.tv_sec;
}
