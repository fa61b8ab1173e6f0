/* SPDX-License-Identifier: ISC */
/* `mirari console`: attach to the console of a running appliance.
 *
 *   terminal ── mirari console ── NAME-PID/console (socket) ── mirari run ── serial port
 *
 * `mirari run` listens on a socket in the appliance's folder and gives what the appliance prints to
 * everybody attached; what they type goes to the serial port of a virtual machine, and nowhere for
 * a process, which reads none. A client that does not keep up loses output: the log has it all.
 *
 * On a terminal every key goes to the appliance, Ctrl-C too (it asks it to end); Ctrl-] detaches.
 *
 * The socket's path may be longer than an address holds, so both ends name it through the
 * descriptor of its folder in /proc.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "cmd/mirari/vm.h"

#define SOCKET_NAME "console"
#define DETACH_KEY  0x1d /* Ctrl-] */

static struct sockaddr_un address_in(int folder_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" SOCKET_NAME,
             folder_fd);
    return address;
}

/* ---- the end at `mirari run` ----------------------------------------------------------------- */

void console_open(struct console *console, const struct state *state)
{
    struct sockaddr_un address = address_in(state->fd);
    for (size_t i = 0; i < CONSOLE_CLIENTS_MAX; i++)
        console->client[i] = -1;
    console->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (console->listener < 0)
        return;
    /* The folder is closed to others, so is the socket in it. */
    if (bind(console->listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
        listen(console->listener, CONSOLE_CLIENTS_MAX) == 0)
        return;
    close(console->listener);
    console->listener = -1;
}

void console_accept(struct console *console)
{
    int fd = accept4(console->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    for (size_t i = 0; i < CONSOLE_CLIENTS_MAX && fd >= 0; i++) {
        if (console->client[i] >= 0)
            continue;
        console->client[i] = fd;
        fd = -1;
    }
    if (fd >= 0) {
        static const char full[] = "mirari: too many are attached to this console\n";
        (void)send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL);
        close(fd);
    }
}

void console_write(struct console *console, const char *data, size_t len)
{
    for (size_t i = 0; i < CONSOLE_CLIENTS_MAX; i++)
        if (console->client[i] >= 0)
            (void)send(console->client[i], data, len, MSG_NOSIGNAL);
}

void console_read(struct console *console, size_t index, int input)
{
    char bytes[512];
    ssize_t got = recv(console->client[index], bytes, sizeof(bytes), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        close(console->client[index]);
        console->client[index] = -1;
        return;
    }
    ssize_t put = input >= 0 ? write(input, bytes, (size_t)got) : 0;
    (void)put; /* a serial port that nobody reads loses what is typed */
}

void console_close(struct console *console)
{
    for (size_t i = 0; i < CONSOLE_CLIENTS_MAX; i++)
        if (console->client[i] >= 0)
            close(console->client[i]);
    if (console->listener >= 0)
        close(console->listener);
    console->listener = -1;
}

/* ---- the end at the user --------------------------------------------------------------------- */

static struct termios before;
static bool is_raw;

static void restore_terminal(void)
{
    if (is_raw)
        (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
    is_raw = false;
}

static void end_by_signal(int number)
{
    restore_terminal();
    _exit(128 + number);
}

/* Keys go through as they are; output is still processed, so lines begin at the left. */
static void raw_terminal(void)
{
    struct termios raw;
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before) != 0)
        return;
    raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG | IEXTEN);
    raw.c_iflag &= ~(tcflag_t)(IXON | ICRNL);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    signal(SIGTERM, end_by_signal);
    signal(SIGHUP, end_by_signal);
    is_raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

static bool write_whole(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t put = write(fd, data, len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        data += put;
        len -= (size_t)put;
    }
    return true;
}

/* From our input to the appliance. False: detach. @input becomes -1 at its end. */
static bool type_on(int fd, int *input)
{
    char bytes[512];
    ssize_t got = read(*input, bytes, sizeof(bytes));
    if (got < 0 && errno == EINTR)
        return true;
    if (got <= 0) {
        *input = -1; /* a script that has no more to type still listens */
        return true;
    }
    const char *key = is_raw ? memchr(bytes, DETACH_KEY, (size_t)got) : NULL;
    size_t len = key != NULL ? (size_t)(key - bytes) : (size_t)got;
    return (len == 0 || send(fd, bytes, len, MSG_NOSIGNAL) >= 0) && key == NULL;
}

/* Until the appliance ends or the user detaches. */
static void talk(int fd)
{
    int input = STDIN_FILENO;
    for (;;) {
        char chunk[16384];
        struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = input, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return;
        if (fds[0].revents != 0) {
            ssize_t got = recv(fd, chunk, sizeof(chunk), 0);
            if (got == 0 || (got < 0 && errno != EINTR))
                return;
            if (got > 0 && !write_whole(STDOUT_FILENO, chunk, (size_t)got))
                return;
        }
        if (fds[1].revents != 0 && !type_on(fd, &input))
            return;
    }
}

int cmd_console(int argc, char **argv)
{
    struct state state;
    const char *who = NULL;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-' || who != NULL)
            return usage_error("console", argv[i], NULL, 0);
        who = argv[i];
    }
    if (who == NULL) {
        complain("console: name an appliance or its process id; `mirari ps` lists them");
        return EXIT_USAGE;
    }
    if (state_open(&state) != 0)
        return EXIT_FAIL;
    int folder = state_find(&state, who);
    if (folder < 0)
        return EXIT_FAIL;
    struct sockaddr_un address = address_in(folder);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        complain(
            "cannot attach to \"%s\": %s; its `mirari run` has ended, or is of another version",
            who, strerror(errno));
        return EXIT_FAIL;
    }
    raw_terminal();
    if (is_raw)
        complain("attached to \"%s\"; Ctrl-] detaches, `mirari logs` shows what it printed before",
                 who);
    talk(fd);
    restore_terminal();
    close(fd);
    close(folder);
    return 0;
}
