/* A client with libssh2: with_libssh2 PORT KEY local|remote ECHO_PORT */
#include <arpa/inet.h>
#include <libssh2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static LIBSSH2_SESSION *session;
static char data[100000], heard[sizeof data];

static void check(int fine, const char *what) {
    char *text = "";
    if (!fine) {
        libssh2_session_last_error(session, &text, NULL, 0);
        fprintf(stderr, "%s: %s\n", what, text);
        exit(1);
    }
}

static void write_all(LIBSSH2_CHANNEL *channel, const char *from, size_t size) {
    while (size > 0) {
        ssize_t length = libssh2_channel_write(channel, from, size);
        check(length > 0, "write");
        from += length;
        size -= length;
    }
}

int main(int count, char **arguments) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1]))};
    int wire = socket(AF_INET, SOCK_STREAM, 0), echo = atoi(arguments[count - 1]), bound;
    size_t got = 0;
    ssize_t length;
    LIBSSH2_CHANNEL *channel;
    for (size_t at = 0; at < sizeof data; at++) data[at] = (char)(at % 251);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(wire, (struct sockaddr *)&address, sizeof address) != 0) return 1;
    libssh2_init(0);
    session = libssh2_session_init();
    check(libssh2_session_handshake(session, wire) == 0, "connect");
    check(libssh2_userauth_publickey_fromfile(session, "alice", NULL, arguments[2], NULL) == 0, "login");
    if (strcmp(arguments[3], "remote") == 0) {
        char piece[16384];
        LIBSSH2_LISTENER *listener = libssh2_channel_forward_listen_ex(session, "127.0.0.1", 0, &bound, 1);
        check(listener != NULL, "listen");
        printf("listening %d\n", bound);
        fflush(stdout);
        channel = libssh2_channel_forward_accept(listener);
        check(channel != NULL, "accept");
        while ((length = libssh2_channel_read(channel, piece, sizeof piece)) > 0) write_all(channel, piece, length);
        check(length == 0, "read");
    } else {
        channel = libssh2_channel_direct_tcpip_ex(session, "127.0.0.1", echo, "127.0.0.1", 0);
        check(channel != NULL, "forward");
        write_all(channel, data, sizeof data);
        check(libssh2_channel_send_eof(channel) == 0, "end");
        while (got < sizeof heard) {
            length = libssh2_channel_read(channel, heard + got, sizeof heard - got);
            check(length > 0, "read");
            got += length;
        }
        check(memcmp(data, heard, sizeof data) == 0, "other bytes came back");
    }
    libssh2_channel_close(channel);
    libssh2_session_disconnect(session, "done");
    return 0;
}
