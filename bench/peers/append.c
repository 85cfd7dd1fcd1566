/* The peer of durable writes over one connection: appends 80 bytes to a file and syncs them, again and again.
 * `append FILE SECONDS` prints the number of appends per second. */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BYTES 80

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: append FILE SECONDS\n");
        return 2;
    }
    int file = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644);
    if (file < 0) {
        perror(argv[1]);
        return 1;
    }
    char line[BYTES];
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\n';
    double start = now(), end = start + atof(argv[2]);
    long count = 0;
    while (now() < end) {
        if (write(file, line, sizeof line) != (ssize_t)sizeof line || fdatasync(file) != 0) {
            perror(argv[1]);
            return 1;
        }
        count++;
    }
    printf("%.1f\n", (double)count / (now() - start));
    return 0;
}
