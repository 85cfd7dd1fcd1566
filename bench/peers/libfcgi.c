/* The peer of the reads behind Apache: a FastCGI program on libfcgi that answers one fixed value from memory, with the
 * headers that kvs sends. Spawned by mod_fcgid it takes no arguments; `peer SOCKET THREADS` serves a Unix socket. */

#include <fcgiapp.h>
#include <pthread.h>
#include <stdlib.h>

static const char answer[] =
    "Status: 200 OK\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    "Content-Length: 4\r\n"
    "Cache-Control: no-cache\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Etag: \"dmy1sh23tn8f\"\r\n"
    "Last-Modified: Sat, 21 Nov 2026 05:00:00 GMT\r\n"
    "Kvs-Key: kitchen/temp\r\n"
    "\r\n"
    "21.5";

static void *serve(void *listener) {
    FCGX_Request request;
    FCGX_InitRequest(&request, *(int *)listener, 0);
    while (FCGX_Accept_r(&request) >= 0) {
        FCGX_PutStr(answer, sizeof answer - 1, request.out);
        FCGX_Finish_r(&request);
    }
    return NULL;
}

int main(int argc, char **argv) {
    int listener = argc > 2 ? FCGX_OpenSocket(argv[1], 128) : 0;
    if (listener < 0 || FCGX_Init() != 0) {
        return 1;
    }
    for (int threads = argc > 2 ? atoi(argv[2]) : 1; threads > 1; threads--) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, &listener) != 0) {
            return 1;
        }
    }
    serve(&listener);
    return 0;
}
