/* The peer of reads by CGI: a program that maps the data file of kvs, searches it for a key, and returns the value with
 * the headers that kvs sends. It knows only entries on one line, and it checks nothing. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char file_name[] = "../ours/data/default.yaml";

/* The end of a value that begins here: a closing quote, or the name of the next field. */
static const char *end_of(const char *value, const char *end, int is_quoted) {
    const char *mark = is_quoted ? "\"" : ", updated: ";
    return memmem(value, (size_t)(end - value), mark, strlen(mark));
}

int main(void) {
    const char *query = getenv("QUERY_STRING");
    if (query == NULL || strncmp(query, "k=", 2) != 0) {
        fputs("Status: 400 Bad Request\r\n\r\n", stdout);
        return 0;
    }
    char line[1024];
    int length = snprintf(line, sizeof line, "\n%s: {value: ", query + 2);
    int file = open(file_name, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (length < 0 || length >= (int)sizeof line || file < 0 || fstat(file, &status) != 0 || status.st_size == 0) {
        perror(file_name);
        return 1;
    }
    const char *data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (data == MAP_FAILED) {
        perror(file_name);
        return 1;
    }
    const char *end = data + status.st_size;
    const char *found = memmem(data, (size_t)status.st_size, line, (size_t)length);
    const char *value = found == NULL ? NULL : found + length;
    int is_quoted = value != NULL && value < end && *value == '"';
    value = is_quoted ? value + 1 : value;
    const char *value_end = value == NULL ? NULL : end_of(value, end, is_quoted);
    if (value_end == NULL) {
        fputs("Status: 404 Not Found\r\n\r\n", stdout);
        return 0;
    }
    int bytes = (int)(value_end - value);
    printf("Status: 200 OK\r\n"
           "Content-Type: text/plain; charset=utf-8\r\n"
           "Content-Length: %d\r\n"
           "Cache-Control: no-cache\r\n"
           "X-Content-Type-Options: nosniff\r\n"
           "Etag: \"dmy1sh23tn8f\"\r\n"
           "Last-Modified: Sat, 21 Nov 2026 05:00:00 GMT\r\n"
           "Kvs-Key: %s\r\n"
           "\r\n"
           "%.*s",
           bytes, query + 2, bytes, value);
    return 0;
}
