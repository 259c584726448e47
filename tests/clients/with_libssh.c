/* A client with libssh: with_libssh PORT KEY local|remote ECHO_PORT */
#include <libssh/libssh.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ssh_session session;
static char data[100000], heard[sizeof data];

static void check(int fine, const char *what) {
    if (!fine) {
        fprintf(stderr, "%s: %s\n", what, ssh_get_error(session));
        exit(1);
    }
}

int main(int count, char **arguments) {
    int port = atoi(arguments[1]), echo = atoi(arguments[count - 1]), bound, from;
    size_t got = 0;
    ssh_key key;
    ssh_channel channel;
    for (size_t at = 0; at < sizeof data; at++) data[at] = (char)(at % 251);
    session = ssh_new();
    ssh_options_set(session, SSH_OPTIONS_HOST, "127.0.0.1");
    ssh_options_set(session, SSH_OPTIONS_PORT, &port);
    ssh_options_set(session, SSH_OPTIONS_USER, "alice");
    check(ssh_connect(session) == SSH_OK, "connect");
    check(ssh_pki_import_privkey_file(arguments[2], NULL, NULL, NULL, &key) == SSH_OK, "key");
    check(ssh_userauth_publickey(session, NULL, key) == SSH_AUTH_SUCCESS, "login");
    if (strcmp(arguments[3], "remote") == 0) {
        char piece[16384];
        int length;
        check(ssh_channel_listen_forward(session, "127.0.0.1", 0, &bound) == SSH_OK, "listen");
        printf("listening %d\n", bound);
        fflush(stdout);
        channel = ssh_channel_open_forward_port(session, 60000, &from, NULL, NULL);
        check(channel != NULL, "accept");
        while ((length = ssh_channel_read(channel, piece, sizeof piece, 0)) > 0)
            check(ssh_channel_write(channel, piece, length) == length, "write");
        check(length == 0, "read");
    } else {
        channel = ssh_channel_new(session);
        check(ssh_channel_open_forward(channel, "127.0.0.1", echo, "127.0.0.1", 0) == SSH_OK, "forward");
        check(ssh_channel_write(channel, data, sizeof data) == sizeof data, "write");
        check(ssh_channel_send_eof(channel) == SSH_OK, "end");
        while (got < sizeof heard) {
            int length = ssh_channel_read(channel, heard + got, sizeof heard - got, 0);
            check(length > 0, "read");
            got += length;
        }
        check(memcmp(data, heard, sizeof data) == 0, "other bytes came back");
    }
    ssh_channel_close(channel);
    ssh_disconnect(session);
    return 0;
}
