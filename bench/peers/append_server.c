/* The least that a server of durable writes can do: it answers one connection at a time, appends 80 bytes for each
 * request, syncs them, and sends a fixed response. It reads nothing of a request but its length.
 * `append_server PORT FILE` listens on 127.0.0.1. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BYTES 80

static const char response[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nOK";

/* Whether the buffer holds a whole request. */
static int is_whole(const char *buffer, size_t length) {
    const char *end = memmem(buffer, length, "\r\n\r\n", 4);
    const char *field = memmem(buffer, length, "Content-Length: ", 16);
    return end != NULL && field != NULL && buffer + length >= end + 4 + atol(field + 16);
}

static void serve(int client, int file) {
    char buffer[4096], line[BYTES];
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\n';
    for (size_t length = 0;;) {
        ssize_t got = recv(client, buffer + length, sizeof buffer - length, 0);
        if (got <= 0) {
            return;
        }
        length += (size_t)got;
        if (!is_whole(buffer, length)) {
            continue;
        }
        length = 0;
        if (write(file, line, sizeof line) != (ssize_t)sizeof line || fdatasync(file) != 0 ||
            send(client, response, sizeof response - 1, MSG_NOSIGNAL) < 0) {
            return;
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: append_server PORT FILE\n");
        return 2;
    }
    int on = 1, file = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (file < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 16) != 0) {
        perror("append_server");
        return 1;
    }
    for (;;) {
        int client = accept(listener, NULL, NULL);
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        serve(client, file);
        close(client);
    }
}
