/* SPDX-License-Identifier: ISC */
/* `mirari socket`: what its files share.
 *
 *   socket.c         the subcommands serve, netstat, stats, stop; finding and starting servers
 *   socket_run.c     the subcommand run
 *
 * A server is the program mirari-socketd beside this one, see cmd/socket/proto.h.
 */
#ifndef CMD_MIRARI_SOCKET_H
#define CMD_MIRARI_SOCKET_H

#include "cmd/mirari/tool.h"

/** The subcommands of `mirari socket`; argv[0] is their name. Return the exit status. */
int cmd_socket(int argc, char **argv);
int cmd_socket_run(int argc, char **argv);

/**
 * socket_path() - where the control socket of a server is.
 *
 * @name  of the server; a text with '/' is a path already
 *
 * The folder is made, 0700. Returns a text of malloc(), NULL after a message.
 */
char *socket_path(const char *name);

/** A socket that listens at @path, which must not be in use; what a dead server left there is
 *  removed. @is_shared: other users may connect (the server looks who they are). Returns a
 *  descriptor, close-on-exec, or -1 after a message. */
int socket_listen(const char *path, bool is_shared);

/** The path of mirari-socketd, malloc(). */
char *socket_server_program(void);

/**
 * socket_server_start() - start a private server.
 *
 * @listen_fd  of socket_listen(); becomes descriptor 3 of the server
 * @options    of the server, NULL-terminated, without the program's name
 * @output     descriptor for what it prints, stdout and stderr (STDERR_FILENO: mixed with ours)
 *
 * It gets a process group of its own and SIGTERM when the calling thread dies. A client may connect
 * at once; HELLO is answered when the stack runs, and the connection ends if it cannot start (the
 * reason goes to @output). To end it: SIGTERM, then waitpid.
 *
 * Returns its process id, or -1 after a message.
 */
pid_t socket_server_start(int listen_fd, char *const *options, int output);

/** Connect to the server called @name (or at a path) as an administrator and greet it; NULL: the
 *  only one that runs. Returns a descriptor or -1 after a message. */
int socket_admin(const char *name);

#endif
